"""What a program expects of signals at its start. man 2 sigaction, sigprocmask. (Python's own module builds enums.)"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.kernel.tape import Tape

_SETMASK = 2
_MASK_SIZE = 8
_DEFAULT = bytes(32)  # struct sigaction with SIG_DFL
_NONE = bytes(_MASK_SIZE)

_ignored: tuple[int, ...] = ()


def remember() -> None:
    """Note which signals this process ignores (Python: SIGPIPE, SIGXFSZ; nohup: SIGHUP), for `restore` in children."""
    global _ignored
    with open("/proc/self/status", "rb") as status:
        mask = int(next(line for line in status if line.startswith(b"SigIgn")).split()[1], 16)
    _ignored = tuple(number for number in range(1, 65) if mask >> (number - 1) & 1)


def restore(tape: Tape) -> None:
    """Nothing is ignored (that would outlive the exec) and nothing blocked."""
    for number in _ignored:
        tape.call("restore a signal", "rt_sigaction", number, _DEFAULT, 0, _MASK_SIZE)
    tape.call("unblock the signals", "rt_sigprocmask", _SETMASK, _NONE, 0, _MASK_SIZE)
