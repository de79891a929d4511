"""Mounts as steps on a tape: made detached, then attached to a place that was looked up safely. man 2 fsopen, openat2.

Nothing here follows a path of the container out of its root: `open_in` resolves inside (openat2 RESOLVE_IN_ROOT), and
what is mounted goes onto the descriptor that came out of it, so that no symlink can be slipped in between. Descriptors
are left to the program's exec to close. `what` is the sentence of the whole deed, should one of its steps fail.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from orchestrator.kernel import syscalls
from orchestrator.kernel.mounts import NOATIME, PAGE, SLAVE, STRICTATIME, escape, how_in
from orchestrator.kernel.tape import Mark, Register, Tape, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.kernel.tape import What

# Registers that hold nothing for longer than one of these functions, and a struct statx.
_CONTEXT, _PARENT = 240, 241
STAT = 256
STAT_SIZE = 32  # registers
_STAT_ADDRESS = 242
_MODE, _RDEV, _DEV = 3, 16, 17  # which word of struct statx: mode (bits 32 …), device it is, device it lies on
_TYPE_MASK = 0xF000 << 32

_RECURSIVE = 0x8000
_PRIVATE = 1 << 18
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_OPEN_TREE_CLONE = 1
_BOTH_EMPTY = 0x4 | 0x40  # move_mount: both sides are given by descriptor
_BENEATH = 0x08 | 0x04 | 0x02  # openat2: no way out, no symlinks, no magic links
_MNT_DETACH = 2
_NEWNS = 0x00020000
_AT_REMOVEDIR = 0x200
_OPEN = os.O_CLOEXEC


def prepare(registers: memoryview, address: int) -> None:
    """Before the walk: `address` is that of register 0."""
    registers[_STAT_ADDRESS] = address + 8 * STAT


def _setattr(
    tape: Tape, what: What, directory: int, path: bytes, flags: int, wanted: int, cleared: int, propagation: int
) -> None:
    attributes = struct.pack("=4Q", wanted, cleared, propagation, 0)
    tape.call(what, "mount_setattr", directory, path, flags, attributes, len(attributes))


def private(tape: Tape) -> None:
    """Nothing that is mounted from now on is seen outside this mount namespace, and the other way round."""
    what = "make the mounts private"
    tape.call(what, "openat", syscalls.AT_FDCWD, b"/", os.O_PATH | _OPEN, into=_PARENT)
    _stand_at_the_top(tape)  # all of the namespace, not only what a chroot shows of it
    _setattr(tape, what, syscalls.AT_FDCWD, b"/", _RECURSIVE, 0, 0, _PRIVATE)
    tape.call(what, "fchdir", Register(_PARENT))
    tape.call(what, "chroot", b".")


def _stand_at_the_top(tape: Tape) -> None:
    """Root and working directory become the root of the mount namespace, whatever chroot(2) we were started in.

    setns(2) does that, also into the namespace one is in.
    """
    what = "stand at the root of the mounts"
    tape.call(what, "openat", syscalls.AT_FDCWD, b"/proc/self/ns/mnt", os.O_RDONLY | _OPEN, into=_CONTEXT)
    tape.call(what, "setns", Register(_CONTEXT), _NEWNS)


def make(
    tape: Tape, what: What, into: int, fstype: str, options: Iterable[str] = (), source: str = "", attributes: int = 0
) -> None:
    """A new filesystem, attached nowhere yet: its descriptor, good as a dir_fd too. `options` "flag" or "key=value"."""
    context = Register(_CONTEXT)
    tape.call(what, "fsopen", text(fstype), _CLOEXEC, into=_CONTEXT)
    if source:
        tape.call(what, "fsconfig", context, _SET_STRING, b"source", text(source), 0)
    for option in options:
        key, is_pair, value = option.partition("=")
        if is_pair:
            tape.call(what, "fsconfig", context, _SET_STRING, text(key), text(value), 0)
        else:
            tape.call(what, "fsconfig", context, _SET_FLAG, text(key), 0, 0)
    tape.call(what, "fsconfig", context, _CREATE, 0, 0, 0)
    tape.call(what, "fsmount", context, _CLOEXEC, attributes, into=into)


def clone(
    tape: Tape, what: What, into: int, path: str, recursive: bool = False, directory: int = syscalls.AT_FDCWD
) -> None:
    """What is at `path` as a mount of its own, attached nowhere yet; with what is mounted below where `recursive`."""
    flags = _OPEN_TREE_CLONE | _OPEN | (_RECURSIVE if recursive else 0) | (0 if path else syscalls.AT_EMPTY_PATH)
    tape.call(what, "open_tree", directory, text(path), flags, into=into)


def change(tape: Tape, what: What, mount: int, wanted: int, recursive: bool = False) -> None:
    """Add attributes (RDONLY …) to a mount."""
    cleared = 0x70 if wanted & (NOATIME | STRICTATIME) else 0  # the access time is a choice: clear it to set it
    flags = syscalls.AT_EMPTY_PATH | (_RECURSIVE if recursive else 0)
    _setattr(tape, what, Register(mount), b"", flags, wanted, cleared, 0)


def receive(tape: Tape, what: What, mount: int) -> None:
    """A copy of a mount that passes on (shared) takes what comes from there, and gives nothing back (MS_SLAVE)."""
    _setattr(tape, what, Register(mount), b"", syscalls.AT_EMPTY_PATH | _RECURSIVE, 0, 0, SLAVE)


def attach(tape: Tape, what: What, mount: int, target: int) -> None:
    """Put a detached mount onto the file or directory open as `target`."""
    tape.call(what, "move_mount", Register(mount), b"", Register(target), b"", _BOTH_EMPTY)


def open_in(
    tape: Tape, what: What, into: int, root: int, path: str, flags: int = os.O_PATH, links: bool = True,
    then: Mark | None = None, missing: Mark | None = None,
) -> None:  # fmt: skip
    """Open `path` as a process would whose root directory is `root`; with `links` False every symlink is ELOOP.

    missing: where to go on where there is no such file, or what should be a directory of its path is none.
    """
    on = {errno.ENOENT: missing, errno.ENOTDIR: missing} if missing else {}
    how = how_in(flags, links)
    tape.call(what, "openat2", Register(root), text(path), how, len(how), into=into, then=then, on=on)


def open_beneath(
    tape: Tape, what: What, into: int, directory: int, path: str, flags: int, missing: Mark | None = None
) -> None:
    """Open `path` below `directory`, without leaving it and without any symlink: for files of procfs we write to."""
    how = struct.pack("=3Q", flags | _OPEN, 0, _BENEATH)
    on = {errno.ENOENT: missing} if missing else {}
    tape.call(what, "openat2", Register(directory), text(path), how, len(how), into=into, on=on)


def target_in(
    tape: Tape, what: What, into: int, root: int, path: str, is_directory: bool | None, links: bool = True
) -> None:
    """`path` in the root as a place to mount on; what is missing of it is made (directories 0755, a file 0644).

    is_directory: None: what `look` has just looked at decides.
    """
    there, absent, again = Mark(), Mark(), Mark()
    on = {errno.ENOENT: absent}
    how = how_in(os.O_PATH, links)
    whole, parent = text(path), Register(_PARENT)
    tape.call(what, "openat2", Register(root), whole, how, len(how), into=into, then=there, on=on)
    tape.mark(absent)
    *above, name = [part for part in path.split("/") if part] or ["."]
    way = ["/".join(above[:depth]) or "/" for depth in range(len(above) + 1)]
    for directory, part in zip(way[:-1], above, strict=True):
        tape.call(what, "openat2", Register(root), text(directory), how, len(how), into=_PARENT)
        tape.call(what, "mkdirat", parent, text(part), 0o755, on={errno.EEXIST: None})
    tape.call(what, "openat2", Register(root), text(way[-1]), how, len(how), into=_PARENT)
    directory_wanted = Mark()
    if is_directory is None:
        if_directory(tape, directory_wanted)
    if not is_directory:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _OPEN
        tape.call(what, "openat", parent, text(name), flags, 0o644, then=again, on={errno.EEXIST: again})
    tape.mark(directory_wanted)
    if is_directory is not False:
        tape.call(what, "mkdirat", parent, text(name), 0o755, on={errno.EEXIST: None})
    tape.mark(again)  # a link that leads nowhere: the second look says so
    tape.call(what, "openat2", Register(root), whole, how, len(how), into=into)
    tape.mark(there)


def look(tape: Tape, what: What, descriptor: int, buffer: int | None = None) -> None:
    """What the file open as `descriptor` is, for the questions below; into another place than STAT: its address."""
    place = Register(_STAT_ADDRESS) if buffer is None else Register(buffer)
    tape.call(what, "statx", Register(descriptor), b"", syscalls.AT_EMPTY_PATH, 1, place)  # STATX_TYPE


def if_directory(tape: Tape, mark: Mark) -> None:
    tape.skip_if(Register(STAT + _MODE), _TYPE_MASK, stat.S_IFDIR << 32, mark)


def if_device(tape: Tape, major: int, minor: int, mark: Mark) -> None:
    """Whether it is this device: never trust a /dev/null by its name."""
    tape.skip_if(Register(STAT + _RDEV), -1, major | minor << 32, mark)


def unless_on(tape: Tape, what: What, other: int, error: int) -> None:
    """Fail with `error` where it lies on the same device as what was looked at into the registers from `other` on."""
    tape.unless_equal(what, Register(STAT + _DEV), -1, Register(other + _DEV), error)


def overlay(tape: Tape, what: What, target: str, lower: Sequence[str], upper: str, work: str) -> None:
    """Mount an overlay of the directories `lower` (topmost first) under the writable `upper` onto `target`.

    `volatile` (Linux 5.10): nothing is synced, a container's layer does not survive a crash of the machine anyway; the
    mark that a former mount has left in `work` is removed, the next one would fail on it (overlayfs.rst).
    """
    mark = f"{work}/work/incompat/volatile"
    tape.call(what, "unlinkat", syscalls.AT_FDCWD, text(f"{mark}/dirty"), 0, on={errno.ENOENT: None})
    tape.call(what, "unlinkat", syscalls.AT_FDCWD, text(mark), _AT_REMOVEDIR, on={errno.ENOENT: None})
    names = list(lower)
    for home in ("", os.path.commonpath(lower)):
        if home:  # by their names in the directory where they lie together, a hundred of them fit into the page
            names = [os.path.relpath(directory, home) for directory in lower]
        stack = ":".join(map(escape, names))
        options = text(f"lowerdir={stack},upperdir={escape(upper)},workdir={escape(work)},volatile")
        if len(options) < PAGE:
            if home:
                tape.call(what, "chdir", text(home))
            tape.call(what, "mount", b"overlay", text(target), b"overlay", 0, options)
            return
    rows = [*(f"lowerdir+={directory}" for directory in lower), f"upperdir={upper}", f"workdir={work}", "volatile"]
    made = _PARENT
    make(tape, what, made, "overlay", rows)  # lowerdir+: Linux 6.7
    tape.call(what, "openat", syscalls.AT_FDCWD, text(target), os.O_PATH | _OPEN, into=_CONTEXT)
    attach(tape, what, made, _CONTEXT)


def pivot(tape: Tape, root: int) -> None:
    """`root` (a mount point of ours) becomes the root directory, the old one goes with all that is mounted in it.

    From a chroot, pivot_root(2) would exchange only the chroot's mount: what lies above it would stay, in reach of an
    exec (setns goes to the top of a namespace) and of every root in the container that may call chroot(2).
    """
    _stand_at_the_top(tape)
    tape.call("change the root directory", "fchdir", Register(root))
    tape.call("change the root directory", "pivot_root", b".", b".")
    tape.call("leave the host's root behind", "umount2", b".", _MNT_DETACH)
    tape.call("change the root directory", "chdir", b"/")
