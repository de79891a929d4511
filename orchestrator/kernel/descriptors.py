"""Open descriptors in bulk. man 2 close_range."""

from __future__ import annotations

from orchestrator.kernel import syscalls

_CLOEXEC = 4
_LAST = 0xFFFFFFFF


def keep_only(*kept: int) -> None:
    """Close every descriptor above 2 but these."""
    low = 3
    for descriptor in sorted({*kept, _LAST}):
        if descriptor > low:
            last = descriptor if descriptor == _LAST else descriptor - 1
            syscalls.call("close what is not ours", "close_range", low, syscalls.unsigned(last), 0)
        low = max(low, descriptor + 1)


def close_on_exec() -> None:
    """Nothing above 2 outlives the next exec, whoever opened it and however."""
    syscalls.call("keep descriptors from the program", "close_range", 3, syscalls.unsigned(_LAST), _CLOEXEC)
