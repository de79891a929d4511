"""What a container is held to, through the whole engine, on cgroup v1 and v2. Where it can be, it is read from outside.

One stack serves all that only looks; the ends (out of memory, killed, gone) have a stack of their own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.kernel import capabilities
from orchestrator.runtime.spec import CAPABILITIES
from tests.scenarios.conftest import Pyorch, agent_of_its_own

NAMESPACES = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
WAITS = "[sleep, '3600']"

STACK = f"""
    name: lim
    services:
      plain: {{image: "host:/", command: {WAITS}, stop_signal: SIGKILL}}
      tight:
        image: host:/
        command: {WAITS}
        stop_signal: SIGKILL
        init: true
        read_only: true
        cpuset: "0"
        tmpfs: ["/scratch:size=1m"]
        cap_drop: [NET_RAW, MKNOD]
        cap_add: [SYS_TIME]
        deploy:
          resources:
            limits: {{cpus: "0.5", memory: 96M, pids: 20}}
            reservations: {{cpus: "0.25", memory: 32M}}
      nobody:
        image: host:/
        command: {WAITS}
        stop_signal: SIGKILL
        user: "65534"
        cap_drop: [ALL]
        cap_add: [CHOWN]
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        pyorch.up(STACK)
        yield pyorch


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def powers(pid: int, kind: str = "CapEff") -> set[str]:
    mask = int(status(pid)[kind], 16)
    return {name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1}


def group(pid: int, controller: str) -> Path:
    """The directory of a process's cgroup for a controller (v1), or of its only one (v2): proc(5)."""
    paths = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, controllers, path in paths:
        for _, point, kind, options, *_ in mounts:
            if controller in controllers.split(",") and kind == "cgroup" and controller in options.split(","):
                return Path(point + path)
    point = next(point for _, point, kind, *_ in mounts if kind == "cgroup2")
    return Path(point + next(path for _, controllers, path in paths if not controllers))


def setting(pid: int, v1: str, v2: str) -> str:
    """What a file of the process's cgroup says, under the name it has on this machine."""
    directory = group(pid, v1.partition(".")[0])
    return (directory / (v1 if (directory / v1).exists() else v2)).read_text().strip()


def children(pid: int) -> list[str]:
    """The states of a process's children (proc(5): "S" sleeps, "Z" is dead and nobody has asked how it ended)."""
    states = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = file.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid:
            states.append(state)
    return states


def test_limits_and_reservations_are_written_into_the_cgroup(stack: Pyorch) -> None:
    tight = stack.pid("lim-tight-1")
    assert setting(tight, "pids.max", "pids.max") == "20"
    assert setting(tight, "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert setting(tight, "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)
    assert setting(tight, "cpu.cfs_quota_us", "cpu.max") in ("50000", "50000 100000")
    share, whole = (
        setting(tight, "cpu.shares", "cpu.weight"),
        setting(stack.pid("lim-plain-1"), "cpu.shares", "cpu.weight"),
    )
    assert (share, whole) in (("256", "1024"), ("10", "39"))


def test_where_the_file_is_silent_processes_are_bounded_all_the_same(stack: Pyorch) -> None:
    assert setting(stack.pid("lim-plain-1"), "pids.max", "pids.max") == "2048"


def test_a_fork_bomb_ends_at_the_pids_limit(stack: Pyorch) -> None:
    bomb = """
import os, signal
born = []
try:
    while len(born) < 40:
        born.append(os.fork() or signal.pause())
except BlockingIOError:
    print("refused after", len(born))
for pid in born:
    os.kill(pid, signal.SIGKILL)
"""
    said = stack.ok("exec", "-T", "tight", "python3", "-c", bomb).split()
    assert said[:2] == ["refused", "after"]
    assert 10 < int(said[2]) < 20


def test_half_a_processor_is_no_more_than_half(stack: Pyorch) -> None:
    """Told by the container's cgroup, as it sees it itself. Load on the machine makes it less, never more."""
    busy = """
import glob, time
def used():
    for file in glob.glob("/sys/fs/cgroup/cpuacct/cpuacct.usage"):
        return int(open(file).read()) / 1e9
    return int(open("/sys/fs/cgroup/cpu.stat").read().split()[1]) / 1e6
begin, before = time.monotonic(), used()
while time.monotonic() < begin + 1:
    pass
print((used() - before) / (time.monotonic() - begin))
"""
    assert 0 < float(stack.ok("exec", "-T", "tight", "python3", "-c", busy)) < 0.7


def test_capabilities_are_the_defaults_less_the_dropped_plus_the_added(stack: Pyorch) -> None:
    plain, tight, nobody = (stack.pid(f"lim-{name}-1") for name in ("plain", "tight", "nobody"))
    assert powers(plain) == powers(plain, "CapBnd") == set(CAPABILITIES)
    assert len(CAPABILITIES) == 14
    assert powers(tight) == powers(tight, "CapBnd") == set(CAPABILITIES) - {"NET_RAW", "MKNOD"} | {"SYS_TIME"}
    assert powers(nobody, "CapBnd") == {"CHOWN"}
    for pid in (plain, tight, nobody):
        assert powers(pid, "CapInh") == powers(pid, "CapAmb") == set()


def test_a_user_that_is_not_root_has_no_capability_at_all(stack: Pyorch) -> None:
    pid = stack.pid("lim-nobody-1")
    assert set(status(pid)["Uid"].split()) == set(status(pid)["Gid"].split()) == {"65534"}
    assert powers(pid) == powers(pid, "CapPrm") == set()


@pytest.mark.parametrize("service", ["plain", "tight", "nobody"])
def test_nothing_leads_out_of_a_container(stack: Pyorch, service: str) -> None:
    pid = stack.pid(f"lim-{service}-1")
    assert (status(pid)["NoNewPrivs"], status(pid)["Seccomp"]) == ("1", "2")
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    ours = [
        kind for kind in NAMESPACES if os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}")
    ]
    assert ours == []


def test_what_a_container_must_not_do_is_refused(stack: Pyorch) -> None:
    attempts = (
        "mount -t tmpfs none /mnt", "umount /proc/kcore", "unshare --user true", "unshare --mount true",
        "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem", ": >> /proc/sys/kernel/core_pattern",
        "echo h > /proc/sysrq-trigger", "mkdir /sys/fs/cgroup/mine", "hostname other", "test -e /etc/shadow",
        "ls -A /root /home | grep -v -e : -e '^$'", "head -c 1 /proc/kcore | grep .", "cat /proc/keys | grep .",
        "ls -A /sys/firmware | grep .", "cat /proc/1/environ | grep PYORCH",
    )  # fmt: skip
    script = "\n".join(
        f"if ({attempt}) >/dev/null 2>&1; then echo '{number}'; fi" for number, attempt in enumerate(attempts)
    )
    done = stack.ok("exec", "-T", "plain", "sh", "-c", script).split()
    assert [attempts[int(number)] for number in done] == []


def test_a_read_only_root_has_room_only_where_the_file_says_and_as_much(stack: Pyorch) -> None:
    script = "touch /x; dd if=/dev/zero of=/scratch/x bs=64k count=32 || stat -c %s /scratch/x"
    done = stack.run("exec", "-T", "tight", "sh", "-c", script)
    assert done.stdout.split() == [str(1 << 20)]
    assert "Read-only file system" in done.stderr
    assert "No space left on device" in done.stderr


def test_init_reaps_what_others_leave_behind(stack: Pyorch) -> None:
    """A program that is pid 1 itself and never waits shows the difference."""
    for service in ("plain", "tight"):
        stack.ok("exec", "-T", service, "sh", "-c", "sleep 0.1 & exit 0")
    stack.until(lambda: children(stack.pid("lim-plain-1")) == ["Z"])
    stack.until(lambda: children(stack.pid("lim-tight-1")) == ["S"])


def test_an_exec_is_held_to_what_its_container_is(stack: Pyorch) -> None:
    script = """
        for process in 1 self; do
            grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid)' /proc/$process/status
            cat /proc/$process/cgroup
            for kind in pid mnt net uts ipc cgroup; do readlink /proc/$process/ns/$kind; done
        done
    """
    for service in ("plain", "nobody"):
        lines = stack.ok("exec", "-T", service, "sh", "-c", script).splitlines()
        assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
        assert len(lines) > 30


ENDS = f"""
    name: end
    services:
      hog:
        image: host:/
        command: [dd, if=/dev/zero, of=/dev/null, bs=200M]
        deploy: &small {{resources: {{limits: {{memory: 32M}}}}}}
      killed: {{image: "host:/", command: {WAITS}, stop_signal: SIGKILL}}
      again:
        image: host:/
        command:
          - sh
          - -c
          - test -e /tmp/was && exec sleep 3600; touch /tmp/was; exec dd if=/dev/zero of=/dev/null bs=200M
        stop_signal: SIGKILL
        restart: on-failure
        deploy: *small
"""


def test_the_memory_limit_kills_is_told_apart_and_obeys_the_restart_policy(stack: Pyorch) -> None:
    stack.write(ENDS, "ends.yaml")
    stack.ok("up", "-d", "ends.yaml")

    def rows() -> dict[str, tuple[str, int, str]]:
        listed = stack.lines("-f", "ends.yaml", "ps", "-a", "--format", "json")
        return {row["Service"]: (row["State"], row["Restarts"], row["Reason"]) for row in listed}

    killed = stack.pid("end-killed-1")
    groups = [group(killed, name) for name in ("memory", "pids", "cpu")]
    assert all(path.exists() for path in groups)
    os.kill(killed, signal.SIGKILL)

    def over() -> dict[str, tuple[str, int, str]] | None:
        now = rows()
        ended = now["killed"][0] == now["hog"][0] == "exited"
        return now if ended and now["again"][:2] == ("running", 1) else None

    found = stack.until(over)
    assert "out of memory" in found["hog"][2]
    assert "SIGKILL" in found["killed"][2]
    assert "memory" not in found["killed"][2]
    told = stack.lines("-p", "end", "events", "--no-follow", "--json")
    whys = {event["service"]: event["why"] for event in told if "memory" in event.get("why", "")}
    assert set(whys) == {"hog", "again"}
    stack.ok("-f", "ends.yaml", "down")
    assert [path for path in groups if path.exists()] == []


def test_a_container_stays_on_its_processors_and_so_does_what_is_executed_in_it(stack: Pyorch) -> None:
    assert status(stack.pid("lim-tight-1"))["Cpus_allowed_list"] == "0"
    assert "Cpus_allowed_list:\t0\n" in stack.ok("exec", "-T", "tight", "cat", "/proc/self/status")
    assert status(stack.pid("lim-plain-1"))["Cpus_allowed_list"] == status(os.getpid())["Cpus_allowed_list"]


def test_a_container_has_no_more_of_a_disk_than_is_written(pyorch: Pyorch) -> None:
    disks = [
        f"/dev/{disk.name}" for disk in Path("/sys/block").iterdir() if Path(f"/dev/{disk.name}").is_block_device()
    ]
    if not disks:
        pytest.skip("this machine has no disk")
    disk = sorted(disks)[-1]
    pyorch.up(f"""
        name: disk
        services:
          slow:
            image: host:/
            command: {WAITS}
            stop_signal: SIGKILL
            blkio_config:
              device_read_bps: [{{path: {disk}, rate: 12mb}}]
              device_write_iops: [{{path: {disk}, rate: 30}}]
        """)
    number = f"{os.major(os.stat(disk).st_rdev)}:{os.minor(os.stat(disk).st_rdev)}"
    groups = dict(
        line.split(":", 2)[1:] for line in Path(f"/proc/{pyorch.pid('disk-slow-1')}/cgroup").read_text().splitlines()
    )
    if "blkio" in groups:
        group = Path("/sys/fs/cgroup/blkio" + groups["blkio"])
        assert (group / "blkio.throttle.read_bps_device").read_text() == f"{number} {12 << 20}\n"
        assert (group / "blkio.throttle.write_iops_device").read_text() == f"{number} 30\n"
    else:
        group = Path("/sys/fs/cgroup" + groups[""])
        assert f"{number} rbps={12 << 20} wbps=max riops=max wiops=30" in (group / "io.max").read_text()
    pyorch.ok("restart", "-t", "0", "slow")
    pyorch.ok("down", "-t", "0")
    pyorch.until(lambda: not group.exists())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "blkio_config: {device_read_bps: [{path: /dev/null, rate: 1mb}]}",
            "cannot hold to device_read_bps of /dev/null: it is no disk of this machine",
        ),
        ('cpuset: "0,4000"', "cannot keep it on processors 0,4000: this machine has"),
    ],
)
def test_what_this_machine_has_not_is_said(pyorch: Pyorch, words: str, sentence: str) -> None:
    pyorch.write(f"""
        services:
          web:
            image: host:/
            command: ["true"]
            {words}
        """)
    done = pyorch.run("up", "-d", "--wait")
    assert done.returncode != 0
    assert sentence in done.stderr
