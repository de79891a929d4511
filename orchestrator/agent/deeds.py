"""The deeds: each carries out one action of the plan. No decision is taken here.

A deed that fails raises; the circle turns that into a line of the slot's history, and the next plan sees it.
Whatever a failed deed had made it takes back itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from orchestrator import images
from orchestrator.agent import bounds, clock, hooks, joining, leftovers, netdrift, placements, preparing, pulls
from orchestrator.agent.containers import Containers, Record, exit_of, scrap
from orchestrator.agent.draining import drain
from orchestrator.agent.events import Events
from orchestrator.agent.grounding import ground
from orchestrator.agent.inputs import Inputs
from orchestrator.agent.launcher_client import LauncherClient
from orchestrator.agent.trash import Trash
from orchestrator.agent.wiring import Wiring
from orchestrator.errors import HostRefused, Missing, OrchestratorError
from orchestrator.policy.restart import describe
from orchestrator.reconcile.plan import (
    Action,
    Adjust,
    DropNetwork,
    DropVolume,
    MakeNetwork,
    MakeVolume,
    Prepare,
    Reload,
    Remove,
    Renew,
    Start,
    Stop,
)
from orchestrator.reconcile.replica import Replica, contents, named
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.stack.model import Service, Stack, Volume
from orchestrator.storage import materials, prepared, volumes
from orchestrator.storage import mounts as storage_mounts

MEMORY_CEILING = 0.95  # of the node's memory: a service without a limit meets its own end before the machine's


class Surroundings(Protocol):
    """What the deeds need of the circle that calls them."""

    def exec(self, **request: Any) -> AbstractAsyncContextManager[tuple[str, list[int], asyncio.Future[Any]]]: ...
    async def next_turn(self) -> None: ...
    def is_wanted(self, stack: str) -> bool: ...
    def devices_of(self, node: str) -> Mapping[str, Sequence[str]]: ...


class Hands:
    """What the deeds work with."""

    def __init__(
        self,
        root: Root,
        containers: Containers,
        wiring: Wiring,
        events: Events,
        launcher: Callable[[], LauncherClient],
        launcher_again: Callable[[], Awaitable[LauncherClient]],
        memory: int,
        trash: Trash,
        surroundings: Surroundings,
    ) -> None:
        self._trash = trash
        self._around = surroundings
        self.root = root
        self.memory_ceiling = int(memory * MEMORY_CEILING)
        self.containers = containers
        self.wiring = wiring
        self.events = events
        self.launcher = launcher
        self.launcher_again = launcher_again
        self.ends: dict[str, asyncio.Future[None]] = {}  # container id → somebody waits for its end
        self.images: dict[str, images.Image] = {}
        self.looked_at: list[tuple[str, ...]] = []  # layers that volumes are just being filled from
        self._unfinished: dict[str, list[str]] = {}  # container id → its directories, to be cleared up
        self.inputs = Inputs(root, containers, launcher)

    def new_turn(self) -> None:
        """An image is looked at once a turn, however many replicas start from it."""
        self.images.clear()

    def image(self, service: Service) -> images.Image:
        key = f"{service.image} {service.image_digest}"
        if key not in self.images:
            self.images[key] = images.prepare(service.image, self.root, service.image_digest)
        return self.images[key]

    def devices_of(self, node: str) -> Mapping[str, Sequence[str]]:
        """Kind → the device files that a node hands in."""
        return self._around.devices_of(node)

    async def do(self, action: Action, wish: Wanted | None) -> None:
        """Carry out one action. `wish` is the stack it belongs to, None where nobody wants that any more."""
        match action:
            case Start():
                assert wish is not None, "nothing is started that no stack wants"
                await self._start(action, wish)
            case Prepare():
                assert wish is not None
                await self._pre_start(action, wish)
            case Stop():
                await self._stop(action)
            case Adjust():
                self._adjust(action, wish)
            case Reload():
                await self._reload(action)
            case Renew():
                assert wish is not None
                await self._renew(action, wish)
            case Remove():
                await self._remove(action, wish)
            case MakeNetwork():
                assert wish is not None
                made = self.wiring.make(action.stack, wish.stack.networks[action.key])
                self.note("create", action.subject, action.why, "network", action.stack, {"made": made})
            case DropNetwork():
                await self.wiring.drop(action.subject)
                self.note("destroy", action.subject, action.why, "network", action.stack)
            case MakeVolume():
                assert wish is not None
                wanted = wish.stack.volumes[action.key]
                volumes.make(self.root, action.subject, _labels(wish.stack, wanted), wanted.options, wanted.protect)
                self.note("create", action.subject, action.why, "volume", action.stack)
            case DropVolume():
                volumes.drop(self.root, action.subject)
                self.note("destroy", action.subject, action.why, "volume", action.stack)

    # start

    async def _start(self, action: Start, wish: Wanted) -> None:
        replica = action.replica
        record = self.containers.get(action.container) if action.container else None
        fresh = record is None
        await pulls.ready(self.root, replica.definition)
        self.wiring.ports.hold(replica.stack, replica.definition)
        if record is None:
            try:
                await self._ground(replica, wish)
                record = preparing.prepare(self, replica, wish, action.node, placements.kept(action.placed))
            finally:
                if not len(self.containers):
                    leftovers.layers(self)  # it failed and nobody else needs them
        try:
            await self._run(record)
            await hooks.after_start(self._around.exec, record)
        except (OSError, OrchestratorError):
            await self._clear(record, forget=fresh)
            raise
        self.note(
            "start", record.name, action.why, "container", record.stack, {"id": record.id}, service=record.service
        )

    async def _ground(self, replica: Replica, wish: Wanted) -> None:
        """Its volumes are there and filled, its binds answer."""
        place = self.place_of(replica, wish)
        self.looked_at.append(place.layers)
        try:
            await ground(self.root, place)
        finally:
            self.looked_at.remove(place.layers)

    def place_of(self, replica: Replica, wish: Wanted) -> storage_mounts.Place:
        image = self.image(replica.definition)
        return storage_mounts.Place(replica.definition, wish.stack, replica.slot, image.volumes, image.layers)

    def lent(self, service: Service, stack: Stack) -> list[dict[str, Any]]:
        """What others have mounted that it takes over (`volumes_from`). Raises Missing where one is not there."""
        lent: list[dict[str, Any]] = []
        for words in service.volumes_from:
            whose = stack.services.get(words.source)
            name = named(stack.name, whose, 1) if whose is not None and not words.container else words.source
            lender = self.containers.named(name)
            if lender is None and words.container:
                raise Missing(f"cannot take the volumes of container '{words.source}': there is none of that name here")
            for mount in storage_mounts.of_bundle(self.root.bundle(lender.id)) if lender else ():
                access = ["rro"] if words.read_only else []
                lent.append({**mount, "options": [*mount["options"], *access]})
        return lent

    async def _run(self, record: Record) -> None:
        """create → attach → start, the OCI split."""
        launcher = self.launcher()
        record.change(phase="created", runs=record.runs + 1, ending=None, verdict=None, verdicts={})
        if record.exits:  # so that an agent killed in the middle of this is followed by one that knows of them
            self.containers.write_history(record)
        joining.complete(self.root, self.containers, record)
        reply, terminal = await launcher.request_fds("create", container=record.id, until="network")
        record.pid = reply["pid"]
        self.inputs.open(record, terminal)
        try:
            self.wiring.connect(record)
        except OrchestratorError:
            await launcher.request("stands", container=record.id)  # where its sandbox failed, that is the reason
            raise
        await launcher.request("start", container=record.id)
        if record.phase == "created":  # it may have run and ended before the reply was read
            record.change(phase="running", started=clock.now())

    async def _pre_start(self, action: Prepare, wish: Wanted) -> None:
        """Each hook in a container of its own, made as the service's are: its image, networks, volumes."""
        made = action.replica.definition.pre_start
        for number, hook in enumerate(made):
            title = hooks.titled("pre_start", number, len(made))
            await self._ground(action.replica, wish)
            record = preparing.prepare(self, hooks.helper(action.replica, hook, action.subject), wish, action.node)
            ended = self.ends.setdefault(record.id, asyncio.get_running_loop().create_future())
            try:
                await self._run(record)
                await hooks.until_ended(ended, lambda: self._around.is_wanted(wish.stack.name))
            finally:
                self.ends.pop(record.id, None)
                await self._clear(record, forget=True)
            exit = record.last_exit
            if exit is None or not exit.good:
                how = describe(exit) if exit else "was never seen to end"
                raise HostRefused(f"cannot prepare {wish.stack.name}-{record.service}: {title} hook {how}")
        self.note("prepare", action.subject, action.why, "container", wish.stack.name, service=action.replica.service)

    async def _clear(self, record: Record, forget: bool) -> None:
        """Take back a start that failed. A new container leaves nothing; an old one is as exited as before.

        Where it was the launcher that failed, its successor clears up: groups and processes are found by the bundle.
        """
        directories = self.containers.forget(record) if forget else []
        try:
            launcher = await self.launcher_again()
            await launcher.request("delete", container=record.id)
        except OrchestratorError as error:  # tried again, see `clear_up`; a new agent finds it half made
            why = f"cannot clean up after a failed start, and will try again: {error}"
            self.note("trouble", record.name, why, "container", record.stack)
            self._unfinished[record.id], directories = directories, []
        if forget:
            prepared.release(self.root, record.id)
            scrap(directories)
            leftovers.layers(self)
        elif record.phase != "exited":
            record.change(phase="exited", pid=None)

    async def clear_up(self) -> None:
        """What a start that failed has left because no launcher answered."""
        for id, directories in list(self._unfinished.items()):
            try:
                await self.launcher().request("delete", container=id)
            except OrchestratorError:
                continue  # one of the next times
            self._unfinished.pop(id, None)
            if directories:
                prepared.release(self.root, id)
                scrap(directories)

    # stop and remove

    async def _stop(self, action: Stop) -> None:
        record = self.containers.get(action.container)
        if record is None or record.phase != "running":
            return
        record.ending = "moved" if action.moved else "unhealthy" if action.failure else "asked"
        self.containers.write_history(record)
        self.note("stop", record.name, action.why, "container", record.stack, service=record.service)
        ended = self.ends.setdefault(record.id, asyncio.get_running_loop().create_future())
        try:
            if record.paused:  # what stands still hears no signal
                await self.launcher().request("unpause", container=record.id)
                record.change(paused=False)
            if action.drain > 0 and not ended.done():
                await drain(record, action.drain, ended, self._around.next_turn)
            if action.grace > 0 and not ended.done():
                for complaint in await hooks.before_stop(self._around.exec, record, action.grace):
                    self.note("trouble", record.name, complaint, "container", record.stack, service=record.service)
            if action.grace > 0 and not ended.done():
                await self.launcher().request("kill", container=record.id, signal=action.signal)
                try:
                    async with asyncio.timeout(action.grace):
                        await asyncio.shield(ended)
                except TimeoutError:
                    why = f"it did not end within {action.grace:g} s of {action.signal}"
                    self.note("kill", record.name, why, "container", record.stack, service=record.service)
            if not ended.done():
                await self.launcher().request("kill", container=record.id, signal="SIGKILL", all=True)
                await ended
        finally:
            self.ends.pop(record.id, None)

    async def _renew(self, action: Renew, wish: Wanted) -> None:
        """New contents first: who is told, or runs anew, must find them."""
        record = self.containers.get(action.container)
        service = wish.stack.services.get(record.service) if record is not None else None
        if record is None or service is None or record.phase != "running":
            return
        materials.renew(self.root, service, wish.stack, record.id)
        record.change(contents=contents(service, wish.stack))
        self.containers.write_identity(record)
        if action.signal is None:
            await self._stop(Stop(record.name, record.id, action.why, record.stop_signal, action.grace))
            return
        await self.launcher().request("kill", container=record.id, signal=action.signal)
        self.note("reload", record.name, action.why, "container", record.stack, service=record.service)

    async def _reload(self, action: Reload) -> None:
        record = self.containers.get(action.container)
        if record is None or record.phase != "running":
            return
        record.change(reloaded=clock.now())
        self.containers.write_history(record)
        await self.launcher().request("kill", container=record.id, signal=action.signal)
        self.note("reload", record.name, action.why, "container", record.stack, service=record.service)

    def _adjust(self, action: Adjust, wish: Wanted | None) -> None:
        record = self.containers.get(action.container)
        if record is None or record.phase != "running":
            return
        if record.bounds_off or "limits" in action.kinds:
            bounds.adjust(self.root, record, self.memory_ceiling)
        if "config" in action.kinds and wish is not None:
            materials.mend(self.root, record.definition, wish.stack, record.id)
        if {"link", "address"} & set(action.kinds):
            netdrift.mend(self.wiring, record)
        left = {kind: why for kind, why in record.drifted.items() if kind not in action.kinds}
        record.change(bounds_off=None, drifted=left)
        self.note("adjust", record.name, action.why, "container", record.stack, service=record.service)

    def ended(self, message: Mapping[str, Any]) -> None:
        """The launcher says that a container is over."""
        record = self.containers.get(message["container"])
        if record is None:
            return
        exit = exit_of(message, record.ending, record.signalled)
        record.ended(exit)
        self.inputs.close(record)
        self.containers.write_history(record)
        if record.helper:
            self._waits_no_more(record)
            return
        attributes = {"exitCode": exit.code, "signal": exit.signal, "cause": exit.cause, "id": record.id}
        self.note("die", record.name, describe(exit), "container", record.stack, attributes, service=record.service)
        answer = record.definition.healing.answer("stopped")
        if exit.cause == "stopped" and answer != "ignore":
            why, told = f"{describe(exit)} by somebody else", {"kind": "stopped", "answer": answer}
            self.note("drift", record.name, why, "container", record.stack, told, service=record.service)
        self._waits_no_more(record)

    def _waits_no_more(self, record: Record) -> None:
        waiting = self.ends.get(record.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _remove(self, action: Remove, wish: Wanted | None) -> None:
        record = self.containers.get(action.container)
        if record is None:
            return
        await self.launcher().request("delete", container=record.id)
        had = storage_mounts.of_bundle(self.root.bundle(record.id))
        directories = self.containers.forget(record)
        prepared.release(self.root, record.id)
        await self._trash.take(directories)
        leftovers.volumes_of(self, record, had, wish)
        leftovers.layers(self)
        self.note("destroy", record.name, action.why, "container", record.stack, service=record.service)

    def note(
        self,
        deed: str,
        subject: str,
        why: str,
        kind: str,
        stack: str,
        attributes: Mapping[str, Any] | None = None,
        service: str = "",
    ) -> None:
        self.events.note(deed, subject, why, kind=kind, stack=stack, service=service, attributes=attributes)


def _labels(stack: Stack, volume: Volume) -> dict[str, str]:
    """Compose's own beside the user's: by these, its tools find what belongs to a project."""
    return {
        "com.docker.compose.project": stack.name,
        "com.docker.compose.volume": volume.key,
        **volume.labels,
    }
