"""pid 1 for `init: true`: starts the program, hands signals on, buries orphans, ends with the program's own code."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

from orchestrator.kernel import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NEVER_FORWARDED = {signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU}


def reap(start: Callable[[], None]) -> int:
    """Fork; the child calls `start`, which becomes the program. → the exit code.

    A program that a signal killed gives 128 + signal, as a shell has it.
    """
    everything = signal.valid_signals()
    # Blocked, not ignored: pid 1 is spared the signals it has no handler for, and would never see them.
    signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    closed, closing = os.pipe()
    program = os.fork()
    if program == 0:
        os.close(closing)
        os.read(closed, 1)  # the program must not meet a pid 1 that still has descriptors of the launcher's open
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        start()
    descriptors.keep_only()
    while True:
        number = signal.sigwaitinfo(everything).si_signo
        if number == signal.SIGCHLD:
            code = _bury(program)
            if code is not None:
                return code
        elif number not in _NEVER_FORWARDED:
            with suppress(ProcessLookupError):  # its SIGCHLD is on the way
                os.kill(program, number)


def _bury(program: int) -> int | None:
    """Collect every process that ended; the code of `program` if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except OSError as error:
            if error.errno != errno.ECHILD:
                raise
            return code
        if pid == 0:
            return code
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            code = 128 - code if code < 0 else code
