"""Stack files edited at random: after each edit the world becomes what the file says, and then there is nothing to do.

PYORCH_SEEDS=N plays N/20 files of six edits each; PYORCH_SEED=N only that one.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace
from pathlib import Path
from random import Random

import circle
import pytest
from toy import Toy

from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.difference import same
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.replica import contents
from orchestrator.reconcile.world import Wanted
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack
from tests.edits import Writer

FILES = int(os.environ.get("PYORCH_SEEDS", "500")) // 20
EDITS = 6


@pytest.mark.timeout(600)
def test_whatever_is_edited_becomes_so_and_then_nothing_is_left_to_do(tmp_path: Path) -> None:
    chosen = os.environ.get("PYORCH_SEED")
    for seed in [int(chosen)] if chosen else range(FILES):
        ports = itertools.count(20_000)
        writer = Writer(Random(seed), lambda ports=ports: next(ports))  # type: ignore[misc]
        stack = read(tmp_path, writer)
        wanted, edit = Wanted(stack, active=frozenset(stack.services)), "the first"
        toy = Toy(given=lambda service: contents(service, wanted.stack))  # noqa: B023
        for number in range(EDITS):
            circle.play(toy, [wanted], itertools.repeat(0.01))
            look(toy, wanted, f"seed {seed}, edit {number}: {edit}\n{writer.text}")
            edit = writer.edit()
            stack = read(tmp_path, writer)
            if edit == "nothing":
                assert same(wanted.stack, stack), f"seed {seed}: a comment means something\n{writer.text}"
            revision = wanted.revision + (not same(wanted.stack, stack))
            toy.now += 1.0
            names = frozenset(stack.services)
            wanted = replace(
                wanted, stack=stack, revision=revision, active=names, retries=dict.fromkeys(names, toy.now)
            )


def read(directory: Path, writer: Writer) -> Stack:
    file = directory / "stack.yaml"
    file.write_text(writer.text)
    return load([str(file)], directory=str(directory), environment={})


def look(toy: Toy, wanted: Wanted, told: str) -> None:
    plan = reconcile([wanted], toy.world(), toy.now)
    assert not plan.actions, f"{told}\n{plan.text(toy.now)}"
    running = [one.container for one in toy.beings.values() if one.container.phase == "running"]
    digests = blueprint(wanted.stack).digests
    found = sorted((one.service, one.digest) for one in running)
    due = sorted((name, digests[name]) for name, one in wanted.stack.services.items() for _ in range(one.replicas))
    assert found == due, told
    assert {network.name for network in wanted.stack.networks.values()} <= toy.networks, told
    assert {volume.name for volume in wanted.stack.volumes.values()} <= toy.volumes, told
