"""The tests that touch cgroups, on the layout that every current distribution has, where this machine has the old one."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.kernel import cgroups
from tests.cgroup2 import machine

CHECKOUT = Path(__file__).parents[2]
TELLING = (
    "test_limits.py",
    "test_runtime_native.py",
    "test_nodes.py::test_an_agent_has_no_more_to_give_than_its_own_control_group_may_use",
    "test_stack.py::test_what_is_killed_runs_again_in_the_same_container_with_the_same_address",
)
OF_IMAGES = (
    "test_images_registry.py::test_an_image_that_skopeo_pushed_runs_as_it_says",
    "test_images_build.py::test_a_cache_may_begin_as_a_stage",
)


@pytest.mark.timeout(1080)
@pytest.mark.skipif(not cgroups.mounted()[0], reason="this machine has cgroup v2 alone: all tests run on it anyway")
def test_containers_are_held_to_the_same_on_a_stock_kernel_with_cgroup_v2_alone() -> None:
    """One boot for all: an emulated machine is several times slower than this one."""
    images = OF_IMAGES if shutil.which("docker-registry") and shutil.which("skopeo") else ()
    tests = [f"tests/scenarios/{name}" for name in (*TELLING, *images)]
    plain = ["-q", "--color=no", "--tb=short", "--timeout=600", "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    try:
        ended = machine.run([sys.executable, "-m", "pytest", *plain, *tests], directory=CHECKOUT, seconds=1000)
    except machine.Unavailable as why:
        pytest.skip(str(why))
    assert ended.code == 0, ended.output
    summary = ended.output.rstrip().splitlines()[-1]
    # The emulated machine has no disk to be held back from; whatever else is left out is a fault.
    assert re.search(r"^\d+ passed(, 1 skipped)? in", summary), ended.output
    assert ended.output.count("SKIPPED") == ended.output.count("this machine has no disk"), ended.output
    print(f"on cgroup v2: {summary}")
