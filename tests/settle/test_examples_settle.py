"""The example stacks, brought up in the toy world: every service becomes ready."""

from __future__ import annotations

from pathlib import Path

import pytest
from circle import play
from toy import Life, Nature, Toy

from orchestrator.reconcile.goal import settled
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.load import load

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/stack.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_becomes_ready(file: Path) -> None:
    stack = load([str(file)], directory=str(file.parent), environment={})
    needs = [need for service in stack.services.values() for need in service.depends_on.items()]
    jobs = {name: Nature(lives=(Life(0.3, code=0),)) for name, how in needs if how.condition == "completed"}
    wanted, toy = Wanted(stack, active=frozenset(stack.services)), Toy(natures=jobs)
    plan = play(toy, [wanted], [])
    end = settled(wanted, toy.world(), plan, "ready")
    assert (end.done, end.failures, end.pending) == (True, (), ())
