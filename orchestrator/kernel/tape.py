"""A tape: system calls in a row, written down by one process and made by another. What is done is data.

A container's birth and every exec are such tapes. A child that shares the launcher's memory walks one in a few machine
instructions a call (`walker.py`); where that cannot be, a forked child walks the same tape in Python. Neither looks
anything up: all that a step needs is on the tape, in a register, or the result of an earlier step.

    tape = Tape()
    there = Mark()
    tape.call("open /dev", "openat", AT_FDCWD, b"/dev", O_RDONLY, into=registers.DEV)
    tape.call("make the place", "mkdirat", Register(DEV), b"pts", 0o755, on={EEXIST: there})
    tape.mark(there)

A step that fails with an errno it has no answer for ends the walk, and its `what` becomes the sentence "cannot `what`:
why".
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from orchestrator.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.kernel.walker import Page

    What = str | Callable[[int, Page], OSError]
    Argument = int | bytes

# call, arguments that are registers (a bit each), register of the result, entries to skip after a result above 0,
# (errno, entries to skip then) twice, six arguments. walker_*.S walks just this.
ENTRY = struct.Struct("<iBBHhhhh6q")
COMPARE, JUMP = -1, -2  # what the walker does itself
ANY = -1  # whatever errno

_DISCARD = 0  # the register of results that nobody wants


class Register(int):
    """An argument that is taken from the register of this number when the call is made."""


class Mark:
    """A place on the tape to skip to, always ahead; `Tape.mark` puts it down."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -1


class Strip:
    """A finished piece of tape: it may be kept, walked any number of times, and joined to others."""

    __slots__ = ("_kept", "_naming", "_parts", "_texts", "_whats", "address", "code")

    def __init__(
        self, code: bytes, kept: list[object], whats: list[What], texts: list[tuple[int, bytes]],
        parts: tuple[Strip, ...] = (),
    ) -> None:  # fmt: skip
        self.code, self._kept, self._whats, self._texts, self._parts = code, kept, whats, texts, parts
        self._naming: tuple[bytes, list[tuple[int, bytes]]] | None = None  # a name, and the texts that it is in
        self.address = address(code)

    def failed(self, offset: int, number: int, page: Page) -> OSError:
        """What went wrong with errno `number` in the step at `offset` of the code."""
        for part in self._parts:
            if offset < len(part.code):
                return part.failed(offset, number, page)
            offset -= len(part.code)
        what = self._whats[offset // ENTRY.size]
        return syscalls.refused(what, number) if isinstance(what, str) else what(number, page)

    def renamed(self, old: str, new: str) -> Strip:
        """The same with another name of the same length in all its texts: what one container's tape differs in from
        the next one's. Structures must not hold the name.
        """
        before, after = old.encode(), new.encode()
        assert len(before) == len(after)
        if self._naming is None or self._naming[0] != before:
            self._naming = before, [(place, value) for place, value in self._texts if before in value]
        code, texts = bytearray(self.code), []
        for place, value in self._naming[1]:
            fresh = value.replace(before, after)
            texts.append((place, fresh))
            struct.pack_into("=q", code, place, address(fresh))
        return _Renamed(bytes(code), [self], texts, self, (old, new))


class _Renamed(Strip):
    __slots__ = ("_names", "_original")

    def __init__(
        self, code: bytes, kept: list[object], texts: list[tuple[int, bytes]], original: Strip, names: tuple[str, str]
    ) -> None:
        super().__init__(code, kept, [], texts)
        self._original, self._names = original, names

    def failed(self, offset: int, number: int, page: Page) -> OSError:
        error = self._original.failed(offset, number, page)
        return OSError(error.errno, (error.strerror or "").replace(*self._names))


class Tape:
    """A tape being written."""

    __slots__ = ("_kept", "_rows", "_texts", "_whats")

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, Mark | None, tuple[tuple[int, Mark | None], ...], list[int]]] = []
        self._kept: list[object] = []
        self._texts: list[tuple[int, int, bytes]] = []
        self._whats: list[What] = []

    def call(
        self, what: What, name: str, *arguments: Argument, into: int = _DISCARD, then: Mark | None = None,
        on: Mapping[int, Mark | None] = {},
    ) -> None:  # fmt: skip
        """One system call. Bytes are passed by address and must not be changed: strings, structures.

        into: the register that takes the result (or minus the errno). then: where to go on after a result above 0.
        on: errno → where to go on (None: with the next entry); two at most, the last may be ANY.
        """
        self._row(syscalls.NUMBERS[name], what, arguments, into, then, on)

    def unless_equal(
        self, what: What, value: int, mask: int, other: int, error: int, on: Mapping[int, Mark | None] = {}
    ) -> None:
        """Fail with `error` where `value` & `mask` equals `other`; each may be a Register."""
        self._row(COMPARE, what, (value, mask, other, error), _DISCARD, None, on)

    def skip_to(self, mark: Mark) -> None:
        self.unless_equal("", 0, 0, 0, errno.EPERM, on={errno.EPERM: mark})

    def skip_if(self, value: int, mask: int, other: int, mark: Mark) -> None:
        self.unless_equal("", value, mask, other, errno.EPERM, on={errno.EPERM: mark})

    def jump(self, address: int) -> None:
        """On with another strip, for good. The walk in Python takes 0 as its end."""
        self._row(JUMP, "", (address,), _DISCARD, None, {})

    def mark(self, mark: Mark) -> None:
        mark.at = len(self._rows)

    def _row(
        self, number: int, what: What, arguments: tuple[Argument, ...], into: int, then: Mark | None,
        on: Mapping[int, Mark | None],
    ) -> None:  # fmt: skip
        registers = 0
        values = [0, 0, 0, 0, 0, 0]
        for place, argument in enumerate(arguments):
            if type(argument) is bytes:
                values[place] = address(argument)
                self._texts.append((len(self._rows), place, argument))
            else:
                values[place] = argument  # type: ignore[assignment]
                if type(argument) is Register:
                    registers |= 1 << place
        self._rows.append((number, registers, into, then, tuple(on.items()), values))
        self._whats.append(what)

    def keep(self, thing: object) -> None:
        """`thing` lives as long as the strip: memory that an argument points to."""
        self._kept.append(thing)

    def cut(self) -> Strip:
        code = bytearray()
        texts = [(16 + 8 * place + ENTRY.size * row, value) for row, place, value in self._texts]
        for here, (number, registers, into, then, on, values) in enumerate(self._rows, 1):
            if not on:
                answers = (0, 0, 0, 0)
            elif len(on) == 2:
                answers = (on[0][0], _distance(on[0][1], here), on[1][0], _distance(on[1][1], here))
            else:
                answers = (0, 0, on[0][0], _distance(on[0][1], here))
            code += ENTRY.pack(number, registers, into, _distance(then, here), *answers, *values)
        return Strip(bytes(code), self._kept, self._whats, texts)


def _distance(mark: Mark | None, here: int) -> int:
    if mark is None:
        return 0
    assert mark.at >= here, "a tape is walked forwards"
    return mark.at - here


def joined(strips: Iterable[Strip]) -> Strip:
    """One after the other, as one."""
    parts = tuple(strips)
    return Strip(b"".join([part.code for part in parts]), [], [], [], parts)


def address(value: bytes) -> int:
    """Where bytes lie in memory, followed by a zero byte. They must be kept alive by the caller."""
    return ctypes.cast(ctypes.c_char_p(value), ctypes.c_void_p).value or 0


def table(rows: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """(argv or envp as execve(2) takes it, what must be kept alive with it)."""
    kept = list(rows)
    return struct.pack(f"{len(kept) + 1}Q", *map(address, kept), 0), kept


def text(value: str) -> bytes:
    """A string for the kernel. Raises OSError where a zero byte would cut it short."""
    if "\0" in value:
        raise OSError(errno.EINVAL, f"cannot use {value!r}: it has a zero byte in it")
    return os.fsencode(value)
