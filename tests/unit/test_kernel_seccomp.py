"""The filter, run by an interpreter of classic BPF: what it answers to which call."""

from __future__ import annotations

import errno

import pytest

from orchestrator.kernel import capabilities, seccomp
from orchestrator.runtime.spec import CAPABILITIES

DOCKER = capabilities.mask(CAPABILITIES)
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7
NEWUSER, NEWNS, THREAD = 0x10000000, 0x20000, 0x3D0F00


def answer(program: list[seccomp.Instruction], architecture: int, number: int, argument: int = 0) -> str:
    """Linux's bpf_prog_run for the few instructions we use; "" where allowed, else the errno's name."""
    data = {0: number, 4: architecture, 16: argument & 0xFFFFFFFF}
    place, held = 0, 0
    while True:
        code, yes, no, constant = program[place]
        place += 1
        match code:
            case 0x20:
                held = data[constant]
            case 0x05:
                place += constant
            case 0x15:
                place += yes if held == constant else no
            case 0x35:
                place += yes if held >= constant else no
            case 0x45:
                place += yes if held & constant else no
            case 0x06:
                return "" if constant == seccomp.ALLOW else errno.errorcode[constant & 0xFFFF]
            case _:
                raise AssertionError(f"instruction {code:#x}")


@pytest.fixture(scope="module")
def program() -> list[seccomp.Instruction]:
    return seccomp.assemble("x86_64", DOCKER)


@pytest.mark.parametrize(
    ("call", "number", "argument", "expected"),
    [
        ("read", 0, 0, ""),
        ("execve", 59, 0, ""),
        ("clone of a thread", 56, THREAD, ""),
        ("clone of a user namespace", 56, NEWUSER, "EPERM"),
        ("clone of a mount namespace", 56, NEWNS | THREAD, "EPERM"),
        ("clone3, whose flags cannot be seen", 435, 0, "ENOSYS"),
        ("socket AF_UNIX", 41, 1, ""),
        ("socket AF_INET6", 41, 10, ""),
        ("socket AF_NETLINK", 41, 16, ""),
        ("socket AF_PACKET", 41, 17, "EPERM"),
        ("socket AF_ALG", 41, 38, "EPERM"),
        ("socket AF_VSOCK", 41, 40, "EPERM"),
        ("personality Linux", 135, 0, ""),
        ("personality READ_IMPLIES_EXEC", 135, 0x400000, "EPERM"),
        ("chroot, by CAP_SYS_CHROOT", 161, 0, ""),
        ("mount", 165, 0, "EPERM"),
        ("unshare", 272, 0, "EPERM"),
        ("setns", 308, 0, "EPERM"),
        ("bpf", 321, 0, "EPERM"),
        ("keyctl", 250, 0, "EPERM"),
        ("io_uring_setup", 425, 0, "EPERM"),
        ("userfaultfd", 323, 0, "EPERM"),
        ("open_by_handle_at", 304, 0, "EPERM"),
        ("a call of the future", 9999, 0, "EPERM"),
        ("any call of x32", 0x40000000, 0, "ENOSYS"),
        ("unshare of x32", 0x40000000 | 272, 0, "ENOSYS"),
    ],
)
def test_a_call_is_answered(
    program: list[seccomp.Instruction], call: str, number: int, argument: int, expected: str
) -> None:
    assert answer(program, X86_64, number, argument) == expected, call


def test_the_32_bit_calls_are_filtered_by_their_own_numbers(program: list[seccomp.Instruction]) -> None:
    asked = {"execve": 11, "unshare": 310, "keyctl": 288, "mount": 21, "clone3": 435, "socket": 359}
    found = {name: answer(program, I386, number, 40) for name, number in asked.items()}
    assert found == {
        "execve": "", "unshare": "EPERM", "keyctl": "EPERM", "mount": "EPERM", "clone3": "ENOSYS", "socket": "EPERM",
    }  # fmt: skip


def test_an_architecture_without_a_table_is_refused(program: list[seccomp.Instruction]) -> None:
    assert answer(program, AARCH64, 63) == "EPERM"
    assert answer(seccomp.assemble("aarch64", DOCKER), AARCH64, 63) == ""


def test_a_capability_brings_its_calls_back() -> None:
    admin = seccomp.assemble("x86_64", DOCKER | capabilities.mask(["SYS_ADMIN"]))
    assert [answer(admin, X86_64, number, NEWUSER) for number in (165, 272, 435, 56)] == ["", "", "", ""]
    assert answer(admin, X86_64, 169) == "EPERM"  # reboot is SYS_BOOT's
    assert answer(seccomp.assemble("x86_64", 0), X86_64, 161) == "EPERM"


def test_who_asks_for_raw_frames_by_name_gets_them() -> None:
    assert answer(seccomp.assemble("x86_64", DOCKER, packet=True), X86_64, 41, 17) == ""


def test_every_jump_stays_inside_the_program_and_within_the_kernels_bounds(program: list[seccomp.Instruction]) -> None:
    assert len(program) <= 4096
    for place, (code, yes, no, constant) in enumerate(program):
        assert 0 <= yes <= 255 and 0 <= no <= 255
        assert place + 1 + (constant if code == 0x05 else max(yes, no)) <= len(program)
