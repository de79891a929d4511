"""`x-pyorch: {atomic: true}`: a revision that fails at any gate is taken back as a whole, before it was ever ready.

A gate is whatever `up --wait` waits for, and besides: a replica that keeps ending is not waited for without end.
"""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.policy.restart import describe
from orchestrator.reconcile.goal import judged
from orchestrator.reconcile.plan import TakeBack
from orchestrator.reconcile.scene import Scene, since
from orchestrator.reconcile.turn import Line

ENDS = 3  # failed runs of one replica, after which its gate is closed


def all_or_nothing(scene: Scene) -> Iterator[Line]:
    wanted = scene.wanted
    if not scene.blueprint.atomic or wanted.proven or wanted.taken_back:
        return
    failures = [*judged(scene, scene.turn.plan(), "ready").failures, *_keep_ending(scene)]
    if failures:
        subject, why = failures[0]
        yield TakeBack(f"{scene.stack.name}/", scene.stack.name, (), f"{subject}: {why}")


def _keep_ending(scene: Scene) -> Iterator[tuple[str, str]]:
    for service in scene.order:
        for slot in scene.slots(service) if scene.runs(service) else ():
            container = slot.present
            if container is None or container.phase == "running":
                continue
            exits = since(container.exits, scene.wanted.retries.get(service))
            bad = [exit for exit in exits if not exit.good and exit.cause != "asked"]
            if len(bad) >= ENDS:
                yield container.name, f"ended {len(bad)} times, last {describe(bad[-1])}"
