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

TYPE_CHECKING = False  # typing itself would cost the launcher a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable

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

Instruction = tuple[int, int, int, int]
Filter = ctypes.Array[ctypes.c_char]  # struct sock_fprog


def _answer(value: int) -> list[Instruction]:
    return [(_RETURN, 0, 0, value)]


def _only(values: Iterable[int], below: int = 0) -> list[Instruction]:
    """Let the call through where its first argument is one of `values`, or smaller than `below`."""
    tests: list[Instruction] = [(_JEQ, 0, 1, value) for value in values]
    body = [step for test in tests for step in (test, (_RETURN, 0, 0, ALLOW))]
    if below:
        body += [(_JGE, 1, 0, below), (_RETURN, 0, 0, ALLOW)]
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), *body, *_answer(REFUSE)]


def _special(name: str, held: frozenset[str], packet: bool) -> list[Instruction]:
    if name == "personality":
        return _only(_PERSONALITIES)
    if name == "socket":
        return _only((*_KNOWN, _PACKET) if packet else _KNOWN, below=_OBSCURE_FROM)
    if "SYS_ADMIN" in held:
        return _answer(ALLOW)
    if name == "clone3":  # its flags lie in memory, out of the filter's sight; libc falls back to clone
        return _answer(_MISSING)
    return [(_LOAD, 0, 0, _FIRST_ARGUMENT), (_JSET, 0, 1, _NEW_NAMESPACES), *_answer(REFUSE), *_answer(ALLOW)]


def _tree(steps: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """`steps`: (first number, what to do from there on), sorted. A test jumps 255 far at most, a plain jump any way."""
    if len(steps) == 1:
        return steps[0][1]
    middle = len(steps) // 2
    left, right = _tree(steps[:middle]), _tree(steps[middle:])
    if len(left) <= 255:
        return [(_JGE, len(left), 0, steps[middle][0]), *left, *right]
    return [(_JGE, 0, 1, steps[middle][0]), (_JUMP, 0, 0, len(left)), *left, *right]


def _architecture(name: str, rows: list[list[str]], held: frozenset[str], packet: bool) -> list[Instruction]:
    """The tree for one architecture's numbers; neighbours with the same answer become one range."""
    actions: dict[int, list[Instruction]] = {}
    for row in rows:
        if row[_COLUMNS[name]] == "-":
            continue
        if row[4] == "special":
            action = _special(row[0], held, packet)
        else:
            action = _answer(ALLOW if row[4] == "always" or held & set(row[4].split(",")) else REFUSE)
        actions[int(row[_COLUMNS[name]])] = action
    steps: list[tuple[int, list[Instruction]]] = [(0, actions.get(0, _answer(REFUSE)))]
    for number in range(1, max(actions) + 2):
        action = actions.get(number, _answer(REFUSE))
        if action != steps[-1][1]:
            steps.append((number, action))
    if name == "x86_64":
        steps.append((_X32, _answer(_MISSING)))
    return [(_LOAD, 0, 0, _NUMBER), *_tree(steps)]


def assemble(machine: str, granted: int, packet: bool = False) -> list[Instruction]:
    """The filter for a process that holds the capabilities of the mask `granted`; other architectures are refused."""
    with open(os.path.join(os.path.dirname(__file__), "seccomp.tbl"), encoding="ascii") as table:
        rows = [line.split() for line in table if not line.startswith("#")]
    held = frozenset(name for number, name in enumerate(capabilities.NAMES) if granted >> number & 1)
    whole: list[Instruction] = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for name in _SPOKEN[machine]:
        body = _architecture(name, rows, held, packet)
        whole += [(_JEQ, 1, 0, _AUDIT[name]), (_JUMP, 0, 0, len(body)), *body]
    return [*whole, *_answer(REFUSE)]


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


def load(filter: Filter) -> None:
    """From here on this process and what it becomes obey the filter. Needs no_new_privs or CAP_SYS_ADMIN."""
    syscalls.call("load the system call filter", "seccomp", 1, 0, filter)
