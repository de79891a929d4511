"""The launcher's start: `--root DIR [--ready FD]`.

Becomes a daemon (own session, cwd /, output to RUN/launcher.log), takes RUN/launcher.lock, adopts what lives, and then
writes one byte to FD: from that moment its socket answers. Where another launcher already answers it only says so.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence

from orchestrator.kernel import syscalls
from orchestrator.launcher.server import Server
from orchestrator.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.launcher.runtimes import Runtime

PATIENCE = 5  # seconds for a dying predecessor to let go of the lock
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
LOG_BYTES = 1 << 20  # of launcher.log, kept at a start


def main(arguments: Sequence[str], runtime: Runtime | None = None) -> int:
    """Never returns before the end of the launcher. Exit code 1: it could not start, launcher.log says why."""
    directory, ready = _arguments(arguments)
    root = Root(directory)
    os.makedirs(root.bundles, mode=0o700, exist_ok=True)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    _redirect(os.path.join(root.run, "launcher.log"))
    try:
        if _locked(root):
            _serve(root, runtime or _native(), ready)
        else:
            _tell(ready)
    except OSError as error:
        print(f"cannot start the launcher: {error.strerror or error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _native() -> Runtime:
    from orchestrator.runtime import native

    return native


def _arguments(arguments: Sequence[str]) -> tuple[str, int | None]:
    """argparse would cost every birth half a megabyte."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if set(options) - {"--root", "--ready"} or "--root" not in options:
        raise SystemExit("usage: launcher --root DIR [--ready FD]")
    return options["--root"], int(options["--ready"]) if "--ready" in options else None


def _redirect(log: str) -> None:
    """stdin from nowhere; stdout and stderr into a log that keeps its last part at each start."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if os.path.exists(log) and os.path.getsize(log) > LOG_BYTES:
        os.replace(log, log + ".old")
    opened, nothing = os.open(log, flags, 0o600), os.open("/dev/null", os.O_RDONLY)
    for source, target in ((nothing, 0), (opened, 1), (opened, 2)):
        os.dup2(source, target)
    os.close(opened)
    os.close(nothing)


def _locked(root: Root) -> bool:
    """Takes the lock for as long as this process lives. False: another launcher has it, and answers."""
    lock = os.open(os.path.join(root.run, "launcher.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if _answers(root.launcher_socket):
            return False
        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(PATIENCE)
        fcntl.flock(lock, fcntl.LOCK_EX)
        signal.alarm(0)
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return True


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _give_up(*_: object) -> None:
    raise OSError(11, "another launcher holds launcher.lock (its pid is inside) and does not answer")


def _serve(root: Root, runtime: Runtime, ready: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    syscalls.call("become the reaper of orphans", "prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _spare_from_oom_killer()
    server = Server(root, runtime)
    runtime.warm()
    server.adopt()
    _tell(ready)
    server.loop.run()
    os.unlink(root.launcher_socket)


def _spare_from_oom_killer() -> None:
    """The last process to be killed for want of memory; the children's own value is in their spec."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-999")
    except PermissionError:  # no CAP_SYS_RESOURCE, as in many a container: then it is as likely to go as others
        print("cannot lower oom_score_adj: no CAP_SYS_RESOURCE", file=sys.stderr, flush=True)


def _tell(ready: int | None) -> None:
    if ready is not None:
        with contextlib.suppress(BrokenPipeError):  # who started us was killed meanwhile; somebody else will ask
            os.write(ready, b"1")
        os.close(ready)
