"""`user: name[:group]` of an exec, looked up in the container's own /etc/passwd and /etc/group."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.launcher.clients import Refused

LARGEST = 1 << 20


def resolve(user: str, pid: int) -> dict[str, Any]:
    """An OCI `process.user`: uid, gid, additionalGids. Raises Refused where the name is not known there."""
    name, _, group = user.partition(":")
    account = _find(pid, "passwd", name, 2)
    if account is None and not name.isdecimal():
        raise Refused(f"cannot exec as user {name!r}: the container's /etc/passwd does not know it")
    uid = int(account[2] if account else name)
    gid = int(account[3]) if account else 0
    if group:
        gid = _group(pid, group)
    known = [row for row in _rows(pid, "group", 4) if account and account[0] in row[3].split(",")]
    return {"uid": uid, "gid": gid, "additionalGids": [int(row[2]) for row in known]}


def _group(pid: int, group: str) -> int:
    found = _find(pid, "group", group, 2)
    if found is None and not group.isdecimal():
        raise Refused(f"cannot exec with group {group!r}: the container's /etc/group does not know it")
    return int(found[2] if found else group)


def _find(pid: int, file: str, wanted: str, number: int) -> list[str] | None:
    for row in _rows(pid, file, 4):
        if row[0] == wanted or row[number] == wanted:
            return row
    return None


def _rows(pid: int, file: str, columns: int) -> list[list[str]]:
    """No link is followed out of the container's root; a missing file has no rows."""
    try:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            etc = os.open("etc", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
        finally:
            os.close(root)
        try:
            table = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=etc)
        finally:
            os.close(etc)
    except OSError:
        return []
    with open(table, "rb") as opened:
        text = opened.read(LARGEST).decode(errors="replace")
    rows = [line.split(":") for line in text.splitlines()]
    return [row for row in rows if len(row) >= columns and row[2].isdecimal()]
