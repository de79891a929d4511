"""The device rules of cgroup v2, run by an interpreter of the few eBPF instructions they use."""

from __future__ import annotations

import pytest

from orchestrator.kernel import devices

TYPE = {"b": 1, "c": 2}
ACCESS = {"m": 1, "r": 2, "w": 4}


def allowed(kind: str, major: int, minor: int, access: str) -> bool:
    context = {0: TYPE[kind] | sum(ACCESS[letter] for letter in access) << 16, 4: major, 8: minor}
    registers = [0] * 11
    code = devices.assemble()
    place = 0
    while True:
        opcode, names, offset, number = code[place]
        place += 1
        to, source = names & 15, names >> 4
        match opcode:
            case 0x61:
                registers[to] = context[offset]
            case 0xBF:
                registers[to] = registers[source]
            case 0xB7:
                registers[to] = number
            case 0x57:
                registers[to] &= number
            case 0x77:
                registers[to] >>= number
            case 0x55:
                place += offset if registers[to] != number else 0
            case 0x95:
                return registers[0] == 1
            case _:
                raise AssertionError(f"instruction {opcode:#x}")


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (("c", 1, 3, "rw"), True),  # null
        (("c", 1, 3, "rwm"), True),
        (("c", 5, 2, "rw"), True),  # ptmx
        (("c", 136, 7, "rw"), True),  # a terminal
        (("c", 1, 1, "m"), True),  # mem may be made …
        (("c", 1, 1, "r"), False),  # … and not opened
        (("c", 1, 1, "rm"), False),
        (("b", 8, 0, "m"), True),
        (("b", 8, 0, "r"), False),
        (("b", 1, 3, "r"), False),  # the null device is no block device
        (("c", 10, 200, "rw"), False),  # tun
    ],
)
def test_a_device_is_judged(device: tuple[str, int, int, str], expected: bool) -> None:
    assert allowed(*device) is expected
