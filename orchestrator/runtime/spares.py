"""Network namespaces made ahead: to make one is the dearest step of a birth (0.5 to 1 ms, at times a wait for others).

A thread of ours that lives for this one deed makes each, while nobody waits. Nothing holds them but a descriptor of
this process: they end with it, or with `drop`. Where none is ready the newborn makes its own.
"""

from __future__ import annotations

import errno
import os

from orchestrator.kernel import namespaces, syscalls, walker
from orchestrator.kernel.tape import ANY, Mark, Tape

KEPT = 2  # who starts one container after another finds one ready, and a wave makes its own anyway

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.kernel.tape import Strip

_making: list[walker.Page] = []  # the descriptor will be in register FREE


def _made() -> Strip:
    tape, failed = Tape(), Mark()
    tape.call("", "unshare", namespaces.NEWNET, into=walker.FREE, on={ANY: failed})
    path, flags = b"/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC
    tape.call("", "openat", syscalls.AT_FDCWD, path, flags, into=walker.FREE, on={ANY: failed})
    tape.mark(failed)
    tape.call("", "exit", 0)
    return tape.cut()


_STRIP = _made()


def stock() -> None:
    """Begin to make what is missing; returns at once. Only where `walker.ready()` said yes."""
    while len(_making) < KEPT:
        page = walker.take()
        page.registers[walker.FREE] = -errno.EAGAIN
        try:
            walker.spawn(page, _STRIP)
        except OSError:  # no thread to be had: then a newborn makes its own
            walker.give_back(page)
            return
        _making.append(page)


def take() -> int:
    """A descriptor of a fresh network namespace, the caller's to close; -1: none is ready."""
    for page in [page for page in _making if not walker.walking(page)]:
        _making.remove(page)
        made = page.registers[walker.FREE]
        walker.give_back(page)
        if made >= 0:
            return made
    return -1


def drop() -> None:
    """Let go of all; of those that are being made just now, as soon as they are there."""
    for page in _making:
        walker.wait(page)
    while (descriptor := take()) >= 0:
        os.close(descriptor)
