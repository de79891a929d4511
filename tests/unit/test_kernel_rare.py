"""Processors and disks: what is written into which file of a control group."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.kernel import rare

DISK = {"major": 8, "minor": 16}
RESOURCES: dict[str, Any] = {
    "cpu": {"shares": 2, "cpus": "0-1"},
    "blockIO": {
        "weight": 10,
        "weightDevice": [DISK | {"weight": 1000}],
        "throttleReadBpsDevice": [DISK | {"rate": 1048576}],
        "throttleWriteIOPSDevice": [DISK | {"rate": 30}],
    },
}


def test_on_v1_each_has_a_file_of_its_own() -> None:
    assert rare.v1(RESOURCES, "0") == [
        ("cpuset.mems", "0"),
        ("cpuset.cpus", "0-1"),
        ("blkio.weight", "10"),
        ("blkio.weight_device", "8:16 1000"),
        ("blkio.throttle.read_bps_device", "8:16 1048576"),
        ("blkio.throttle.write_iops_device", "8:16 30"),
    ]


def test_on_v2_rates_are_words_of_one_file_and_weights_of_another_scale() -> None:
    assert rare.v2(RESOURCES) == [
        ("cpuset.cpus", "0-1"),
        ("io.weight", "default 1"),
        ("io.weight", "8:16 10000"),
        ("io.max", "8:16 rbps=1048576"),
        ("io.max", "8:16 wiops=30"),
    ]


@pytest.mark.parametrize(
    ("resources", "asked"),
    [
        (RESOURCES, ("cpuset", "blkio")),
        ({"cpu": {"cpus": "0"}}, ("cpuset",)),
        ({"cpu": {"shares": 2}, "memory": {"limit": 1}}, ()),
        ({}, ()),
    ],
)
def test_only_who_asks_is_in_their_hierarchies(resources: dict[str, Any], asked: tuple[str, ...]) -> None:
    assert rare.asked(resources) == asked
