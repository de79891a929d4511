"""What becomes of a service's walls in the OCI spec; and which devices a control group then allows."""

from __future__ import annotations

import pytest

from orchestrator.kernel import devices
from orchestrator.kernel.capabilities import NAMES
from orchestrator.runtime import devices as host_devices
from orchestrator.runtime import walls
from orchestrator.stack.model import Device, Sandbox, Service


def service(network_mode: str | None = None, **words: object) -> Service:
    return Service("web", "host:/", network_mode=network_mode, sandbox=Sandbox(**words))  # type: ignore[arg-type]


def test_every_namespace_is_its_own_unless_something_else_is_written() -> None:
    assert walls.namespaces(service()) == [{"type": kind} for kind in walls.KINDS]


def test_the_host_s_are_left_out_and_those_to_join_have_a_path_to_come() -> None:
    found = walls.namespaces(service("service:db", pid="host", ipc="container:x"))
    assert {each["type"]: each.get("path") for each in found} == {
        "mount": None, "network": "", "uts": None, "ipc": "", "cgroup": None, "time": None,
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["host", "service:db"])
def test_a_network_that_is_not_its_own_is_not_set_up_by_it(mode: str) -> None:
    assert walls.settings(service(mode)) == {}
    assert walls.settings(service()) == walls.SYSCTL


def test_privileged_hides_nothing_and_holds_everything() -> None:
    mighty = service(privileged=True)
    assert walls.closed(mighty.sandbox, walls.MASKED_PATHS) == []
    assert walls.powers(mighty, ("CHOWN",)) == [f"CAP_{name}" for name in NAMES]
    shown = {mount["destination"]: mount["options"] for mount in walls.filesystems(mighty)}
    assert "ro" not in shown["/sys"]
    assert "ro" in {mount["destination"]: mount["options"] for mount in walls.filesystems(service())}["/sys"]


def test_device_rules_add_to_the_usual_list() -> None:
    rule = {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"}
    assert devices.rules([rule]) == (*devices.ALLOWED, ("c", 10, 200, "rw"))
    assert devices.rules([host_devices.EVERYTHING]) is None
    assert devices.rows_v1([host_devices.EVERYTHING]) == [("devices.allow", "a")]
    assert ("devices.allow", "c 10:200 rw") in devices.rows_v1([rule])


def test_a_device_of_the_host_is_described_by_its_numbers() -> None:
    nodes, allowed = host_devices.described([Device("/dev/null", "/dev/one", "r")], ["b 7:* rwm"])
    assert [(n["path"], n["type"], n["major"], n["minor"]) for n in nodes] == [("/dev/one", "c", 1, 3)]
    assert allowed == [
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"},
        {"allow": True, "type": "b", "major": 7, "access": "rwm"},
    ]
