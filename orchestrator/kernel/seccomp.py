"""The system call filter: which calls a container may make at all. man 2 seccomp, linux/filter.h.

`seccomp.tbl` says what is let through; `program` makes a binary tree of comparisons of it, a few instructions deep for
every call and free of anything that would keep the kernel (5.11) from remembering the answer per call number.
Foreign ABIs: i386 has its own numbers in the table; x32, which nobody uses, does not exist here (ENOSYS).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from orchestrator.kernel import capabilities, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.kernel.tape import Tape

# Classic BPF: code, jump if true, jump if false, constant.
_LOAD, _JUMP, _JEQ, _JGE, _JSET, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; the argument's low half

ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
REFUSE = _ERRNO | errno.EPERM
_MISSING = _ERRNO | errno.ENOSYS

_X32 = 0x40000000
_AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}  # linux/audit.h
_COLUMNS = {"x86_64": 1, "i386": 2, "aarch64": 3}
_SPOKEN = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64",)}

_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW* that clone takes
_PERSONALITIES = (0, 0x0008, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32 bit address space, uname26, both, "which?"
# Address families that reach past the network namespace or have a history of holes. AF_PACKET sees and forges every
# frame of the container's networks: it is let through for those who ask for NET_RAW or NET_ADMIN by name.
_ALG, _VSOCK, _PACKET = 38, 40, 17
_OBSCURE_FROM = 12  # DECnet …; below are UNIX, INET, INET6, AX25 …
_KNOWN = (13, 14, 15, 16, 18, 21, 22, 24, *range(26, 34), 35, 36, 39, 41, 42, 43, 44, 45)

# Jumps are numbers of instructions to skip, or the name of an answer or of a block until they are laid out.
Target = int | str
Step = tuple[int, Target, Target, int]
Instruction = tuple[int, int, int, int]
Filter = ctypes.Array[ctypes.c_char]  # struct sock_fprog

_ANSWERS = {"allow": ALLOW, "refuse": REFUSE, "missing": _MISSING}


def _ranges(answers: dict[int, str]) -> list[tuple[int, str]]:
    """(first number, answer from there on), sorted; a number that is not in `answers` is refused."""
    steps = [(0, answers.get(0, "refuse"))]
    for number in range(1, max(answers) + 2):
        answer = answers.get(number, "refuse")
        if answer != steps[-1][1]:
            steps.append((number, answer))
    return steps


def _search(steps: list[tuple[int, str]]) -> list[Step]:
    """A binary search for the range that the held number is in; at least two ranges."""
    low, high = steps[: len(steps) // 2], steps[len(steps) // 2 :]
    below = _search(low) if len(low) > 1 else []
    above = _search(high) if len(high) > 1 else []
    return [(_JGE, len(below) if above else high[0][1], 0 if below else low[0][1], high[0][0]), *below, *above]


def _blocks(held: frozenset[str], packet: bool) -> dict[str, list[Step]]:
    """The calls whose first argument decides."""
    families = {*range(_OBSCURE_FROM), *_KNOWN, *((_PACKET,) if packet else ())}
    load: Step = (_LOAD, 0, 0, _FIRST_ARGUMENT)
    blocks: dict[str, list[Step]] = {
        "socket": [load, *_search(_ranges(dict.fromkeys(families, "allow")))],
        "personality": [load, *((_JEQ, "allow", 0, value) for value in _PERSONALITIES), (_RETURN, 0, 0, REFUSE)],
        "clone": [load, (_JSET, "refuse", "allow", _NEW_NAMESPACES)],
    }
    if "SYS_ADMIN" in held:
        blocks["clone"] = [(_RETURN, 0, 0, ALLOW)]
    return blocks


def _answer(row: list[str], held: frozenset[str]) -> str:
    name, when = row[0], row[4]
    if name == "clone3":  # its flags lie in memory, out of the filter's sight; libc falls back to clone
        return "allow" if "SYS_ADMIN" in held else "missing"
    if when == "special":
        return name
    return "allow" if when == "always" or held & set(when.split(",")) else "refuse"


def _architecture(name: str, rows: list[list[str]], held: frozenset[str], packet: bool) -> list[Instruction]:
    """The filter of one architecture's calls: the search, the blocks, the answers; every jump reaches 255 far."""
    column = _COLUMNS[name]
    steps = _ranges({int(row[column]): _answer(row, held) for row in rows if row[column] != "-"})
    if name == "x86_64":
        steps.append((_X32, "missing"))
    code: list[Step] = [(_LOAD, 0, 0, _NUMBER), *_search(steps)]
    places: dict[str, int] = {}
    for label, block in _blocks(held, packet).items():
        places[label] = len(code)
        code += block
    for label, value in _ANSWERS.items():
        places[label] = len(code)
        code.append((_RETURN, 0, 0, value))

    def distance(target: Target, place: int) -> int:
        return places[target] - place - 1 if isinstance(target, str) else target

    return [(op, distance(yes, at), distance(no, at), value) for at, (op, yes, no, value) in enumerate(code)]


def assemble(machine: str, granted: int, packet: bool = False) -> list[Instruction]:
    """The filter for a process that holds the capabilities of the mask `granted`; other architectures are refused."""
    with open(os.path.join(os.path.dirname(__file__), "seccomp.tbl"), encoding="ascii") as table:
        rows = [line.split() for line in table if not line.startswith("#")]
    held = frozenset(name for number, name in enumerate(capabilities.NAMES) if granted >> number & 1)
    whole: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for name in _SPOKEN[machine]:
        body = _architecture(name, rows, held, packet)
        whole += [(_JEQ, 1, 0, _AUDIT[name]), (_JUMP, 0, 0, len(body)), *body]
    return [*whole, (_RETURN, 0, 0, REFUSE)]


_cache: dict[tuple[int, bool], Filter] = {}


def program(granted: int, packet: bool = False) -> Filter:
    """The filter as struct sock_fprog, ready for `load`; compiled once for each set of capabilities.

    Raises OSError(ENOSYS) on a machine whose system call numbers are not in the table.
    """
    found = _cache.get((granted, packet))
    if found is None:
        if syscalls.MACHINE not in _SPOKEN:
            raise OSError(errno.ENOSYS, f"cannot make a system call filter: {syscalls.MACHINE} is not in seccomp.tbl")
        steps = assemble(syscalls.MACHINE, granted, packet)
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps), len(steps) * 8)
        found = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)), 16)
        found.code = code  # type: ignore[attr-defined]  # the kernel reads it through the address: keep it alive
        _cache[granted, packet] = found
    return found


def load(tape: Tape, filter: Filter) -> None:
    """From there on the process and what it becomes obey the filter. Needs no_new_privs or CAP_SYS_ADMIN."""
    tape.call("load the system call filter", "seccomp", 1, 0, ctypes.addressof(filter))
    tape.keep(filter)
