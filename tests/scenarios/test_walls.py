"""Where a service's sandbox is other than the usual one: only what is written is lifted, and it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.kernel import capabilities
from tests.scenarios.conftest import Pyorch, agent_of_its_own
from tests.scenarios.test_limits import powers, status

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
STACK = f"""
    name: walls
    services:
      plain: {{image: "host:/", command: {WAITS}, restart: always}}
      mighty: {{image: "host:/", command: {WAITS}, privileged: true}}
      hostly: {{image: "host:/", command: {WAITS}, network_mode: host, pid: host, ipc: host, uts: host, cgroup: host}}
      guest:
        image: host:/
        command: {WAITS}
        network_mode: "service:plain"
        ipc: "service:plain"
        userns_mode: host
      tracer: {{image: "host:/", command: {WAITS}, pid: "service:plain", cap_add: [SYS_PTRACE], restart: always}}
      inner: {{image: "host:/", command: {WAITS}, pid: "service:plain", restart: always}}
      devices:
        image: host:/
        command: {WAITS}
        devices: ["/dev/null:/dev/one:r", "/dev/zero:/dev/more/two"]
        device_cgroup_rules: ["c 10:200 rw"]
        oom_score_adj: 321
        hostname: box
        domainname: example.test
"""
KINDS = ("pid", "net", "ipc", "uts", "cgroup", "mnt")


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        pyorch.up(STACK)
        yield pyorch


def spaces(pid: int | str) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


def inside(stack: Pyorch, service: str, command: str) -> str:
    return stack.ok("-f", "stack.yaml", "exec", "-T", service, "sh", "-c", command)


def test_without_a_word_every_namespace_is_the_container_s_own(stack: Pyorch) -> None:
    ours, plain = spaces("self"), spaces(stack.pid("walls-plain-1"))
    assert not set(ours.values()) & set(plain.values())


def test_the_host_s_namespaces_are_shared_where_that_is_written(stack: Pyorch) -> None:
    ours, hostly = spaces("self"), spaces(stack.pid("walls-hostly-1"))
    assert {kind for kind in KINDS if ours[kind] == hostly[kind]} == {"pid", "net", "ipc", "uts", "cgroup"}
    assert inside(stack, "hostly", "hostname").strip() == os.uname().nodename
    assert inside(stack, "hostly", "cat /etc/hosts") == Path("/etc/hosts").read_text()
    assert Path(f"/proc/{os.getpid()}").exists()
    assert inside(stack, "hostly", f"test -e /proc/{os.getpid()} && echo seen").strip() == "seen"


def test_what_shares_the_host_s_namespaces_has_no_more_powers_than_others(stack: Pyorch) -> None:
    plain, hostly = stack.pid("walls-plain-1"), stack.pid("walls-hostly-1")
    assert powers(hostly) == powers(plain)
    assert status(hostly)["Seccomp"] == "2"
    assert inside(stack, "hostly", "echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused").strip() == "refused"


def test_a_guest_stands_in_the_namespaces_of_another_service_and_follows_it(stack: Pyorch) -> None:
    owner, guest = spaces(stack.pid("walls-plain-1")), spaces(stack.pid("walls-guest-1"))
    assert {kind for kind in KINDS if owner[kind] == guest[kind]} == {"net", "ipc"}
    assert inside(stack, "guest", "cat /sys/class/net/eth0/address") == inside(
        stack, "plain", "cat /sys/class/net/eth0/address"
    )
    assert inside(stack, "guest", "cat /etc/resolv.conf") == inside(stack, "plain", "cat /etc/resolv.conf")
    inside(stack, "guest", "echo kept > /dev/shm/note")
    assert inside(stack, "plain", "cat /dev/shm/note") == "kept\n", "memory that is shared by name is shared, too"
    before = stack.pid("walls-plain-1")
    os.kill(before, 9)
    stack.until(lambda: stack.ps()["walls-plain-1"]["Pid"] not in (0, before))

    def together() -> bool:
        rows = stack.ps()
        plain, guest, inner = (rows[f"walls-{name}-1"]["Pid"] for name in ("plain", "guest", "inner"))
        if not (plain and guest and inner):
            return False
        return spaces(plain)["net"] == spaces(guest)["net"] and spaces(plain)["pid"] == spaces(inner)["pid"]

    stack.until(together)
    assert "whose network namespace it stands in, runs anew" in stack.ok("events", "--no-follow")


def test_privileged_has_all_powers_and_the_host_s_devices_and_nothing_is_hidden(stack: Pyorch) -> None:
    pid = stack.pid("walls-mighty-1")
    ours = {name for number, name in enumerate(capabilities.NAMES) if capabilities.bounding() >> number & 1}
    assert powers(pid) == ours
    assert (status(pid)["Seccomp"], status(pid)["NoNewPrivs"]) == ("0", "0")
    assert (
        len(os.listdir(f"/proc/{pid}/root/dev")) > len(os.listdir(f"/proc/{stack.pid('walls-plain-1')}/root/dev")) + 10
    )
    read = "dd if=/dev/kmsg of=/dev/null count=1 bs=8192 2>/dev/null && echo opened"
    assert inside(stack, "mighty", read).strip() == "opened"
    assert inside(stack, "mighty", "grep -c 'sysfs /sys .*rw' /proc/self/mounts || grep ' /sys ' /proc/self/mounts")
    assert inside(stack, "mighty", "grep -c '^[^ ]* /proc/[a-z]' /proc/self/mounts || true").strip() == "0"


def test_a_device_is_there_with_the_rights_that_are_written(stack: Pyorch) -> None:
    root = Path(f"/proc/{stack.pid('walls-devices-1')}/root")
    one, two = (root / "dev/one").stat(), (root / "dev/more/two").stat()
    assert stat.S_ISCHR(one.st_mode)
    assert (os.major(one.st_rdev), os.minor(one.st_rdev)) == (1, 3)
    assert (os.major(two.st_rdev), os.minor(two.st_rdev)) == (1, 5)
    tun = "mknod /tmp/tun c 10 200; (exec 3<>/tmp/tun) 2>&1; true"
    assert "not permitted" not in inside(stack, "devices", tun), "device_cgroup_rules allow it"
    assert "not permitted" in inside(stack, "plain", tun), "and only there"
    assert "not permitted" in inside(stack, "devices", "mknod /tmp/disk b 7 0; (exec 3</tmp/disk) 2>&1; true")


def test_scores_and_names_are_set(stack: Pyorch) -> None:
    pid = stack.pid("walls-devices-1")
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "321"
    assert inside(stack, "devices", "cat /proc/sys/kernel/domainname").strip() == "example.test"
    assert "box.example.test" in inside(stack, "devices", "cat /etc/hosts")


def test_who_has_no_such_device_is_told_so(pyorch: Pyorch) -> None:
    pyorch.write("name: d\nservices: {a: {image: 'host:/', command: [sleep, '9'], devices: [/dev/none-such]}}\n")
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode == 1
    assert "/dev/none-such: it is no device of this machine" in done.stdout + done.stderr
