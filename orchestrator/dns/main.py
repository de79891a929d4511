"""The dns process: `main(["--root", DIR, "--ready", FD])`.

It is one of its kind for a root (RUN/dns.lock, its pid inside), writes "ready" to FD when it answers, and then follows
RUN/zones by itself: a change there arrives as SIGHUP. SIGTERM ends it.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import resource
import signal
import sys
from collections.abc import Sequence

from orchestrator.dns.listeners import Door
from orchestrator.dns.loop import READ
from orchestrator.dns.server import Server
from orchestrator.root import Root

_F_SETSIG = 10  # fcntl(2); Python's fcntl does not name it
OOM_SCORE = "-900"  # without names every container is lost: among the last to be killed


def main(arguments: Sequence[str]) -> int:
    """Leave the caller and serve until SIGTERM. Returns 0, or 1 if there is another one for this root already."""
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    root, ready = Root(options.get("--root")), options.get("--ready")
    os.makedirs(root.zones, mode=0o700, exist_ok=True)
    lock = _only_one(os.path.join(root.run, "dns.lock"))
    if lock is None:
        return 1
    if os.fork():
        return 0  # whoever started us has nobody to wait for
    _leave_the_caller(os.path.join(root.run, "dns.log"))
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    server = Server(root.zones, os.path.join(root.run, "dns.status"))
    Door(server, root.dns_socket)
    signals = Signals(root.zones, server)
    server.reload()
    if ready:
        with contextlib.suppress(BrokenPipeError):  # who started us was killed meanwhile
            os.write(int(ready), b"ready\n")
        os.close(int(ready))
    gc.freeze()
    while not signals.end:
        try:
            server.loop.turn()
        except Exception:  # a mistake of ours about one client must not take the names of all: told in RUN/dns.log
            sys.excepthook(*sys.exc_info())
    return 0


class Signals:
    """SIGHUP: read the zones again; the kernel itself sends it when their directory changes (dnotify). SIGTERM: end.

    The loop looks for them before and after each wait; the pipe is for the signal that comes between the looking and
    the waiting.
    """

    def __init__(self, directory: str, server: Server) -> None:
        self.server, self.end, self._changed = server, False, False
        self._pipe, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, self._hangup)
        signal.signal(signal.SIGTERM, self._terminate)
        server.loop.watch(self._pipe, READ, self._drain)
        server.loop.signals = self._obey
        self._directory = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a kernel without dnotify: then the agent's SIGHUP is the only one
            fcntl.fcntl(self._directory, _F_SETSIG, signal.SIGHUP)
            changes = fcntl.DN_CREATE | fcntl.DN_RENAME | fcntl.DN_DELETE | fcntl.DN_MULTISHOT
            fcntl.fcntl(self._directory, fcntl.F_NOTIFY, changes)

    def _hangup(self, *_: object) -> None:
        self._changed = True

    def _terminate(self, *_: object) -> None:
        self.end = True

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._pipe, 4096):
                pass

    def _obey(self) -> None:
        if self._changed:
            self._changed = False
            self.server.reload()


def _only_one(path: str) -> int | None:
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(lock, 32).decode().strip()
        print(f"cannot start dns: it runs already, as process {pid}", file=sys.stderr)
        return None
    return lock


def _leave_the_caller(log: str) -> None:
    """A session, a directory and descriptors of our own: nothing of whoever started us lives on in us."""
    os.setsid()
    os.chdir("/")
    with open(os.devnull) as nothing, open(log, "a") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # two a network, three a container, one a question
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(OOM_SCORE)
    except PermissionError:  # no CAP_SYS_RESOURCE, as in many a container: then it is as likely to go as others
        print("cannot lower oom_score_adj: no CAP_SYS_RESOURCE", file=sys.stderr, flush=True)
