"""For all tests: whatever needs root says so when it is skipped; how many examples a property is tried with."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.effort import examples

# A machine under load is slow and not wrong. The same cases are drawn in every run, so that a red run is red again;
# PYORCH_CHANCE=1 draws others, to find more.
settings.register_profile(
    "here",
    deadline=None,
    max_examples=examples(100),
    derandomize="PYORCH_CHANCE" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")

# A shell ignores it for what it starts in the background, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SCENARIOS = Path(__file__).parent / "scenarios"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(SCENARIOS):
            item.add_marker(pytest.mark.root)
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="needs root: it runs containers"))
