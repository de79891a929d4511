"""Contents of configs and secrets: kept by digest while a stack is wanted, laid out in memory for each container.

RUN/materials holds them all, in memory as RUN is. What has no file of its own to be read from again after a reboot (a
variable's value, an inline content) is also in STATE/materials, as is what `pyorch secret create` was given, by name,
in STATE/secrets. All of it is root's alone (files 0600 in directories 0700), and nothing of it is in the database.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.errors import Conflict, HostRefused, Missing, Mistake
from orchestrator.root import Root
from orchestrator.stack import contents
from orchestrator.stack.model import Grant, Material, Service, Stack
from orchestrator.stack.reading import Reader
from orchestrator.storage import prepared

LARGEST_NAMED = 2 << 20  # bytes: it comes as the body of one request
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}")


# while a stack is wanted


def keep(root: Root, stack: Stack) -> None:
    """Whatever `stack.contents` says can be had from now on by its digest. Raises HostRefused: the disk is full."""
    for thing in (*stack.configs.values(), *stack.secrets.values()):
        content = stack.contents.get(thing.id)
        if content is not None:
            _put(_in_memory(root), thing.digest, content)
            if thing.source in ("environment", "content"):
                _put(_on_disk(root), thing.digest, content)


def content(root: Root, thing: Material) -> bytes:
    """What it said when its stack was asked for. Raises Missing where that cannot be had any more."""
    for directory in (_in_memory(root), _on_disk(root)):
        with contextlib.suppress(FileNotFoundError), open(os.path.join(directory, thing.digest), "rb") as file:
            return file.read()
    try:
        found = contents.file(thing.where, Reader()) if thing.source == "file" else external(root, thing)
    except ValueError as error:
        raise Missing(f"cannot mount {thing.kind} '{thing.key}': {error}") from error
    if found is None or contents.digest(found) != thing.digest:
        raise Missing(
            f"cannot mount {thing.kind} '{thing.key}': {thing.where} says something else than at the last 'pyorch up'; "
            "'pyorch up' takes what it says now"
        )
    _put(_in_memory(root), thing.digest, found)
    return found


def collect(root: Root, documents: Iterable[str]) -> None:
    """Remove every content that none of these texts (stored revisions) names."""
    texts = list(documents)
    for directory in (_in_memory(root), _on_disk(root)):
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(directory):
                if not any(name in text for text in texts):
                    os.unlink(os.path.join(directory, name))


# for a container


def mounts(root: Root, service: Service, stack: Stack, container: str) -> list[dict[str, Any]]:
    """OCI mounts of a container's configs and secrets, read-only; its bundle (in memory) gets a copy of each with the
    owner and mode asked for. Raises Missing, OSError."""
    directory = home(root, container)
    made = []
    for number, grant in enumerate(service.grants):
        thing = (stack.configs if grant.kind == "config" else stack.secrets).get(grant.source)
        if thing is None:
            raise Missing(f"cannot mount {grant.kind} '{grant.source}' for '{service.name}': the stack has it no more")
        if number == 0:
            os.mkdir(directory, 0o700)
        path = os.path.join(directory, str(number))
        _lay_out(path, content(root, thing), grant)
        if grant.mode & 0o111:
            path = prepared.prepare(root, container, f"material-{number}", prepared.program(path))
        options = ["bind", "ro", "rprivate", "nosuid", "nodev"]
        made.append({"destination": grant.target, "type": "bind", "source": path, "options": options})
    return made


def renew(root: Root, service: Service, stack: Stack, container: str) -> None:
    """Write what configs and secrets say now into the files that a living container has of them. Raises Missing."""
    directory = home(root, container)
    for number, grant in enumerate(service.grants):
        thing = (stack.configs if grant.kind == "config" else stack.secrets).get(grant.source)
        path = os.path.join(directory, str(number))
        if thing is None or grant.mode & 0o111 or not os.path.exists(path):
            continue
        _say(path, content(root, thing))


def home(root: Root, container: str) -> str:
    """Where the files of a container's configs and secrets lie."""
    return os.path.join(root.bundle(container), "materials")


def touched(root: Root, service: Service, container: str, digests: Mapping[str, str]) -> str | None:
    """What somebody has done to the files of a container, in words; None: they say what they should. `digests`: of what
    each says, by "config.KEY"; of a thing that is not among them nothing is known."""
    for number, grant in enumerate(service.grants):
        digest = digests.get(f"{grant.kind}.{grant.source}")
        if digest is None:
            continue
        shown = f"{grant.kind} '{grant.source}' ({grant.target})"
        try:
            with open(os.path.join(home(root, container), str(number)), "rb") as file:
                status = os.fstat(file.fileno())
                if contents.digest(file.read()) != digest:
                    return f"{shown} was written to"
        except FileNotFoundError:
            return f"{shown} was removed"
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (grant.uid, grant.gid, grant.mode):
            return f"{shown} was given another owner or mode"
    return None


def mend(root: Root, service: Service, stack: Stack, container: str) -> None:
    """Let the files of a living container say again what they should. Raises Missing, OSError."""
    for number, grant in enumerate(service.grants):
        thing = (stack.configs if grant.kind == "config" else stack.secrets).get(grant.source)
        if thing is None:
            continue
        path, said = os.path.join(home(root, container), str(number)), content(root, thing)
        if not os.path.exists(path):  # the container has it all the same; its next start needs the name
            _lay_out(path, said, grant)
            continue
        _say(path, said)
        os.chown(path, grant.uid, grant.gid)
        os.chmod(path, grant.mode)


def _say(path: str, said: bytes) -> None:
    """The same inode: a bind mount shows no other. Whoever reads in between is told when it is whole."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _write(file, said)
        os.ftruncate(file, len(said))
    finally:
        os.close(file)


def _lay_out(path: str, content: bytes, grant: Grant) -> None:
    """Closed to everyone until it has its owner."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o000)
    try:
        _write(file, content)
        os.fchown(file, grant.uid, grant.gid)
        os.fchmod(file, grant.mode)  # after the owner: a change of owner clears setuid and setgid bits
    finally:
        os.close(file)


# external ones: what `pyorch secret` keeps


def external(root: Root, thing: Material) -> bytes | None:
    """The content kept under this name; None: there is none."""
    return named(root, thing.where)


def named(root: Root, name: str) -> bytes | None:
    try:
        with open(os.path.join(_named(root), _checked(name)), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def create(root: Root, name: str, content: bytes) -> None:
    """Keep `content` under a name. Raises Conflict where the name is taken: what runs was made from what it says."""
    if named(root, name) is not None:
        raise Conflict(f"cannot create secret '{name}': there is one already; 'pyorch secret rm {name}' removes it")
    if len(content) > LARGEST_NAMED:
        raise Mistake(f"cannot create secret '{name}': it is larger than {LARGEST_NAMED >> 20} MiB")
    _put(_named(root), name, content)


def remove(root: Root, name: str) -> None:
    try:
        os.unlink(os.path.join(_named(root), _checked(name)))
    except FileNotFoundError:
        raise Missing(f"cannot remove secret '{name}': there is none") from None


def listing(root: Root) -> list[tuple[str, float]]:
    """(name, seconds since the epoch when it was made) of each."""
    try:
        with os.scandir(_named(root)) as found:
            return sorted((entry.name, entry.stat().st_mtime) for entry in found if not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Mistake(
            f"cannot use secret name '{name}': letters, digits, '_', '.' and '-', beginning with the former two"
        )
    return name


# files


def _in_memory(root: Root) -> str:
    return os.path.join(root.run, "materials")


def _on_disk(root: Root) -> str:
    return os.path.join(root.state, "materials")


def _named(root: Root) -> str:
    return os.path.join(root.state, "secrets")


def _put(directory: str, name: str, content: bytes) -> None:
    """By rename: whoever finds the name finds the whole of it, also after a power cut."""
    path, building = os.path.join(directory, name), os.path.join(directory, f".{name}")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        if os.path.exists(path):
            return
        file = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(file, content)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(building, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(building)
        raise HostRefused(f"cannot keep a config or secret in {directory}: {error.strerror}") from error


def _write(file: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(file, rest) :]
