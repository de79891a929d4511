"""The registers of a container's tapes: what the launcher puts in before a walk, and what the walk keeps for itself.

`kernel.walker` owns those below FREE, `kernel.mounting` 240 to 287.
"""

from __future__ import annotations

from orchestrator.kernel import walker

# Put in by the launcher: descriptors, addresses.
REPORT, GATE, STDIN, STDOUT, STDERR, CONTAINER, NEXT = range(walker.FREE, walker.FREE + 7)
SCRATCH_ADDRESS, POLL, POLL_ADDRESS, PROC_STAT_ADDRESS, SYS_STAT_ADDRESS = range(24, 29)
BELOW_REPORT, ABOVE_REPORT = range(29, 31)  # where the descriptors end and begin again that the program must not have
NETWORK = 31  # a network namespace made ahead; -1: it makes its own

# Kept by the walk: descriptors.
ROOT, PROC, DEV, MADE, TARGET, HOLDER, FILE = range(32, 39)

# Binds that pass on what is mounted below them: from before the mounts become private until they are attached.
FIRST_HELD, LAST_HELD = 64, 239

# What each look for the program in PATH came to.
FIRST_LOOK, LAST_LOOK = 64, 239

# Room for structures and texts, not for results.
PROC_STAT, SYS_STAT = 288, 320
SCRATCH, SCRATCH_SIZE = 352, 8 * (488 - 352)


LAST_DESCRIPTOR = 0xFFFFFFFF


def prepare(page: walker.Page, given: tuple[int, int, int], report: int, gate: int, container: int) -> None:
    """What the tapes want to find. Descriptors that there are none of are -1."""
    words = page.registers
    words[SCRATCH_ADDRESS] = page.at(SCRATCH)
    words[POLL_ADDRESS] = page.at(POLL)
    words[PROC_STAT_ADDRESS] = page.at(PROC_STAT)
    words[SYS_STAT_ADDRESS] = page.at(SYS_STAT)
    words[STDIN], words[STDOUT], words[STDERR] = given
    words[REPORT], words[GATE], words[CONTAINER], words[NEXT] = report, gate, container, 0
    words[NETWORK] = -1
    words[POLL] = gate & 0xFFFFFFFF  # struct pollfd that asks for nothing but the end
    words[BELOW_REPORT] = report - 1 if report >= 0 else LAST_DESCRIPTOR
    words[ABOVE_REPORT] = report + 1 if report >= 0 else LAST_DESCRIPTOR
