"""One turn of the circle, again and again: observe → reconcile → act → wait for the bell or the earliest hold."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from orchestrator.agent import bounds, clock, finds, image_jobs, joining, one_off, taking_back, upkeep
from orchestrator.agent.containers import Containers, Record, read, scrap
from orchestrator.agent.deeds import Hands
from orchestrator.agent.drift import Looker
from orchestrator.agent.events import Bell, Events
from orchestrator.agent.launching import Launching
from orchestrator.agent.loops import Loops
from orchestrator.agent.nodes import Nodes
from orchestrator.agent.prober import Prober
from orchestrator.agent.state import group_of, service_of
from orchestrator.agent.store import Store
from orchestrator.agent.telling import Telling
from orchestrator.agent.trash import Trash
from orchestrator.agent.wiring import Wiring
from orchestrator.agent.wishes import Wishes
from orchestrator.errors import Conflict, HostRefused, OrchestratorError, Unreachable
from orchestrator.reconcile import reconcile, replica, settled
from orchestrator.reconcile.plan import Action, Adjust, Plan, Prepare, Remove, Renew, Start, Stop, TakeBack
from orchestrator.reconcile.rollout import YOUNG
from orchestrator.reconcile.world import Failure, Wanted, World
from orchestrator.root import Root
from orchestrator.storage import keeping, materials, prepared, volumes

PACE = 1.0  # a turn begins no sooner after the last one than that one took, times this: the circle never eats a core


class Circle:
    """The agent's loop and all that it turns."""

    def __init__(self, root: Root, store: Store, nodes: Nodes) -> None:
        self.root = root
        self.store = store
        self.nodes = nodes
        self.node = node = nodes.machine
        self.bell = Bell()
        self.events = Events(store, self.bell)
        self.containers = Containers(root)
        self.wiring = Wiring(root, store, self.containers)
        self.wishes = Wishes(store)
        self.launching = Launching(root, self.events, self._ended, self._adopted)
        self.launcher_or_fail, self.exec = self.launching.launcher_or_fail, self.launching.exec
        self.trash = Trash(root)
        self.hands = Hands(
            root,
            self.containers,
            self.wiring,
            self.events,
            self.launcher_or_fail,
            self.launching.launcher_again,
            node.memory,
            self.trash,
            self,
        )
        self.prober = Prober(self.containers, self.events, self.launcher_or_fail, self.took)
        self.plan = Plan()
        self.world = World(nodes=nodes.all)
        self.turns = 0
        self.attached: set[str] = set()  # ids of containers whose output somebody is reading to its end
        self.closing = False  # every service is as if stopped by hand: see ending.py
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._making: set[str] = set()
        self._failures: dict[str, Failure] = {}
        self._gone: set[str] = set()  # stacks that were to go down and of which nothing is left
        self.wiring_trouble = ""  # why names and ports do not show the present world, while that is so
        self.loops = Loops()
        self._telling = Telling(self.containers, self.events)
        self.drift = Looker(root, self.wiring, self.containers)
        self.last_cards: dict[tuple[str, int], list[dict[str, Any]]] = {}  # of revisions that were taken back
        self.taken_back: dict[tuple[str, int], str] = {}  # (stack, revision) → why it was
        self._turned = asyncio.Condition()
        self._listeners: list[list[Action]] = []

    # the loop

    async def run(self) -> None:
        """Recover, then turn until cancelled."""
        await self.launching.meet()
        await self._recover()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.launching.keep())
            tasks.create_task(upkeep.keep_dns(self.root, self.events, self.wiring))
            tasks.create_task(upkeep.keep_watch(self.root, self.events, self.hands, self.drift))
            tasks.create_task(self.trash.keep())
            tasks.create_task(upkeep.keep_looking(self.drift.told, self._look_for_drift))
            while True:
                began = clock.now()
                self._turn(tasks)
                await self._announce()
                spent = clock.now() - began
                await asyncio.sleep(spent * PACE)
                due = self.plan.due
                await self.bell.wait(None if due is None else max(due - clock.now(), 0))

    def _turn(self, tasks: asyncio.TaskGroup) -> None:
        self.turns += 1
        self.hands.new_turn()
        self._forget_gone()
        self._follow_owners()
        wanted = self.wishes.all()
        if self.closing:
            wanted = tuple(replace(wish, stopped=frozenset({*wish.stack.services, *wish.orphans})) for wish in wanted)
        self._settle_wiring(wanted)
        self.wishes.note_jobs(record.view() for record in self.containers if record.slot > 0)
        self.world = self.observe()
        self.plan = reconcile(wanted, self.world, clock.now())
        self._telling.tell(self.plan.holds)
        self._prove(wanted)
        gone = {name for name in map(self._down_and_gone, wanted) if name}
        if gone - self._gone:
            self.bell.ring()
        self._gone = gone
        for action in () if self.launching.between else (*self.plan.actions, *one_off.over(self)):
            if action.subject not in self._busy:
                for heard in self._listeners:
                    heard.append(action)
                wish = self.wishes.get(self._stack_of(action))
                if isinstance(action, Start):
                    self._making.add(action.subject)
                self._busy[action.subject] = tasks.create_task(self._act(action, wish), name=str(action))
        self.events.commit()

    def _stack_of(self, action: Action) -> str:
        record = self.containers.get(action.container) if isinstance(action, Adjust | Remove | Renew) else None
        return record.stack if record is not None else stack_of(action)

    def _follow_owners(self) -> None:
        """Who stands in namespaces of a container that runs anew is restarted, as if its user had asked for it."""
        for record, why in joining.stale(self):
            wish = self.wishes.get(record.stack)
            if wish is not None and (record.started or 0.0) > wish.restarts.get(record.service, 0.0):
                self.events.note("restart", record.name, why, stack=record.stack, service=record.service)
                self.wishes.put(replace(wish, restarts={**wish.restarts, record.service: clock.now()}))

    def _prove(self, wanted: tuple[Wanted, ...]) -> None:
        """A revision that has become ready as a whole is good: it is what one can go back to."""
        for wish in wanted:
            if wish.proven or wish.down or not wish.active or self.closing:
                continue
            if any(self._young(record) for record in self.containers.of(wish.stack.name)):
                asyncio.get_running_loop().call_later(YOUNG, self.bell.ring)
                continue
            if settled(wish, self.world, self.plan, "ready").proven:
                try:
                    self.wishes.ended(wish.stack.name, "good")
                except HostRefused as error:
                    self.events.trouble = str(error)

    def _young(self, record: Record) -> bool:
        """It has no check, and has not run for long enough to be believed to be well."""
        unchecked = record.phase == "running" and record.verdict is None
        return unchecked and clock.now() - (record.started or 0.0) < YOUNG

    def _down_and_gone(self, wish: Wanted) -> str | None:
        """The name of a stack that is down to the last network; whoever asked for it may have left long ago."""
        name = wish.stack.name
        if not wish.down or any(busy.startswith(f"{name}-") or service_of(busy, wish) for busy in self._busy):
            return None
        result = settled(wish, self.world, self.plan, "down")
        return name if result.done and not result.failures else None

    def _forget_gone(self) -> None:
        """A turn later than they went, so that who watches has seen it."""
        for name in self._gone:
            wish = self.wishes.get(name)
            if wish is not None and wish.down:
                try:
                    self.forget(name)
                except HostRefused as error:  # a full disk: one of the next turns will
                    self.events.trouble = str(error)

    def forget(self, stack: str) -> None:
        """The stack is down and gone, and with it what its configs and secrets said. Raises HostRefused."""
        self.wishes.forget(stack)
        materials.collect(self.root, self.store.documents())

    def _settle_wiring(self, wanted: tuple[Wanted, ...]) -> None:
        """Said once: the next turn tries again, and there will be one for everything that is noted."""
        try:
            self.wiring.settle(wanted)
        except (OSError, OrchestratorError) as error:
            trouble = f"cannot bring names and ports up to date: {error}"
            if trouble != self.wiring_trouble:
                self.events.note("trouble", self.root.table, trouble, kind="network")
            self.wiring_trouble = trouble
        else:
            self.wiring_trouble = ""

    def observe(self) -> World:
        """What is the case, as one frozen value."""
        existing = frozenset(volumes.listing(self.root))
        self.nodes.observe(list(self.containers), self.wishes, existing)
        return World(
            nodes=self.nodes.all,
            containers=tuple(record.view() for record in self.containers if record.slot > 0),
            networks=self.wiring.existing,
            volumes=existing,
            busy=frozenset(self._busy),
            making=frozenset(self._making),
            failures=dict(self._failures),
            done=self.wishes.done,
            futile=dict(self.loops.futile),
            volume_nodes=self.nodes.volumes,
            homes=self.nodes.homes,
            moves=self.nodes.moves,
            slept=clock.slept(),
            explained=True,
            broken=dict(self.wiring.broken),
            unnamed=self.wiring.unnamed(self.wishes.all()),
        )

    def devices_of(self, node: str) -> Mapping[str, Sequence[str]]:
        return self.nodes.devices(node)

    def _look_for_drift(self) -> None:
        """What others have changed since the last look, and the time that went by without us."""
        self.prober.look_for_gaps()
        finds.tell(self, self.drift.look(self.wishes.all(), frozenset(self._busy), self.hands.memory_ceiling))

    async def _act(self, action: Action, wish: Wanted | None) -> None:
        began = clock.now()
        try:
            if isinstance(action, TakeBack):
                taking_back.take_back(self, action)
            else:
                await self.hands.do(action, wish)
        except (OSError, OrchestratorError) as error:
            if not isinstance(error, Unreachable) or self.launching.trouble is not None:
                self._failed(action, str(error))
        else:
            self._failures.pop(action.subject, None)
            if told := self.loops.count(action, clock.now()):
                record = self.containers.named(action.subject)
                stack, service = (record.stack, record.service) if record else (stack_of(action), "")
                self.events.note("gave_up", action.subject, told, stack=stack, service=service)
            if isinstance(action, Prepare):
                self.wishes.job_done(action.replica)
            if isinstance(action, Start):
                record = self.containers.named(action.subject)
                if record is not None:
                    self.prober.watch(record)
                    if not record.definition.checked:
                        self.took(record, "start", clock.now() - began)
            elif isinstance(action, Stop) and (record := self.containers.named(action.subject)):
                self.took(record, "stop", clock.now() - began)
        finally:
            self._busy.pop(action.subject, None)
            self._making.discard(action.subject)
            self.bell.ring()

    async def by_hand(self, action: Action, wish: Wanted | None = None) -> None:
        """One action that its user asked for, and no plan. Raises Conflict where another is under way."""
        if action.subject in self._busy:
            raise Conflict(f"cannot {action}: it is just being worked at")
        deed = asyncio.get_running_loop().create_task(self.hands.do(action, wish), name=str(action))
        self._busy[action.subject] = deed
        try:
            await asyncio.shield(deed)
        finally:
            self._busy.pop(action.subject, None)
            self.bell.ring()

    def took(self, record: Record, kind: Literal["start", "stop"], seconds: float) -> None:
        """This machine's own experience, for the next plan. A history that cannot be written is told elsewhere."""
        with contextlib.suppress(HostRefused):
            self.wishes.history.put_span(record.stack, record.service, kind, seconds)

    def _failed(self, action: Action, why: str) -> None:
        before = self._failures.get(action.subject)
        self._failures[action.subject] = Failure(1 if before is None else before.count + 1, clock.now(), why)
        self.events.note(
            "trouble",
            action.subject,
            why,
            stack=stack_of(action),
            service=action.replica.service if isinstance(action, Start) else "",
            attributes={"action": str(action)},
        )

    async def _announce(self) -> None:
        async with self._turned:
            self._turned.notify_all()

    @contextlib.contextmanager
    def listen(self) -> Iterator[list[Action]]:
        """A list to which every action is added when it is begun."""
        heard: list[Action] = []
        self._listeners.append(heard)
        try:
            yield heard
        finally:
            self._listeners = [other for other in self._listeners if other is not heard]

    def is_wanted(self, stack: str) -> bool:
        wish = self.wishes.get(stack)
        return wish is not None and not wish.down

    async def next_turn(self) -> None:
        """Until a turn is over that saw everything which is so now."""
        before = self.turns
        self.bell.ring()
        while self.turns == before:
            await self.turned(None)

    async def turned(self, timeout: float | None) -> None:
        """Until the next turn is over. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout), self._turned:
            await self._turned.wait()

    def forgive(self, wish: Wanted) -> None:
        """Somebody asks again: what failed before is tried at once."""
        shared = {thing.name for things in (wish.stack.networks, wish.stack.volumes) for thing in things.values()}
        mine = {s for s in (*self._failures, *self.loops.futile) if s in shared or service_of(s, wish) is not None}
        self.loops.forgive(mine | {self.root.table})
        for subject in mine & self._failures.keys():
            del self._failures[subject]

    def obey(self, wish: Wanted) -> None:
        """A new revision: living containers whose meaning is the same go on, under its check, policy and grace."""
        self.forgive(wish)
        for record in self.containers.of(wish.stack.name):
            service = wish.stack.services.get(record.service)
            if service is None or service == record.definition:
                continue
            if replica.digest(replica.meaning(service, wish.stack)) == record.digest:
                checked_otherwise = (service.healthcheck, service.probes) != (
                    record.definition.healthcheck,
                    record.definition.probes,
                )
                record.change(definition=service, revision=wish.revision)
                record.change(bounds_off=bounds.off(self.root, record, self.hands.memory_ceiling))
                self.containers.write_identity(record)
                if checked_otherwise:
                    record.change(verdict=None, verdicts={})
                    self.prober.watch(record)

    # recovery

    async def _recover(self) -> None:
        """The bundles say what there is; whatever was never finished is taken away."""
        for id in self.containers.load():
            await self.launcher_or_fail().request("delete", container=id)
        scrap(self.containers.unclaimed())
        materials.collect(self.root, self.store.documents())
        keeping.forget_unfinished(self.root)
        prepared.release_others(self.root, {record.id for record in self.containers})
        await self.hands.inputs.share_terminals()
        image_jobs.sweep(self.root)  # of a build that a former agent took with it
        await self.wiring.drop(image_jobs.BUILD_NETWORK)
        self.wiring.recall()
        for stack, service, why in self.wiring.ports.hold_again(self.wishes.all()):
            self.events.note("trouble", f"{stack}-{service}", why, stack=stack, service=service)
        for record in self.containers:
            record.paused = record.phase == "running" and group_of(self.root, record).paused()
            record.change(bounds_off=bounds.off(self.root, record, self.hands.memory_ceiling))
            self.prober.watch(record)

    async def _adopted(self) -> None:
        """A new launcher looks after the containers. Ends that nobody told us of are in the bundles."""
        for record in list(self.containers):
            if record.phase == "running":
                ended = read(self.root.bundle(record.id), "exit.json")
                if ended is not None and ended["at"] >= (record.started or 0):
                    self._ended({**ended, "container": record.id})
        self.prober.adopt()
        with contextlib.suppress(OrchestratorError):  # one has just ended: it will be asked again
            await self.hands.inputs.share_terminals()

    def _ended(self, message: Mapping[str, Any]) -> None:
        record = self.containers.get(message["container"])
        if record is not None:
            self.prober.forget(record)
            self.drift.network.forget(record.id)
            self.hands.ended(message)

    async def drain(self) -> None:
        """Before the agent ends: deeds under way are finished, so that nothing is left half made."""
        tasks = list(self._busy.values())
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self.events.commit()


def stack_of(action: Action) -> str:
    """The stack an action belongs to; "" where its container's stack is known by the container alone."""
    match action:
        case Start(replica=replica) | Prepare(replica=replica):
            return replica.stack
        case _:
            return getattr(action, "stack", "")
