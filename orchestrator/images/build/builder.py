"""A Dockerfile carried out: its stages side by side, each step from the cache or made, the image named last.

Who makes files and runs programs is an argument (`Hands`): processes of the worker that have one thread each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from orchestrator.errors import HostRefused, Mistake, OrchestratorError
from orchestrator.images import config as configs
from orchestrator.images import load
from orchestrator.images.build import carried, dockerfile, instructions, plan, result
from orchestrator.images.build import order as orders
from orchestrator.images.build.cache import Record
from orchestrator.images.build.carried import Row
from orchestrator.images.build.dockerfile import Instruction, Wrong
from orchestrator.images.build.hands import Hands, Say
from orchestrator.images.build.layers import Layer, Made, Packing
from orchestrator.images.build.making import Making
from orchestrator.images.build.order import Order
from orchestrator.images.build.plan import Stage
from orchestrator.images.build.reading import Reading
from orchestrator.images.build.state import Given, State
from orchestrator.images.explaining import reason
from orchestrator.images.intake import Intake
from orchestrator.images.store import Entry

STAGES = 512  # at a time, most of them waiting for one another


class Builder:
    """One build. `fetch` gives the store's row of a base image; `moment` is now, RFC 3339."""

    def __init__(
        self,
        intake: Intake,
        hands: Hands,
        fetch: Callable[[str, str, bool], Entry],
        order: Order,
        say: Say,
        now: float,
        moment: str,
    ) -> None:
        self._intake, self._store, self._hands, self._fetch = intake, intake.store, hands, fetch
        self._order, self._say, self._now, self._moment = order, say, now, moment
        self._pool = ThreadPoolExecutor(STAGES, "stage")
        self._packing = Packing(self._store, hands, moment)
        self._reading = Reading(order, self._store, self._pool, self._begin, self._image, hands.clone)
        self._making = Making(order, self._store, hands, say, self._reading, self._packing)
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Made]] = {}
        self._given = Given()
        self._failure: BaseException | None = None  # the first: what failed after it was ended for its sake

    def run(self) -> Entry:
        """The image, named. Raises Mistake with place and line for what the Dockerfile has wrong, OrchestratorError."""
        order = self._order
        text, where = orders.text(order)
        self._making.patterns, self._making.hidden = orders.hidden(order, where)
        with self._store.in_use():
            try:
                parsed = dockerfile.parse(text)
                known = orders.known_arguments(orders.platform(order), order.target)
                allowed = order.host_network or order.network == "host"
                self._given = Given(order.arguments, {}, known, parsed.escape, allowed)
                stages, self._given = plan.stages(parsed.instructions, self._given)
                self._reading.stages = stages
                self._check()
                wanted = self._target()
                self._take_caches()
                made = self._begin(wanted).result()
                return self._finish(made, wanted)
            except Exception as late:
                error = self._failure or late
                if isinstance(error, Wrong):
                    raise Mistake(orders.pointed(where, text, error)) from error
                if isinstance(error, OSError):
                    raise HostRefused(f"{order.cannot}: {reason(error)}") from error
                raise error from None
            finally:
                self._pool.shutdown(cancel_futures=True)
                self._packing.close()
                self._making.tidy()
                self._reading.tidy()

    def _target(self) -> Stage:
        try:
            return plan.target(self._reading.stages, self._order.target)
        except ValueError as error:
            raise Mistake(f"{self._order.cannot}: {error}") from error

    def _check(self) -> None:
        """Every instruction is read before the first one is done: a mistake in the last one costs nothing."""
        for stage in self._reading.stages:
            for one in stage.instructions:
                if "$" not in one.text:  # what a variable of the base image makes of it is not known yet
                    instructions.apply(one, State(), self._given)

    # stages

    def _begin(self, stage: Stage) -> Future[Made]:
        with self._lock:
            if stage.index not in self._futures:
                self._futures[stage.index] = self._pool.submit(self._carry_out, stage)
            return self._futures[stage.index]

    def _carry_out(self, stage: Stage) -> Made:
        """A stage that fails ends the others: nobody waits ten minutes for what is lost already."""
        try:
            return self._carried_out(stage)
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
            for home in self._making.running():
                self._hands.stop(home)
            raise

    def _carried_out(self, stage: Stage) -> Made:
        for other in plan.foreseen(self._reading.stages, stage):
            self._begin(other)
        made = self._base(stage)
        todo = [*instructions.triggers(made.state.config, stage.origin.line), *stage.instructions]
        if made.state.config.get("OnBuild"):
            made.state = made.state.with_config(OnBuild=None)
        try:
            self._steps(stage, made, todo)
        finally:
            self._packing.settle(made, wait=True)  # what is made is known the next time, also where the rest fails
        return made

    def _steps(self, stage: Stage, made: Made, todo: list[Instruction]) -> None:
        for number, one in enumerate(todo, start=1):
            if self._failure is not None:
                raise HostRefused("another stage has failed")
            self._packing.settle(made)
            after, step = instructions.apply(one, made.state, self._given)
            made.state = after
            if step is None:
                made.history.append({"created_by": result.said(one), "empty_layer": True})
            else:
                self._making.step(stage, made, one, step, f"{number}/{len(todo)}")

    def _base(self, stage: Stage) -> Made:
        try:
            below = self._reading.base(stage)
        except OrchestratorError as error:
            if self._failure is not None:
                raise
            raise type(error)(f"{self._order.cannot}: line {stage.origin.line}: FROM: {error}") from error
        if below is None:
            return Made(State().with_path(), [], "scratch", [], orders.platform(self._order))
        fresh = replace(below.state.with_path(), command_is_ours=False)  # a stage below hands its ARGs on
        return Made(fresh, list(below.layers), below.key, list(below.history), below.platform, below.created)

    def _image(self, name: str, platform: str) -> Made:
        self._say(step=f"FROM {name}", state="running", key=f"from {name}")
        entry = self._fetch(name, platform or self._order.platform, self._order.pull)
        manifest = self._store.manifest(entry.manifest.digest)
        config = self._store.config(manifest)
        ids = zip(config.diff_ids, configs.chain(config.diff_ids), manifest.layers, strict=True)
        layers = []
        for diff_id, chain_id, blob in ids:
            path = self._store.layer(diff_id, chain_id)
            if path is None:
                raise HostRefused(f"{self._order.cannot}: layer {diff_id} of {name} is gone; pull it again")
            layers.append(Layer(path, Record(config.created, blob.digest, blob.size, diff_id)))
        self._say(step=f"FROM {name}", state="done", key=f"from {name}")
        inner = {
            key: value for key, value in (config.raw.get("config") or {}).items() if value not in (None, "", [], {})
        }
        made = State(inner, author=str(config.raw.get("author") or ""))
        return Made(
            made, layers, entry.manifest.digest, [dict(one) for one in config.history], config.platform, config.created
        )

    # the end

    def _take_caches(self) -> None:
        """What earlier builds came to, of other machines too. A cache that cannot be had is no mistake."""
        for name in () if self._order.no_cache else self._order.cache_from:
            title = f"cache from {name}"
            self._say(step=title, state="running", key=title)
            try:
                taken = carried.take(self._store, self._fetch(name, "", True))
                said = f"{taken} steps" if taken else "nothing new in it"
                if taken is None:
                    said = "it gives nothing: another builder made it, and its steps are not written in it"
            except OrchestratorError as error:
                said = str(error)
            self._say(step=title, state="output", line=said, key=title)
            self._say(step=title, state="done", key=title)

    def _finish(self, made: Made, stage: Stage) -> Entry:
        order = self._order
        document = result.document(made, order, self._moment)
        stages = plan.below(self._reading.stages, stage)
        if any(kind == "inline" for kind, _, _ in order.cache_to):
            document |= carried.written(self._making.rows(stages))
        layers = result.blobs(made, self._store)
        entry = load.finish(self._intake, document, layers, list(order.tags) or [""], self._now)
        for kind, where, of_all in order.cache_to:
            if kind != "inline":
                self._give_cache(kind, where, self._making.rows(None if of_all else stages))
        return entry

    def _give_cache(self, kind: str, where: str, rows: list[Row]) -> None:
        title = f"cache to {where}"
        self._say(step=title, state="running", key=title)
        entry = carried.image(self._intake, rows, self._now)
        if entry is not None:
            try:
                self._hands.give(entry, kind, where)
            finally:
                self._store.forget([entry])
        self._say(step=title, state="done", key=title)


__all__ = ["Builder", "Hands", "Order"]
