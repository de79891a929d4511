"""Which devices a group of processes may open: a list on cgroup v1, a small BPF program on v2.

Docker's default list: any device may be made (that alone opens nothing), these may be read and written.
man 2 bpf, Documentation/admin-guide/cgroup-v1/devices.rst, cgroup-v2.rst "Device controller".
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from orchestrator.kernel import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_ANY = None
# (type, major, minor, access)
ALLOWED: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("c", _ANY, _ANY, "m"),
    ("b", _ANY, _ANY, "m"),
    ("c", 1, 3, "rwm"),  # null
    ("c", 1, 5, "rwm"),  # zero
    ("c", 1, 7, "rwm"),  # full
    ("c", 1, 8, "rwm"),  # random
    ("c", 1, 9, "rwm"),  # urandom
    ("c", 5, 0, "rwm"),  # tty
    ("c", 5, 1, "rwm"),  # console
    ("c", 5, 2, "rwm"),  # ptmx
    ("c", 136, _ANY, "rwm"),  # pts
)


Rule = tuple[str, int | None, int | None, str]


def rules(further: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...] | None:
    """The usual list and what OCI `linux.resources.devices` add to it; None: everything is allowed."""
    found: list[Rule] = [*ALLOWED]
    for rule in further:
        kind = rule.get("type") or "a"
        if kind == "a" and "major" not in rule and "minor" not in rule and "access" in rule:
            return None
        kinds = ("b", "c") if kind == "a" else (kind,)
        found += [(one, rule.get("major"), rule.get("minor"), str(rule.get("access") or "rwm")) for one in kinds]
    return tuple(found)


def rows_v1(further: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(file, what is written into it) of a devices group whose parent allows everything."""
    wanted = rules(further)
    if wanted is None:
        return [("devices.allow", "a")]
    rows = [f"{kind} {_star(major)}:{_star(minor)} {access}" for kind, major, minor, access in wanted]
    return [("devices.deny", "a"), *(("devices.allow", row) for row in rows)]


def restrict_v1(directory: str) -> None:
    """Set the list on a group of the devices hierarchy that has no children yet; children are born with it."""
    with open(f"{directory}/devices.list", encoding="ascii") as current:
        if not current.read().startswith("a "):
            return  # done by a former life of the launcher
    rows = [f"{kind} {_star(major)}:{_star(minor)} {access}" for kind, major, minor, access in ALLOWED]
    for file, value in (("devices.deny", "a"), *(("devices.allow", row) for row in rows)):
        with open(f"{directory}/{file}", "w", encoding="ascii") as list_:
            list_.write(value)


def _star(number: int | None) -> str:
    return "*" if number is None else str(number)


# eBPF: opcode, registers (destination | source << 4), offset, constant. linux/bpf.h
_LOAD_WORD, _MOVE, _MOVE_NUMBER, _AND, _SHIFT_RIGHT, _EXIT = 0x61, 0xBF, 0xB7, 0x57, 0x77, 0x95
_IF_NOT_EQUAL = 0x55
_TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
_ACCESSES = {"m": 1, "r": 2, "w": 4}  # BPF_DEVCG_ACC_*


def assemble(allowed: Iterable[Rule] = ALLOWED) -> list[tuple[int, int, int, int]]:
    """The program: 1 where the access of struct bpf_cgroup_dev_ctx (r1) is in `allowed`, else 0."""
    code = [
        (_LOAD_WORD, 0x12, 0, 0),  # r2 = access_type: type in the lower half, accesses in the upper
        (_MOVE, 0x23, 0, 0),  # r3 = r2
        (_AND, 0x02, 0, 0xFFFF),  # r2: type
        (_SHIFT_RIGHT, 0x03, 0, 16),  # r3: accesses
        (_LOAD_WORD, 0x14, 4, 0),  # r4 = major
        (_LOAD_WORD, 0x15, 8, 0),  # r5 = minor
    ]
    for kind, major, minor, access in allowed:
        unwanted = 7 & ~sum(_ACCESSES[letter] for letter in access)
        rule = [(_IF_NOT_EQUAL, 0x02, _TYPES[kind])]
        rule += [(_IF_NOT_EQUAL, 0x04, major)] if major is not None else []
        rule += [(_IF_NOT_EQUAL, 0x05, minor)] if minor is not None else []
        body = [(opcode, register, 0, number) for opcode, register, number in rule]
        if unwanted:
            body += [(_MOVE, 0x36, 0, 0), (_AND, 0x06, 0, unwanted), (_IF_NOT_EQUAL, 0x06, 0, 0)]
        body += [(_MOVE_NUMBER, 0x00, 0, 1), (_EXIT, 0, 0, 0)]
        for place, (opcode, register, _, number) in enumerate(body):
            onward = len(body) - place - 1 if opcode == _IF_NOT_EQUAL else 0  # past the end of this rule
            code.append((opcode, register, onward, number))
    return [*code, (_MOVE_NUMBER, 0x00, 0, 0), (_EXIT, 0, 0, 0)]


_PROG_LOAD, _PROG_ATTACH, _PROG_QUERY = 5, 8, 16
_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI = 15, 6, 2


def _bpf(what: str, command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = syscalls.call(what, "bpf", command, buffer, 128)
    return result, buffer.raw


def load(allowed: Iterable[Rule] = ALLOWED) -> int:
    """The program's descriptor. Raises OSError where the kernel lets us load none."""
    rows = b"".join(struct.pack("=BBhi", *step) for step in assemble(allowed))
    code, license_ = ctypes.create_string_buffer(rows, len(rows)), ctypes.create_string_buffer(b"Apache")
    count = len(rows) // 8
    attributes = struct.pack("=IIQQ", _TYPE_CGROUP_DEVICE, count, ctypes.addressof(code), ctypes.addressof(license_))
    return _bpf("load the device filter", _PROG_LOAD, attributes)[0]


def allow_v2(directory: str, further: Iterable[Mapping[str, Any]]) -> None:
    """A group whose rules are its own: the usual ones and `further`."""
    if (wanted := rules(further)) is not None:
        restrict_v2(directory, wanted)


def restrict_v2(directory: str, allowed: Iterable[Rule] = ALLOWED) -> None:
    """Attach the program to a group, for it and all below; once, however often it is called.

    Where the kernel refuses BPF altogether, containers are held by capabilities and by /dev alone: `pyorch doctor`
    says so.
    """
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _, answer = _bpf("ask for device filters", _PROG_QUERY, struct.pack("=IIIIQI", group, 6, 0, 0, 0, 0))
        if struct.unpack_from("=I", answer, 24)[0]:
            return
        program = load(allowed)
        try:
            attributes = struct.pack("=IIII", group, program, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI)
            _bpf("attach the device filter", _PROG_ATTACH, attributes)
        finally:
            os.close(program)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EINVAL, errno.ENOSYS):
            raise
    finally:
        os.close(group)
