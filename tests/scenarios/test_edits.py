"""Stack files edited at random, by a user who applies each edit: what runs is what is asked, and `plan` has nothing to
say. PYORCH_ROUNDS=N plays N edits, PYORCH_SEED=N begins with another seed."""

from __future__ import annotations

import json
import os
import socket
from random import Random

import pytest

from tests.edits import Writer
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

ROUNDS = int(os.environ.get("PYORCH_ROUNDS", "8"))
SEED = int(os.environ.get("PYORCH_SEED", "1"))


@pytest.mark.timeout(120 + 15 * ROUNDS)
def test_whatever_is_edited_runs_and_then_the_plan_is_empty(pyorch: Pyorch) -> None:
    writer = Writer(Random(SEED), free_port, most=4)
    edit = "the first"
    for number in range(ROUNDS):
        pyorch.write(writer.text)
        told = f"edit {number}: {edit}\n{writer.text}"
        done = pyorch.run("up", "-d", "--wait", "--remove-orphans", "stack.yaml")
        assert done.returncode == 0, f"{told}\n{done.stdout}{done.stderr}"
        pyorch.until(lambda: running(pyorch) == asked(writer))
        plan = json.loads(pyorch.run("plan", "-o", "json", "stack.yaml").stdout)
        assert not plan["changes"] and not plan["actions"], f"{told}\n{plan['text']}"
        before = pyorch.ps()
        writer.nothing()
        pyorch.write(writer.text)
        assert pyorch.run("plan", "stack.yaml").returncode == 0, f"a comment means something\n{writer.text}"
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        assert {name: row["ID"] for name, row in pyorch.ps().items()} == {n: row["ID"] for n, row in before.items()}
        edit = writer.edit()


def running(pyorch: Pyorch) -> list[str]:
    return sorted(row["Service"] for row in pyorch.ps().values() if row["State"] == "running")


def asked(writer: Writer) -> list[str]:
    counts = {name: one.get("deploy", {}).get("replicas", 1) for name, one in writer.services.items()}
    return sorted(name for name, count in counts.items() for _ in range(count))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
