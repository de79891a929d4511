"""Who a container's process runs as: the user and group of its own /etc/passwd and /etc/group, read inside its root."""

from __future__ import annotations

import errno
import os

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


def resolve(user: dict[str, Any], passwd: str = "/etc/passwd", group: str = "/etc/group") -> Account:
    """OCI `process.user`; its `username` may be what Compose writes: "name", "uid", "name:group", "uid:gid".

    As Docker does: a number need not be in the files; without a group written it is the account's, else 0, and the
    account's further groups come along. Raises OSError for a name that the image does not know.
    """
    written = user.get("username") or ""
    further = [_group(name, group) for name in user.get("additionalGroups") or ()]  # ours: names, and numbers as texts
    if not written and not user.get("uid") and not user.get("gid"):
        return Account(0, 0, [0, *further], "/root")  # nobody said anything: root, without looking
    name, _, group_name = written.partition(":") if written else (str(user.get("uid", 0)), "", str(user.get("gid", 0)))
    row = next((row for row in _rows(passwd, 7) if row[0] == name or row[2] == name), None)
    if row is None and not name.isdecimal():
        raise OSError(errno.ENOENT, f"cannot run as user {name!r}: the image's /etc/passwd has no such user")
    uid = int(row[2] if row else name)
    gid = _group(group_name, group) if group_name else int(row[3]) if row else 0
    groups = [gid, *(user.get("additionalGids") or ()), *further]  # the first one too: CVE-2022-36109
    if row is not None and not group_name:
        groups += [int(line[2]) for line in _rows(group, 4) if row[0] in line[3].split(",")]
    return Account(uid, gid, groups, (row[5] if row else "") or "/")


def _group(name: str, path: str) -> int:
    if name.isdecimal():
        return int(name)
    for row in _rows(path, 4):
        if row[0] == name:
            return int(row[2])
    raise OSError(errno.ENOENT, f"cannot run in group {name!r}: the image's /etc/group has no such group")


def _rows(path: str, width: int) -> list[list[str]]:
    """The lines of an account file that are whole; none where there is no file (man 5 passwd, group)."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []
    with open(file, encoding="utf-8", errors="replace") as lines:
        rows = [line.rstrip("\n").split(":") for line in lines]
    return [row for row in rows if len(row) == width and row[2].isdecimal()]
