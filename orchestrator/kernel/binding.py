"""Bind mounts of this process: taken by descriptor, with their owners shown as others (idmapped), put into a place.

man 2 open_tree, mount_setattr ("ID-mapped mounts"), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from orchestrator.kernel import syscalls

Ids = Sequence[tuple[int, int, int]]  # first id on the disk, first id shown, how many

_CLONE, _RECURSIVE = 1, 0x8000
_BOTH_EMPTY = 0x4 | 0x40
_PRIVATE, _NO_FOLLOW = 1 << 18, 0x100
_IDMAP, _NOEXEC = 0x0010_0000, 8
_NEWUSER = 0x1000_0000
_DETACH = 2
_FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "dirsync": 128, "noatime": 1024, "nodiratime": 2048,
    "relatime": 1 << 21, "strictatime": 1 << 24, "lazytime": 1 << 25, "mand": 64, "nosymfollow": 256, "silent": 1 << 15,
}  # fmt: skip
_OPPOSITES = {
    "rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "async": "sync", "atime": "noatime",
    "diratime": "nodiratime", "norelatime": "relatime", "nostrictatime": "strictatime", "nolazytime": "lazytime",
    "nomand": "mand", "symfollow": "nosymfollow", "loud": "silent",
}  # fmt: skip
# fstab(5): what is said to mount(8) and other programs, and what lets every user mount.
_NOTHING = {"defaults", "auto", "noauto", "nouser", "nousers", "nogroup", "noowner", "nofail", "_netdev", "bg", "fg"}
_IMPLIED = {
    "user": ("noexec", "nosuid", "nodev"), "users": ("noexec", "nosuid", "nodev"),
    "owner": ("nosuid", "nodev"), "group": ("nosuid", "nodev"),
}  # fmt: skip


def take(path: str, directory: int = syscalls.AT_FDCWD, recursive: bool = True) -> int:
    """What is at `path` ("" : at `directory` itself) as a mount of its own, attached nowhere yet."""
    flags = _CLONE | os.O_CLOEXEC | (_RECURSIVE if recursive else 0) | (0 if path else syscalls.AT_EMPTY_PATH)
    return syscalls.call(f"take {path!r} for a mount", "open_tree", directory, os.fsencode(path), flags)


def keep_to_itself(mount: int) -> None:
    """What is mounted there, and below, neither gives nor takes any more (MS_PRIVATE).

    A copy of a tree that passes on would else unmount the original's mounts when it is unmounted.
    """
    _private(mount, b"", syscalls.AT_EMPTY_PATH, f"keep mount {mount} to itself")


def _private(directory: int, path: bytes, flags: int, what: str, forgiven: Sequence[int] = ()) -> None:
    attributes = struct.pack("=4Q", 0, 0, _PRIVATE, 0)
    size = ctypes.c_long(len(attributes))
    result = syscalls.attempt("mount_setattr", directory, path, flags | _RECURSIVE, attributes, size)
    if result < 0 and -result not in forgiven:
        raise syscalls.refused(what, -result)


def allow_programs(mount: int) -> None:
    """Let what a mount that is attached nowhere shows be executed, where its file system itself is not."""
    attributes = struct.pack("=4Q", 0, _NOEXEC, 0, 0)
    syscalls.call("allow programs", "mount_setattr", mount, b"", syscalls.AT_EMPTY_PATH, attributes, ctypes.c_long(32))


def show_owners(mount: int, uids: Ids, gids: Ids) -> None:
    """Let a mount that is attached nowhere show other owners than its file system keeps."""
    namespace = user_namespace(uids, gids)
    try:
        attributes = struct.pack("=4Q", _IDMAP, 0, 0, namespace)
        flags = syscalls.AT_EMPTY_PATH | _RECURSIVE
        syscalls.call("map owners", "mount_setattr", mount, b"", flags, attributes, ctypes.c_long(len(attributes)))
    finally:
        os.close(namespace)


def user_namespace(uids: Ids, gids: Ids) -> int:
    """A user namespace that nobody lives in, with these maps: its descriptor."""
    ready, made = os.pipe()
    told, tell = os.pipe()  # the child lives until we have taken what is its
    pid = os.fork()
    if pid == 0:
        try:  # whatever happens, nothing of the parent's goes on in here
            os.close(tell)
            if syscalls.attempt("unshare", _NEWUSER) == 0:
                os.write(made, b"x")
            os.close(made)
            os.read(told, 1)
        finally:
            os._exit(0)
    os.close(made)
    os.close(told)
    try:
        if not os.read(ready, 1):
            raise PermissionError(1, "cannot make a user namespace: the kernel refused it")
        for name, ids in (("uid_map", uids), ("gid_map", gids)):
            with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
                file.write("".join(f"{inside} {outside} {count}\n" for inside, outside, count in ids))
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(ready)
        os.close(tell)
        os.waitpid(pid, 0)


def put(mount: int, target: str) -> None:
    """Attach it; the descriptor is closed."""
    place = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        syscalls.call(f"mount on {target}", "move_mount", mount, b"", place, b"", _BOTH_EMPTY)
    finally:
        os.close(mount)
        os.close(place)


def mount(source: str, target: str, fstype: str, options: Sequence[str]) -> None:
    """mount(2) with the words of fstab(5): those that are flags, and what the file system itself understands."""
    flags, rest = sorted_options(options)
    words = (os.fsencode(source), os.fsencode(target), fstype.encode())
    syscalls.call(f"mount {source} as {fstype}", "mount", *words, syscalls.unsigned(flags), ",".join(rest).encode())


def sorted_options(options: Sequence[str]) -> tuple[int, list[str]]:
    """(flags of mount(2), what the file system itself understands); of two that disagree the later one counts."""
    flags, rest = 0, []
    for option in options:
        for word in _IMPLIED.get(option, (option,)):
            if word in _FLAGS:
                flags |= _FLAGS[word]
            elif word in _OPPOSITES:
                flags &= ~_FLAGS[_OPPOSITES[word]]
            elif word not in _NOTHING and not word.startswith(("x-", "X-", "comment=")):
                rest.append(word)
    return flags, rest


def detach(path: str) -> None:
    """Everything mounted on `path`, one on the other, goes; content where nothing is. Never follows a link.

    Only here: what is mounted below it may be shown elsewhere too, and stays there (see `keep_to_itself`).
    """
    no_follow, nothing_there, what = 8, (errno.ENOENT, errno.EINVAL), f"unmount {path}"
    while True:
        _private(syscalls.AT_FDCWD, os.fsencode(path), _NO_FOLLOW, what, forgiven=nothing_there)
        if (result := syscalls.attempt("umount2", os.fsencode(path), _DETACH | no_follow)) < 0:
            break
    if -result not in nothing_there:
        raise syscalls.refused(what, -result)
