"""The routes of the sources: /v1/sync and below."""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from orchestrator.agent.sources.allow import allowed
from orchestrator.agent.sources.doors import Sources
from orchestrator.agent.sources.follower import Follower, wall
from orchestrator.agent.sources.git import Access, Verify
from orchestrator.agent.sources.record import Source
from orchestrator.api.http import Json, Reply, Request
from orchestrator.api.webhook import Webhooks
from orchestrator.errors import Mistake
from orchestrator.policy import sync

TRANSPORTS = ("file", "http", "https", "ssh", "git")
FIELDS = {
    "name", "repo", "ref", "path", "interval", "manual", "attempts", "prune", "timeout", "settle", "allow", "ssh_key",
    "known_hosts", "credentials", "verify", "keys", "environment", "age_key", "webhook", "secret",
}  # fmt: skip


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


def shown(url: str) -> str:
    """An address without the password in it."""
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at and "://" in head and ":" in head.partition("://")[2] else url


def read_source(body: Mapping[str, Any]) -> Source:
    """The body of POST /v1/sync. Raises Mistake with everything that is wrong with it."""
    complaints = [f"cannot add a source: unknown field {name}" for name in sorted(set(body) - FIELDS)]
    repo = str(body.get("repo") or "")
    scheme = urllib.parse.urlsplit(repo).scheme if "://" in repo else "ssh" if ":" in repo.partition("/")[0] else "file"
    if not repo or repo.startswith("-") or "::" in repo or scheme not in TRANSPORTS:
        complaints.append(f"cannot follow {repo!r}: expected a path or an address of {', '.join(TRANSPORTS)}")
    path = str(body.get("path") or "stack.yaml")
    if path.startswith("/") or ".." in path.split("/"):
        complaints.append(f"cannot follow --path {path}: it must lie within the repository")
    ref = str(body.get("ref") or "")
    if ref.startswith("-") or (" " in ref and not ref.startswith("semver:")) or "\n" in ref:
        complaints.append(f"cannot follow --ref {ref!r}: expected a branch, a tag, semver:RANGE or a commit")
    verify = body.get("verify")
    if verify is not None and (verify not in ("ssh", "gpg") or not body.get("keys")):
        complaints.append("cannot verify commits: expected ssh or gpg, and the keys to trust")
    webhook = body.get("webhook")
    if webhook is not None and not body.get("secret"):
        complaints.append("cannot listen for a webhook without a secret: anybody could call it")
    if complaints:
        raise Mistake(*complaints)
    policy = sync.SyncPolicy(
        interval=max(float(body.get("interval") or 60.0), 1.0),
        automatic=not body.get("manual"),
        attempts=max(int(body.get("attempts") or 3), 1),
    )
    return Source(
        name=str(body.get("name") or ""),
        repo=repo,
        ref=ref,
        path=path,
        policy=policy,
        prune=bool(body.get("prune")),
        timeout=float(body.get("timeout") or 600.0),
        settle=float(body.get("settle", 2.0)),
        allow=allowed([str(word) for word in body.get("allow") or ()]),
        access=Access(body.get("ssh_key"), body.get("known_hosts"), body.get("credentials")),
        verify=None if verify is None else Verify(verify, str(body["keys"])),
        environment={str(key): str(value) for key, value in (body.get("environment") or {}).items()},
        age_key=body.get("age_key"),
        webhook=webhook,
        secret=str(body.get("secret") or ""),
    )
