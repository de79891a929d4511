"""Starting the agent where none runs: by the first `pyorch up`, or `pyorch agent start`."""

from __future__ import annotations

import fcntl
import os
import sys

from orchestrator.api.client import Client
from orchestrator.root import Root

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import NoReturn

READY = 3  # the descriptor the agent writes its byte to
KEPT = ("PATH", "LANG", "LC_ALL", "TZ")  # of the environment: the agent outlives its caller and serves others too
MAIN = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from orchestrator.api.main import main; sys.exit(main(sys.argv[1:]))"
)


def command(root: Root, *options: str) -> list[str]:
    """The command line of the agent: this very interpreter, and our package from where it was imported."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return [sys.executable, "-I", "-c", MAIN, package, "--root", root.directory, *options]


def ensure_agent(root: Root, *options: str) -> bool:
    """True if it had to be started. Several callers at once start one: they queue on a lock. Returns when it answers.

    OrchestratorError: no root rights, or it did not come up; the sentence holds the last line of its log.
    """
    client = Client(root.api_socket)
    try:
        if client.answers():
            return False
    except PermissionError:
        must_be_root()
        raise
    must_be_root()
    lock = _start_lock(root)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if client.answers():
            return False
        _start(root, options)
    finally:
        os.close(lock)
    return True


def _start_lock(root: Root) -> int:
    try:
        os.makedirs(root.state, mode=0o711, exist_ok=True)
        return os.open(os.path.join(root.state, "start.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        from orchestrator.errors import HostRefused

        raise HostRefused(f"cannot use {root.directory}: {error.strerror}: {error.filename}") from error


def must_be_root() -> None:
    """OrchestratorError, with the way out, for everybody else."""
    if os.geteuid() != 0:
        from orchestrator.errors import OrchestratorError

        raise OrchestratorError("cannot run containers: pyorch needs root rights; run it with sudo")


def _start(root: Root, options: tuple[str, ...]) -> None:
    """Forks, and waits for the byte that says "I answer"; anything else on the pipe says why it does not."""
    ready, tell = os.pipe()
    if os.fork() == 0:
        _become_agent(root, tell, options)
    os.close(tell)
    with os.fdopen(ready, "rb") as pipe:
        answer = pipe.read()
    if answer == b"1":
        return
    from orchestrator.errors import Mistake, OrchestratorError

    code, _, told = answer.decode(errors="replace").partition(" ")
    if code == str(Mistake.exit_code):
        raise Mistake(*told.split("\n"))
    words = told or last_words(root)
    said = words if words.startswith("cannot ") else f"cannot start the agent: {words}"
    raise OrchestratorError(f"{said} (see {log(root)})")


def _become_agent(root: Root, tell: int, options: tuple[str, ...]) -> NoReturn:
    """In the child: a session of its own, nothing inherited but the pipe and a log to write to."""
    try:
        os.dup2(tell, READY)  # first: what is opened below might land there where our caller had closed its stdio
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDONLY)
        written = os.open(log(root), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor, place in ((nothing, 0), (written, 1), (written, 2)):
            os.dup2(descriptor, place)
        os.set_inheritable(READY, True)
        os.closerange(READY + 1, os.sysconf("SC_OPEN_MAX"))
        line = command(root, "--ready", str(READY), *options)
        os.execve(line[0], line, {name: os.environ[name] for name in KEPT if name in os.environ})
    finally:  # also where execv fails: this copy of the caller must never run on
        os._exit(127)


def log(root: Root) -> str:
    return os.path.join(root.state, "agent.log")


def last_words(root: Root) -> str:
    """The last line of the agent's log that says something, without our name before it."""
    try:
        with open(log(root), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - 8192, 0))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    except FileNotFoundError:
        lines = []
    return next((line.removeprefix("pyorch: ") for line in reversed(lines) if line), "it said nothing")
