"""What an owner asks of a source, as it comes over the API: read, and refused with everything that is wrong with it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from typing import Any

from orchestrator.agent.sources.allow import allowed
from orchestrator.agent.sources.git import Access, Verify
from orchestrator.agent.sources.record import Source
from orchestrator.errors import Mistake
from orchestrator.policy import sync

TRANSPORTS = ("file", "http", "https", "ssh", "git")
FIELDS = {
    "name", "repo", "ref", "path", "interval", "manual", "attempts", "prune", "timeout", "settle", "allow", "ssh_key",
    "known_hosts", "credentials", "verify", "keys", "environment", "age_key", "webhook", "secret",
}  # fmt: skip


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
