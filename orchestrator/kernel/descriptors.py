"""Open descriptors in bulk. man 2 close_range."""

from __future__ import annotations

from orchestrator.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.kernel.tape import Tape

_LAST = 0xFFFFFFFF


def keep_only(*kept: int) -> None:
    """Close every descriptor above 2 but these."""
    for first, last in _between(kept):
        syscalls.call("close what is not ours", "close_range", first, syscalls.unsigned(last), 0)


def steps_to_keep_only(tape: Tape, *kept: int) -> None:
    for first, last in _between(kept):
        tape.call("close what is not ours", "close_range", first, last, 0)


def _between(kept: tuple[int, ...]) -> list[tuple[int, int]]:
    """The ranges above 2 that hold none of them."""
    ranges, low = [], 3
    for descriptor in sorted({*kept, _LAST}):
        if descriptor > low:
            ranges.append((low, descriptor if descriptor == _LAST else descriptor - 1))
        low = max(low, descriptor + 1)
    return ranges
