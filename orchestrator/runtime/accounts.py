"""Who a container's process runs as: the user and group of its own /etc/passwd and /etc/group, read inside its root."""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.kernel import mounts

MOST = 4 << 20  # bytes of an account file that are looked at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Account:
    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home


def needed(user: dict[str, Any]) -> bool:
    """Whether the files of the image have to be asked."""
    return any(user.get(word) for word in ("username", "uid", "gid", "additionalGroups"))


def resolve(user: dict[str, Any], root: int | None = None) -> Account:
    """OCI `process.user`; its `username` may be what Compose writes: "name", "uid", "name:group", "uid:gid".

    root: descriptor of the directory that is the container's root, None where the caller lives in it.
    As Docker does: a number need not be in the files; without a group written it is the account's, else 0, and the
    account's further groups come along. Raises OSError for a name that the image does not know.
    """
    written = user.get("username") or ""
    # Ours: names, and numbers as texts.
    further = [_group(root, name) for name in user.get("additionalGroups") or ()]
    if not any(user.get(word) for word in ("username", "uid", "gid")):
        return Account(0, 0, [0, *further], "/root")  # nobody said anything: root, without looking
    name, _, group_name = written.partition(":") if written else (str(user.get("uid", 0)), "", str(user.get("gid", 0)))
    row = next((row for row in _rows(root, "/etc/passwd", 7) if row[0] == name or row[2] == name), None)
    if row is None and not name.isdecimal():
        raise OSError(errno.ENOENT, f"cannot run as user {name!r}: the image's /etc/passwd has no such user")
    uid = int(row[2] if row else name)
    gid = _group(root, group_name) if group_name else int(row[3]) if row else 0
    groups = [gid, *(user.get("additionalGids") or ()), *further]  # the first one too: CVE-2022-36109
    if row is not None and not group_name:
        groups += [int(line[2]) for line in _rows(root, "/etc/group", 4) if row[0] in line[3].split(",")]
    return Account(uid, gid, groups, (row[5] if row else "") or "/")


def _group(root: int | None, name: str) -> int:
    if name.isdecimal():
        return int(name)
    for row in _rows(root, "/etc/group", 4):
        if row[0] == name:
            return int(row[2])
    raise OSError(errno.ENOENT, f"cannot run in group {name!r}: the image's /etc/group has no such group")


def _rows(root: int | None, path: str, width: int) -> list[list[str]]:
    """The lines of an account file that are whole; none where there is no file (man 5 passwd, group)."""
    text = _read(root, path).decode(errors="replace")
    rows = [line.split(":") for line in text.split("\n")]
    return [row for row in rows if len(row) == width and row[2].isdecimal()]


def _read(root: int | None, path: str) -> bytes:
    """What is no plain file is not opened: the container may have put a device of the host's there."""
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC) if root is None else mounts.open_in(root, path)
    except OSError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            return b""
        with open(f"/proc/self/fd/{found}", "rb") as file:
            return file.read(MOST)
    finally:
        os.close(found)
