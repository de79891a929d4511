"""Capabilities as masks. man 7 capabilities, man 2 capset, linux/capability.h."""

from __future__ import annotations

import struct

from orchestrator.kernel.tape import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.kernel.tape import Tape

# In the order of their numbers.
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(NAMES)}

_HEADER = struct.pack("=Ii", 0x20080522, 0)  # version 3, ourselves
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4


def mask(names: Iterable[str]) -> int:
    """["CAP_CHOWN", "KILL"] → bits. Raises KeyError for a name that no kernel knows."""
    return sum({1 << _NUMBERS[name.removeprefix("CAP_")] for name in names})


def bounding() -> int:
    """The most this process and its descendants can ever have."""
    with open("/proc/self/status", "rb") as status:
        return int(next(line for line in status if line.startswith(b"CapBnd")).split()[1], 16)


def drop_bounding(tape: Tape, before: int, kept: int) -> None:
    """Take everything but `kept` out of the bounding set, which was `before`."""
    leaving = before & ~kept
    for number in range(leaving.bit_length()):
        if leaving >> number & 1:
            tape.call(f"give up {NAMES[number]}", "prctl", _PR_CAPBSET_DROP, number, 0, 0, 0)


def settle(tape: Tape, permitted: int) -> None:
    """Permitted and effective become `permitted`; inheritable and ambient become empty."""
    tape.call("clear the ambient set", "prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, on={ANY: None})
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    tape.call("set capabilities", "capset", _HEADER, struct.pack("=6I", low, low, 0, high, high, 0))
