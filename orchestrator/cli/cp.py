"""pyorch cp: files between a service's container and here."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.api.client import Client

HELP = """Copy files or directories between a running container and here. `-` is a tar on stdin or stdout.

SERVICE:PATH names the container's side. As with docker cp: a directory goes into one that is there, or becomes one that
is not; DIR/. is what a directory holds.
"""
EXAMPLES = """
  pyorch cp db:/var/lib/dump.sql .
  pyorch cp ./conf web:/etc/app
  pyorch cp web:/srv/. ./srv
  tar c site | pyorch cp - web:/srv
"""
OPTIONS = (
    Option("-a", "--archive", help="Keep owner and group."),
    Option("-L", "--follow-link", help="Copy what a link leads to."),
    Option("--index", kind="integer", metavar="N", help="Which replica of the service (else the first that runs)."),
    Option("--all", help="Into every replica of the service."),
)
ARGUMENTS = (Argument("source", metavar="[SERVICE:]PATH|-"), Argument("target", metavar="[SERVICE:]PATH|-"))


def run(given: Given) -> int:
    from orchestrator.cli.where import agent, deed_path, stack_name
    from orchestrator.errors import Mistake

    source, target = _side(given.source), _side(given.target)
    if bool(source[0]) == bool(target[0]):
        raise Mistake("cannot copy: one side must be SERVICE:PATH, and only one")
    client = agent(given)
    stack = stack_name(given, client)
    path = deed_path(stack, "archive")
    if source[0]:
        _fetch(client, path, given, *source, target[1])
        return 0
    service, inside = target
    indices = [given.index]
    if given.all:
        rows = client.get("/v1/containers", stack=stack, services=service)
        indices = sorted(int(row["Name"].rpartition("-")[2]) for row in rows)
    for index in indices:
        _send(client, path, given, source[1], service, inside, index)
    return 0


def _side(word: str) -> tuple[str, str]:
    """(service or "", path). A path with a colon in it is written ./a:b."""
    service, colon, path = word.partition(":")
    return (service, path) if colon and not service.startswith((".", "/")) else ("", word)


def _fetch(client: Client, path: str, given: Given, service: str, inside: str, here: str) -> None:
    import os
    import sys
    import tarfile

    query = {"service": service, "index": given.index, "path": inside, "follow": int(given.follow_link)}
    answer = client.open("GET", path, query=query)
    if here == "-":
        while (data := answer.receive()) is not None:
            sys.stdout.buffer.write(data)
        return
    content = inside.endswith("/.")
    into = os.path.isdir(here) and not content
    base = os.path.basename(os.path.normpath(inside)) or "."
    reading: Any = _Reading(answer)
    with tarfile.open(fileobj=reading, mode="r|") as archive:
        for entry in archive:
            below = entry.name[len(base) :].lstrip("/")
            place = os.path.join(here, base, below) if into else os.path.join(here, below)
            _put(archive, entry, os.path.normpath(place), given.archive)


def _put(archive: Any, entry: Any, place: str, owners: bool) -> None:
    """One entry. The names come from a walk of the agent's; a link among them is never walked through."""
    import os

    from orchestrator.errors import OrchestratorError

    try:
        if entry.isdir():
            os.makedirs(place, exist_ok=True)
        elif entry.issym():
            if os.path.lexists(place):
                os.unlink(place)
            os.symlink(entry.linkname, place)
        elif entry.isreg():
            source = archive.extractfile(entry)
            with open(place, "wb", opener=_unfollowed) as file:
                while piece := source.read(1 << 18):
                    file.write(piece)
        else:
            return
        if not entry.issym():
            os.chmod(place, entry.mode & 0o777)
            os.utime(place, (entry.mtime, entry.mtime))
        if owners:
            os.chown(place, entry.uid, entry.gid, follow_symlinks=False)
    except OSError as error:
        raise OrchestratorError(f"cannot write {place}: {error.strerror}") from error


def _unfollowed(path: str, flags: int) -> int:
    import os

    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


class _Reading:
    """The agent's answer as a file that tarfile reads."""

    def __init__(self, answer: Any) -> None:
        self._answer, self._rest = answer, b""

    def read(self, count: int) -> bytes:
        while len(self._rest) < count and (data := self._answer.receive()) is not None:
            self._rest += data
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken


def _send(client: Client, path: str, given: Given, here: str, service: str, inside: str, index: int | None) -> None:
    import json
    import os
    import shutil
    import sys
    import tarfile

    from orchestrator.errors import Missing, OrchestratorError

    query = {"service": service, "index": index, "path": inside, "kind": 1}
    kind = json.loads(client.open("GET", path, query=query).all())["kind"]
    directory, name = _destination(here, inside, kind)
    if here != "-" and not os.path.lexists(here):
        raise Missing(f"cannot copy {here}: there is no such file or directory")
    body = {"service": service, "index": index, "directory": directory, "owners": given.archive}
    connection, said = client.upgrade(path, body, "pyorch-tar")
    writing: Any = _Writing(connection)
    with writing as out:
        if here == "-":
            shutil.copyfileobj(sys.stdin.buffer, out)
        else:
            with tarfile.open(fileobj=out, mode="w|", dereference=given.follow_link) as archive:
                archive.add(os.path.realpath(here) if given.follow_link else here, arcname=name)
    if why := out.answer(said):
        raise OrchestratorError(why)


def _destination(here: str, inside: str, kind: str) -> tuple[str, str]:
    """(directory in the container, name of the entry there)."""
    import os

    from orchestrator.errors import Missing, Mistake

    if here == "-":
        return inside, ""
    base = os.path.basename(os.path.normpath(here))
    if kind == "directory":
        return (inside, ".") if here.endswith("/.") else (inside, base)
    if os.path.isdir(here) and kind == "file":
        raise Mistake(f"cannot copy the directory {here} over the file {inside}")
    if kind == "missing" and inside.endswith("/") and not os.path.isdir(here):
        raise Missing(f"cannot copy {here}: there is no directory {inside}")
    clean = os.path.normpath(inside)
    return os.path.dirname(clean) or "/", os.path.basename(clean)


class _Writing:
    """The connection as a file that tarfile writes; what the agent says is read at the end."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *_: object) -> None:
        from orchestrator.cli.streams import STDIN_END, frame

        self._say(frame(STDIN_END))

    def write(self, data: bytes) -> int:
        from orchestrator.cli.streams import STDIN, frame

        self._say(frame(STDIN, bytes(data)))
        return len(data)

    def _say(self, data: bytes) -> None:
        import contextlib

        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it reads no more, and will say why
            self._connection.sendall(data)

    def answer(self, said: bytes) -> str | None:
        import json

        from orchestrator.cli.streams import HEADER

        while len(said) < HEADER.size or len(said) < HEADER.size + HEADER.unpack_from(said)[1]:
            data = self._connection.recv(1 << 16)
            if not data:
                return "cannot say how the copy ended: the agent closed the connection"
            said += data
        return json.loads(said[HEADER.size :])["error"]  # type: ignore[no-any-return]
