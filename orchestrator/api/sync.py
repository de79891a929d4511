"""The routes of the sources: /v1/sync and below."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from orchestrator.agent.sources.asked import read_source
from orchestrator.agent.sources.doors import Sources
from orchestrator.agent.sources.follower import Follower, wall
from orchestrator.agent.sources.record import shown
from orchestrator.api.http import Json, Reply, Request
from orchestrator.api.webhook import Webhooks
from orchestrator.errors import Mistake
from orchestrator.policy import sync


class SyncRoutes:
    """`table`: (method, path…) → what answers it."""

    def __init__(self, sources: Sources, webhooks: Webhooks) -> None:
        self._sources = sources
        self._webhooks = webhooks
        self.table: dict[tuple[str, ...], Callable[[Request], Awaitable[Reply]]] = {
            ("GET", "sync"): self.ls,
            ("POST", "sync"): self.add,
            ("GET", "sync", "*"): self.status,
            ("DELETE", "sync", "*"): self.remove,
            ("POST", "sync", "*", "now"): self.now,
            ("POST", "plan", "source"): self.plan,
            ("POST", "sync", "*", "suspend"): self.suspend,
            ("POST", "sync", "*", "resume"): self.resume,
        }

    async def ls(self, request: Request) -> Reply:
        return Json([self._row(follower) for follower in self._sources.syncing])

    async def status(self, request: Request) -> Reply:
        return Json(self._row(self._sources.syncing.get(request.words[0])))

    async def add(self, request: Request) -> Reply:
        source = read_source(request.json())
        follower = self._sources.syncing.add(source)
        await self._webhooks.settle()
        return Json(self._row(follower))

    async def remove(self, request: Request) -> Reply:
        left = await self._sources.syncing.remove(request.words[0])
        await self._webhooks.settle()
        return Json({"name": request.words[0], "stacks": left})

    async def plan(self, request: Request) -> Reply:
        body = request.json()
        if not isinstance(body.get("source"), str):
            raise Mistake("cannot read the request: 'source' must be SOURCE@REF or REPOSITORY@REF")
        return Json(await self._sources.plan(body["source"], body.get("path")))

    async def now(self, request: Request) -> Reply:
        follower = self._sources.syncing.get(request.words[0])
        follower.ask(removal=bool(request.json().get("removal")))
        return Json(self._row(follower))

    async def suspend(self, request: Request) -> Reply:
        body = request.json()
        follower = self._sources.syncing.get(request.words[0])
        follower.suspend(body.get("seconds"), str(body.get("reason") or "by hand"))
        return Json(self._row(follower))

    async def resume(self, request: Request) -> Reply:
        follower = self._sources.syncing.get(request.words[0])
        follower.resume()
        return Json(self._row(follower))

    def _row(self, follower: Follower) -> dict[str, Any]:
        """Sync and health are two axes: a commit can be applied and unwell, or well and behind."""
        source, state = follower.source, follower.state
        verdict, why = sync.verdict(state, wall())
        stacks = [{"name": name, **self._health(name)} for name in sorted(follower.stacks)]
        worst = next((word for word in WORST_FIRST if any(one["health"] == word for one in stacks)), "Missing")
        return {
            "name": source.name,
            "repo": shown(source.repo),
            "ref": source.ref or "HEAD",
            "path": source.path,
            "sync": verdict,
            "health": worst,
            "why": why,
            "head": state.head,
            "headline": follower.headline,
            "live": state.live,
            "good": state.good,
            "quarantined": list(state.aside),
            "attempts": state.tries,
            "looked": state.looked,
            "automatic": source.policy.automatic,
            "prune": source.prune,
            "stacks": stacks,
        }

    def _health(self, stack: str) -> dict[str, str]:
        word, why = self._sources.health(stack)
        return {"health": word, "why": why}


WORST_FIRST = ("Degraded", "Missing", "Progressing", "Stopped", "Healthy")
