"""What a program expects of signals at its start. man 2 sigaction, sigprocmask. (Python's own module builds enums.)"""

from __future__ import annotations

from orchestrator.kernel import syscalls

_IGNORED_BY_PYTHON = (13, 25)  # SIGPIPE, SIGXFSZ: and what is ignored stays ignored after exec
_SETMASK = 2
_MASK_SIZE = 8
_DEFAULT = bytes(32)  # struct sigaction with SIG_DFL
_NONE = bytes(_MASK_SIZE)


def restore() -> None:
    """The dispositions and the mask that a program expects: nothing ignored, nothing blocked."""
    for number in _IGNORED_BY_PYTHON:
        syscalls.call(f"restore signal {number}", "rt_sigaction", number, _DEFAULT, None, _MASK_SIZE)
    syscalls.call("unblock the signals", "rt_sigprocmask", _SETMASK, _NONE, None, _MASK_SIZE)
