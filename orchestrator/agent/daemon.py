"""Starting the processes that outlive the agent (launcher, dns), and knowing when one of them has ended.

A daemon is a module with `main(arguments)`. It is called with `--root DIR --ready FD`, leaves its starter (fork,
setsid), holds RUN/<name>.lock with its pid inside for as long as it lives, and writes one byte to FD once it answers.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys

import orchestrator
from orchestrator.errors import Unreachable
from orchestrator.root import Root

PATIENCE = 15.0  # seconds


async def ensure(module: str, root: Root, lock: str) -> None:
    """The daemon `module` runs and answers, whoever started it; `lock` is the name of its lock file in RUN."""
    if holder(root, lock) is None:
        await start(module, root)


async def start(module: str, root: Root) -> None:
    """Returns when it answers. Raises Unreachable with the last words of its log where it does not."""
    os.makedirs(root.run, mode=0o700, exist_ok=True)
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # A bare interpreter (no site packages): its memory is shared by nobody and paid for at every birth.
        where = os.path.dirname(os.path.dirname(orchestrator.__file__))
        code = f"import sys; sys.path.insert(0, {where!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"
        starter = subprocess.Popen(
            [sys.executable, "-I", "-S", "-E", "-c", code, "--root", root.directory, "--ready", str(writer)],
            pass_fds=(writer,), stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        os.close(writer)
        writer = -1
        try:
            answered = await asyncio.wait_for(_first_byte(reader), PATIENCE)
        except TimeoutError:
            answered = b""
        if not answered:
            raise Unreachable(f"cannot start {module}: {_last_words(module, root)}")
        starter.poll()
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


async def ended(root: Root, lock: str) -> None:
    """Returns when the daemon that holds `lock` is no more (at once where there is none)."""
    pid = holder(root, lock)
    if pid is None:
        return
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await _readable(pidfd)
    finally:
        os.close(pidfd)


def holder(root: Root, lock: str) -> int | None:
    """The pid of the daemon that holds `lock`; None where nobody does."""
    try:
        with open(os.path.join(root.run, lock), "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or b"0") or None
    except FileNotFoundError:
        pass
    return None


async def _first_byte(reader: int) -> bytes:
    await _readable(reader)
    return os.read(reader, 1)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        loop.remove_reader(descriptor)
        ready.set_result(None)

    loop.add_reader(descriptor, wake)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _last_words(module: str, root: Root) -> str:
    """The last line of RUN/<name>.log, where `module` is orchestrator.<name>.main."""
    log = os.path.join(root.run, module.split(".")[-2] + ".log")
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.path.getsize(log) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return f"{lines[-1]} (see {log})" if lines else "it ended without a word"
