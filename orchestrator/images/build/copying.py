"""COPY and ADD, done: files of a source's root into a stage's root, both open as directories.

The destination is the container's root as overlayfs shows it; every path of it is looked up inside it (openat2
RESOLVE_IN_ROOT), so that a symlink of the image leads where it would lead in the container and never out of it.
"""

from __future__ import annotations

import bz2
import errno
import lzma
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import IO

from orchestrator.images import stream
from orchestrator.images.build import context
from orchestrator.images.build.ignore import Rule
from orchestrator.images.build.modes import Change
from orchestrator.images.unpack import unpack
from orchestrator.kernel import mounts

Owner = tuple[int, int]
MOST_LINKS = 40  # that are followed, as in the kernel
_KEPT = ("security.capability", "system.posix_acl_access")


@dataclass(frozen=True, slots=True)
class Task:
    """`owner` None: as the files have it; `mode` None: likewise. `archives`: those of the context are unpacked.
    `parents`: what is copied keeps the directories it lies in, from the top or from a `/./` in its pattern on."""

    target: str
    cwd: str
    patterns: Sequence[str]
    texts: Sequence[tuple[str, bytes]]
    hidden: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    owner: Owner | None
    mode: Change | None
    archives: bool
    parents: bool = False
    replaces: bool = False  # what comes takes the place of a thing of another kind, as unpacking an archive does


def copy(source: str, root: int, task: Task, scratch: str) -> None:
    """`source`: the root to read from; `root`: descriptor of the one to write into; `scratch`: a directory for ADD.

    Raises ValueError with the reason for what the Dockerfile's author can mend, OSError.
    """
    found = [
        (path, _kept(pattern, path) if task.parents else "")
        for pattern in task.patterns
        for path in context.sources(source, [pattern], task.hidden, task.parents)
    ]
    whole = os.path.normpath(os.path.join(task.cwd, task.target))  # before links are followed, as Docker does it
    into = os.path.basename(task.target) in ("", ".", "..") or is_directory(root, whole)
    if len(task.patterns) + len(task.texts) > 1 and not into:
        raise ValueError(f"several files cannot become the one file {task.target!r}: end it with a '/'")
    into = into or len(found) > 1  # of one pattern
    for path, kept in found:
        if task.parents:
            _parents(source, path, kept, root, whole, task)
            _one(source, path, root, os.path.join(whole, os.path.dirname(kept)), True, task, scratch)
        else:
            _one(source, path, root, whole, into, task, scratch)
    for name, content in task.texts:
        place = f"{whole.rstrip('/')}/{name}" if into else whole
        _text(root, place, content, task)


def _kept(pattern: str, path: str) -> str:
    """The part of a path that COPY --parents keeps: what comes after the `/./` of its pattern, else all of it."""
    before, pivot, _ = pattern.removeprefix("./").partition("/./")
    cut = len([part for part in before.split("/") if part not in ("", ".")]) if pivot else 0
    return "/".join(path.split("/")[cut:])


def _parents(source: str, path: str, kept: str, root: int, whole: str, task: Task) -> None:
    """The directories between, as they are in the source."""
    above = path.removesuffix(kept)
    for depth in range(1, len(kept.split("/"))):
        part = "/".join(kept.split("/")[:depth])
        place = os.path.join(whole, part)
        if is_directory(root, place):
            continue
        with _holding(source, above + part) as start:
            directory = directories(root, place, task.owner)
            _dress(directory, start, os.stat(start), replace(task, mode=None))
            os.close(directory)


def _one(source: str, path: str, root: int, whole: str, into: bool, task: Task, scratch: str) -> None:
    things = list(context.walk(source, path, task.hidden, task.excluded))
    if not things:
        return
    with _holding(source, path) as start:
        known = os.stat(start)
        if stat.S_ISDIR(known.st_mode):
            _tree(start, things, root, os.path.join(whole, os.path.basename(path)) if task.parents else whole, task)
        elif task.archives and stat.S_ISREG(known.st_mode) and (reader := _archive(start)):
            _unpacked(reader, start, root, whole, task, scratch)
        else:
            place = f"{whole.rstrip('/')}/{os.path.basename(path)}" if into else whole
            _file(start, known, root, place, task)


class _holding:
    """A path inside a root, held open: its /proc/self/fd name cannot be led astray meanwhile."""

    def __init__(self, root: str, path: str) -> None:
        self._descriptor = context._open(root, path)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)


def _tree(start: str, things: Sequence[context.Found], root: int, whole: str, task: Task) -> None:
    """The content of a directory into `whole`."""
    links: dict[tuple[int, int], str] = {}
    for one in things:
        place = f"{whole.rstrip('/')}/{one.name}" if one.name else whole
        origin = f"{start}/{one.name}" if one.name else start
        mode = one.known.st_mode
        if stat.S_ISDIR(mode):
            if task.replaces and one.name and not is_directory(root, place):
                parent, _ = _place(root, place, task)
                os.close(parent)
            directory = directories(root, place, task.owner)
            if one.name or task.parents:  # what the content is copied into is not the source: it is as it was, or 0755
                _dress(directory, origin, one.known, task)
            os.close(directory)
            continue
        key = (one.known.st_dev, one.known.st_ino)
        if one.known.st_nlink > 1 and stat.S_ISREG(mode) and key in links:
            _link(root, links[key], place, task)
            continue
        links[key] = place
        _file(origin, one.known, root, place, task)


def _file(origin: str, known: os.stat_result, root: int, place: str, task: Task) -> None:
    parent, name = _place(root, place, task)
    try:
        mode = known.st_mode
        if stat.S_ISREG(mode):
            with open(origin, "rb", buffering=0) as source:
                target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
                try:
                    _content(source.fileno(), target)
                    _dress(target, origin, known, task)
                finally:
                    os.close(target)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(origin), name, dir_fd=parent)
        elif stat.S_ISSOCK(mode):
            return
        else:
            os.mknod(name, mode, known.st_rdev, dir_fd=parent)
        owner = task.owner or (known.st_uid, known.st_gid)
        os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
        times = (known.st_mtime_ns, known.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)


def _text(root: int, place: str, content: bytes, task: Task) -> None:
    parent, name = _place(root, place, task)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=parent)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(target, view) :]
            os.fchown(target, *(task.owner or (0, 0)))
            os.fchmod(target, task.mode(0o644, False) if task.mode else 0o644)
            os.utime(target, (0, 0))
        finally:
            os.close(target)
    finally:
        os.close(parent)


def _link(root: int, first: str, place: str, task: Task) -> None:
    parent, name = _place(root, place, task)
    other, old = _place(root, first, task, clear=False)
    try:
        os.link(old, name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(parent)
        os.close(other)


def _place(root: int, place: str, task: Task, clear: bool = True) -> tuple[int, str]:
    """(the parent directory, open; the name in it, with nothing there any more). Raises ValueError."""
    parent_path, _, name = place.rstrip("/").rpartition("/")
    parent = directories(root, parent_path or "/", task.owner)
    if clear:
        try:
            known = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return parent, name
        if stat.S_ISDIR(known.st_mode) and task.replaces:
            shutil.rmtree(f"/proc/self/fd/{parent}/{name}")
            return parent, name
        if stat.S_ISDIR(known.st_mode):
            os.close(parent)
            raise ValueError(f"a file cannot take the place of the directory {place!r}")
        os.unlink(name, dir_fd=parent)
    return parent, name


def directories(root: int, path: str, owner: Owner | None = None, links: int = 0) -> int:
    """The directory at `path` inside the root, made with its parents where they are missing (0755), also
    where a symlink leads to nothing yet. Its descriptor.

    Raises ValueError where something else is there.
    """
    try:
        return mounts.open_in(root, path or "/", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise ValueError(f"{path!r} is no directory") from None
        if error.errno == errno.ELOOP:
            raise ValueError(f"the symlink {path!r} leads round and round") from None
        raise
    parent_path, _, name = path.rstrip("/").rpartition("/")
    parent = directories(root, parent_path or "/", owner, links)
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
        os.chmod(name, 0o755, dir_fd=parent)
        if owner:
            os.chown(name, *owner, dir_fd=parent, follow_symlinks=False)
    except FileExistsError:  # a symlink that leads nowhere
        if links == MOST_LINKS:
            raise ValueError(f"the symlink {path!r} leads round and round") from None
        target = os.path.join(parent_path or "/", os.readlink(name, dir_fd=parent))
        os.close(directories(root, os.path.normpath(target), owner, links + 1))
    finally:
        os.close(parent)
    return mounts.open_in(root, path, os.O_RDONLY | os.O_DIRECTORY)


def is_directory(root: int, path: str) -> bool:
    try:
        os.close(mounts.open_in(root, path or "/", os.O_PATH | os.O_DIRECTORY))
    except OSError:
        return False
    return True


def _dress(target: int, origin: str, known: os.stat_result, task: Task) -> None:
    os.fchown(target, *(task.owner or (known.st_uid, known.st_gid)))
    directory, mode = stat.S_ISDIR(known.st_mode), stat.S_IMODE(known.st_mode)
    os.fchmod(target, task.mode(mode, directory) if task.mode else mode)
    for name in os.listxattr(origin) if not directory else ():
        if name in _KEPT or name.startswith("user."):
            os.setxattr(target, name, os.getxattr(origin, name))
    os.utime(target, ns=(known.st_mtime_ns, known.st_mtime_ns))


def _content(source: int, target: int) -> None:
    while os.sendfile(target, source, None, 1 << 24):  # None: from where it stands
        pass


# ADD


def _archive(path: str) -> Callable[[int], bytes] | None:
    """Reads the tar in a file, whatever it is compressed with; None where it holds none."""
    with open(path, "rb") as file:
        head = file.read(512)
    opened: IO[bytes] | None = None
    if head[:3] == b"BZh":
        opened = bz2.open(path)  # noqa: SIM115  (read to its end by who unpacks it)
    elif head[:6] == b"\xfd7zXZ\0":
        opened = lzma.open(path)  # noqa: SIM115
    if opened is None and head[:2] != b"\x1f\x8b" and head[:4] != b"\x28\xb5\x2f\xfd" and head[257:262] != b"ustar":
        return None
    read = opened.read if opened is not None else stream.Plain(open(path, "rb").read).read  # noqa: SIM115
    try:
        first = b""
        while len(first) < 512 and (piece := read(512 - len(first))):
            first += piece
    except (OSError, ValueError, lzma.LZMAError):
        return None
    if len(first) < 512 or (first[257:262] != b"ustar" and first.count(0) < 512):
        return None
    rest = [first]

    def again(count: int) -> bytes:
        if rest:
            head = rest.pop()
            if len(head) > count:
                rest.append(head[count:])
            return head[:count]
        return read(count)

    return again


def _unpacked(read: Callable[[int], bytes], start: str, root: int, whole: str, task: Task, scratch: str) -> None:
    """Through a directory of its own, with all the care that a layer gets; owners are the archive's."""
    aside = os.path.join(scratch, f"add-{secrets.token_hex(8)}")
    try:
        unpack(read, aside)
        things = list(context.walk(aside, "", ()))
        with _holding(aside, "") as held:
            _tree(held, things, root, whole, replace(task, owner=None, mode=None, replaces=True))
    finally:
        shutil.rmtree(aside, ignore_errors=True)
