"""What COPY, ADD and bind mounts may read of a build's context, and the digest of its content.

Nothing leads out of the context: each source is looked up inside it (openat2 RESOLVE_IN_ROOT), a tree is walked without
following symlinks. The digest is of names, kinds, modes, link targets and contents, not of times and owners.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.images.build import ignore
from orchestrator.images.build.ignore import Rule
from orchestrator.kernel import mounts

WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing to copy: `path` as it can be opened; `name`: its place below its source, "" for the source."""

    path: str
    name: str
    known: os.stat_result


def sources(root: str, patterns: Sequence[str], hidden: tuple[Rule, ...], deep: bool = False) -> list[str]:
    """The paths below `root` that the patterns mean, in their order. Raises ValueError where one without a * means
    nothing; one that nothing fits is no mistake (`COPY package.json yarn.lock* ./`), as in BuildKit.

    `deep`: `**` means any number of directories, as in COPY --parents; else it is no more than `*`, as in Docker.
    """
    found: list[str] = []
    for pattern in patterns:
        clean = os.path.normpath("/" + pattern).lstrip("/")
        if not WILD & set(pattern):
            if clean and (not _there(root, clean) or _invisible(root, clean, hidden)):
                why = ": .dockerignore hides it" if _there(root, clean) else ""
                raise ValueError(f"there is no {pattern!r}{why}")
            found.append(clean)
            continue
        found += sorted(path for path in _candidates(root, clean, deep) if not _invisible(root, path, hidden))
    return found


def walk(root: str, source: str, hidden: tuple[Rule, ...], excluded: tuple[Rule, ...] = ()) -> Iterator[Found]:
    """The source (a symlink followed, inside the root), and all below it, parents first, sorted."""
    held = _open(root, source)
    try:
        start = f"/proc/self/fd/{held}"
        yield from _below(start, source, "", os.fstat(held), hidden, excluded)
    finally:
        os.close(held)


def digest(
    root: str,
    patterns: Sequence[str],
    hidden: tuple[Rule, ...],
    excluded: tuple[Rule, ...] = (),
    parents: bool = False,
) -> str:
    """Changes when what the patterns mean has another content. Raises ValueError as `sources`, OSError."""
    whole = hashlib.sha256()
    for source in sources(root, patterns, hidden, parents):
        name = source if parents else os.path.basename(source)
        whole.update(f"source {name}\0".encode("utf-8", "surrogateescape"))
        for one in walk(root, source, hidden, excluded):
            whole.update(_meaning(one).encode("utf-8", "surrogateescape"))
            if stat.S_ISREG(one.known.st_mode):
                with open(one.path, "rb") as file:
                    whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _meaning(one: Found) -> str:
    mode = one.known.st_mode
    target = os.readlink(one.path) if stat.S_ISLNK(mode) else ""
    return f"{one.name}\0{stat.S_IFMT(mode):o} {stat.S_IMODE(mode) if not target else 0:o} {target}\0"


def _below(
    start: str, source: str, name: str, known: os.stat_result, hidden: tuple[Rule, ...], excluded: tuple[Rule, ...]
) -> Iterator[Found]:
    path = f"{start}/{name}" if name else start
    place = "/".join(filter(None, (source, name)))
    out = bool(place) and (ignore.ignored(place, hidden) or (bool(name) and ignore.ignored(name, excluded)))
    directory = stat.S_ISDIR(known.st_mode)
    if out and not (directory and (ignore.may_hold(hidden) or ignore.may_hold(excluded))):
        return
    if not out:
        yield Found(path, name, known)
    if directory:
        for child in sorted(os.listdir(path)):
            inner = f"{name}/{child}" if name else child
            for found in _below(start, source, inner, os.lstat(f"{start}/{inner}"), hidden, excluded):
                if out:  # it is seen after all, for the sake of what is brought back in it
                    yield Found(path, name, known)
                    out = False
                yield found


def _open(root: str, path: str) -> int:
    held = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return mounts.open_in(held, path or ".")
    finally:
        os.close(held)


def _there(root: str, path: str) -> bool:
    try:
        os.close(_open(root, path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _invisible(root: str, path: str, hidden: tuple[Rule, ...]) -> bool:
    """Ignored, and nothing in it is brought back."""
    if not ignore.ignored(path, hidden):
        return False
    return not (ignore.may_hold(hidden) and _there(root, path) and any(walk(root, path, hidden)))


def _candidates(root: str, pattern: str, deep: bool) -> list[str]:
    """Paths that fit a pattern, found part by part, so that only the directories in question are read."""
    found = [""]
    for part in pattern.split("/"):
        if deep and part == "**":
            found = [below for directory in found for below in _directories(root, directory)]
            continue
        following: list[str] = []
        for directory in found:
            where = os.path.join(root, directory)
            if not WILD & set(part):
                if os.path.lexists(os.path.join(where, part)):
                    following.append(f"{directory}/{part}".lstrip("/"))
            elif os.path.isdir(where):
                names = [name for name in os.listdir(where) if ignore.matches(name, part)]
                following += [f"{directory}/{name}".lstrip("/") for name in names]
        found = following
    return found


def _directories(root: str, directory: str) -> Iterator[str]:
    """A directory, and all below it."""
    yield directory
    where = os.path.join(root, directory)
    for name in sorted(os.listdir(where)) if os.path.isdir(where) else ():
        if os.path.isdir(os.path.join(where, name)) and not os.path.islink(os.path.join(where, name)):
            yield from _directories(root, f"{directory}/{name}".lstrip("/"))
