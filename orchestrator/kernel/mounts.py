"""Mounts by descriptor: made detached, then attached to a place that was looked up safely. man 2 fsopen, openat2.

Nothing here follows a path of the container out of its root: `open_in` resolves inside (openat2 RESOLVE_IN_ROOT), and
what is mounted goes onto the descriptor that came out of it, so that no symlink can be slipped in between.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from orchestrator.kernel import syscalls

TYPE_CHECKING = False  # typing itself would cost the launcher a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RDONLY, NOSUID, NODEV, NOEXEC = 0x1, 0x2, 0x4, 0x8
NOATIME, STRICTATIME, NODIRATIME = 0x10, 0x20, 0x80
ATTRIBUTES = {
    "ro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC,
    "noatime": NOATIME, "strictatime": STRICTATIME, "nodiratime": NODIRATIME,
}  # fmt: skip
# Options that say what is so anyway, or that the caller sees to itself.
_PLAIN = {"rw", "suid", "dev", "exec", "relatime", "atime", "diratime", "bind", "rbind"}
_PROPAGATIONS = {"private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"}

_RECURSIVE = 0x8000
_PRIVATE = 1 << 18
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_OPEN_TREE_CLONE = 1
_BOTH_EMPTY = 0x4 | 0x40  # move_mount: both sides are given by descriptor
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH, _IN_ROOT = 0x02, 0x04, 0x08, 0x10
_MNT_DETACH = 2
_NEWNS = 0x00020000
_PAGE = 4096


def _setattr(what: str, directory: int, path: bytes, flags: int, wanted: int, cleared: int, propagation: int) -> None:
    attributes = struct.pack("=4Q", wanted, cleared, propagation, 0)
    syscalls.call(what, "mount_setattr", directory, path, flags, attributes, ctypes.c_long(len(attributes)))


def private() -> None:
    """Nothing that is mounted from now on is seen outside this mount namespace, and the other way round."""
    ours = os.open("/", os.O_PATH | os.O_CLOEXEC)
    _stand_at_the_top()  # all of the namespace, not only what a chroot shows of it
    _setattr("make the mounts private", syscalls.AT_FDCWD, b"/", _RECURSIVE, 0, 0, _PRIVATE)
    os.fchdir(ours)
    os.chroot(".")
    os.close(ours)


def _stand_at_the_top() -> None:
    """Root and working directory become the root of the mount namespace, whatever chroot(2) we were started in.

    setns(2) does that, also into the namespace one is in.
    """
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    syscalls.call("stand at the root of the mounts", "setns", own, _NEWNS)
    os.close(own)


def make(fstype: str, options: Iterable[str] = (), source: str = "", attributes: int = 0) -> int:
    """A new filesystem, attached nowhere yet: its descriptor, good as a dir_fd too. `options` "flag" or "key=value"."""
    context = syscalls.call(f"make a filesystem of type {fstype}", "fsopen", fstype.encode(), _CLOEXEC)
    try:
        if source:
            syscalls.call("name a filesystem", "fsconfig", context, _SET_STRING, b"source", source.encode(), 0)
        for option in options:
            key, is_pair, value = option.partition("=")
            step, argument = (_SET_STRING, value.encode()) if is_pair else (_SET_FLAG, None)
            what = f"mount {fstype} with option {option!r}"
            syscalls.call(what, "fsconfig", context, step, key.encode(), argument, 0)
        syscalls.call(f"make a filesystem of type {fstype}", "fsconfig", context, _CREATE, None, None, 0)
        return syscalls.call(f"mount {fstype}", "fsmount", context, _CLOEXEC, attributes)
    finally:
        os.close(context)


def clone(path: str, recursive: bool = False, directory: int = syscalls.AT_FDCWD) -> int:
    """What is at `path` as a mount of its own, attached nowhere yet; with what is mounted below where `recursive`."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_RECURSIVE if recursive else 0) | (0 if path else syscalls.AT_EMPTY_PATH)
    return syscalls.call(f"take {path!r} for a mount", "open_tree", directory, path.encode(), flags)


def change(mount: int, wanted: int, recursive: bool = False) -> None:
    """Add attributes (RDONLY …) to a mount."""
    times = NOATIME | STRICTATIME
    cleared = 0x70 if wanted & times else 0  # the access time is a choice, not a flag: clear it to set it
    flags = syscalls.AT_EMPTY_PATH | (_RECURSIVE if recursive else 0)
    _setattr("change a mount", mount, b"", flags, wanted, cleared, 0)


def attach(mount: int, target: int) -> None:
    """Put a detached mount onto the file or directory open as `target`; both descriptors are closed."""
    try:
        syscalls.call("attach a mount", "move_mount", mount, b"", target, b"", _BOTH_EMPTY)
    finally:
        os.close(mount)
        os.close(target)


def open_in(root: int, path: str, flags: int = os.O_PATH, links: bool = True) -> int:
    """Open `path` as a process would whose root directory is `root`; with `links` False every symlink is ELOOP."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, 0, _IN_ROOT | _NO_MAGICLINKS | (0 if links else _NO_SYMLINKS))
    return syscalls.call(f"open {path!r}", "openat2", root, path.encode(), how, ctypes.c_long(24))


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open `path` below `directory`, without leaving it and without any symlink: for files of procfs we write to."""
    how = struct.pack("=3Q", flags | os.O_CLOEXEC, 0, _BENEATH | _NO_MAGICLINKS | _NO_SYMLINKS)
    return syscalls.call(f"open {path!r}", "openat2", directory, path.encode(), how, ctypes.c_long(24))


def target_in(root: int, path: str, is_directory: bool, links: bool = True) -> int:
    """`path` in the root as a place to mount on; what is missing of it is made (directories 0755, a file 0644)."""
    try:
        return open_in(root, path, links=links)
    except FileNotFoundError:
        parent_path, _, name = path.rstrip("/").rpartition("/")
        parent = target_in(root, parent_path or "/", True, links)
    try:
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
    except FileExistsError:
        pass  # a link that leads nowhere; the second look says so
    finally:
        os.close(parent)
    return open_in(root, path, links=links)


def overlay(target: str, lower: Sequence[str], upper: str, work: str) -> None:
    """Mount an overlay of the directories `lower` (topmost first) under the writable `upper` onto `target`.

    `volatile` (Linux 5.10): nothing is synced, a container's layer does not survive a crash of the machine anyway; the
    mark that a stop without unmount leaves in `work` is removed, the next mount would fail on it (overlayfs.rst).
    """
    remove_tree(os.path.join(work, "work", "incompat", "volatile"))
    stack = ":".join(map(_escape, lower))
    options = f"lowerdir={stack},upperdir={_escape(upper)},workdir={_escape(work)},volatile".encode()
    if len(options) < _PAGE:
        syscalls.call(f"mount an overlay on {target}", "mount", b"overlay", target.encode(), b"overlay", 0, options)
        return
    rows = [*(f"lowerdir+={directory}" for directory in lower), f"upperdir={upper}", f"workdir={work}", "volatile"]
    attach(make("overlay", rows), os.open(target, os.O_PATH | os.O_CLOEXEC))  # lowerdir+: Linux 6.7


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def remove_tree(path: str) -> None:
    """Remove `path` and all below; no error where it is not there. (shutil would cost the launcher 1 MB.)"""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except IsADirectoryError:
        for entry in os.listdir(path):
            remove_tree(os.path.join(path, entry))
        os.rmdir(path)


def pivot(root: int) -> None:
    """`root` (a mount point of ours) becomes the root directory, the old one goes with all that is mounted in it.

    From a chroot, pivot_root(2) would exchange only the chroot's mount: what lies above it would stay, in reach of an
    exec (setns goes to the top of a namespace) and of every root in the container that may call chroot(2).
    """
    _stand_at_the_top()
    os.fchdir(root)
    syscalls.call("change the root directory", "pivot_root", b".", b".")
    syscalls.call("leave the host's root behind", "umount2", b".", _MNT_DETACH)
    os.chdir("/")


def detach(path: str) -> None:
    """Take away what is mounted on `path` from view now, and from memory when its last user has ended (MNT_DETACH)."""
    syscalls.call(f"unmount {path}", "umount2", path.encode(), 2)


def filesystem_of(path: str) -> str:
    """The type of the filesystem that `path` lies on, by /proc/self/mountinfo (proc(5)): "ext4", "tmpfs" …"""
    real, found, longest = os.path.realpath(path), "", -1
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            point = fields.split(" ")[4].replace("\\040", " ").rstrip("/")
            if (real == point or real.startswith(f"{point}/")) and len(point) >= longest:
                found, longest = rest.split(" ")[0], len(point)
    return found


def is_device(descriptor: int, major: int, minor: int) -> bool:
    """Whether it is this character device: never trust a /dev/null by its name."""
    found = os.fstat(descriptor)
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(major, minor)


def sort(options: Iterable[str]) -> tuple[int, list[str]]:
    """OCI mount options → (attributes of the mount, options of the filesystem). Raises OSError for a propagation."""
    attributes, rest = 0, []
    for option in options:
        if option in ATTRIBUTES:
            attributes |= ATTRIBUTES[option]
        elif option in _PROPAGATIONS:
            if "private" not in option:
                raise OSError(errno.EINVAL, f"cannot mount with propagation {option!r}: only private mounts are made")
        elif option not in _PLAIN:
            rest.append(option)
    return attributes, rest
