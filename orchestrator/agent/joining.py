"""Containers that stand in namespaces of others: `network_mode`, `pid` and `ipc` with service:X or container:X.

Which process that is, is known only when the container starts; its OCI spec is completed then. A container that runs
anew has new namespaces: who stood in its old ones follows it (`stale`), or it would be left in an empty network.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from orchestrator.agent.containers import Record, write_text
from orchestrator.errors import Conflict
from orchestrator.network import etc
from orchestrator.runtime.walls import shares

if TYPE_CHECKING:
    from orchestrator.agent.circle import Circle
    from orchestrator.agent.containers import Containers
    from orchestrator.root import Root

_FILES = {"network": "net"}  # of /proc/PID/ns, where they are called otherwise than in the OCI spec


def joins(record: Record) -> dict[str, str]:
    """Kind of namespace → "service:X" or "container:X"."""
    return {kind: word for kind, word in shares(record.definition).items() if word != "host"}


def complete(root: Root, containers: Containers, record: Record) -> None:
    """Write the processes it joins into its spec. Raises Conflict where one of them does not run."""
    wanted = joins(record)
    if not wanted:
        return
    path = f"{root.bundle(record.id)}/config.json"
    with open(path, encoding="utf-8") as file:
        spec: dict[str, Any] = json.load(file)
    for namespace in spec["linux"]["namespaces"]:
        if word := wanted.get(namespace["type"]):
            target = _target(containers, record, namespace["type"], word)
            kind = _FILES.get(namespace["type"], namespace["type"])
            namespace["path"] = f"/proc/{target.pid}/ns/{kind}"
            if namespace["type"] == "ipc":
                for mount in spec["mounts"]:
                    if mount["type"] == "shm":
                        mount["source"] = f"/proc/{target.pid}/ns/mnt"
            if namespace["type"] == "network":
                _same_names(root, record, target)
    write_text(f"{path}.new", json.dumps(spec), 0o600)
    os.replace(f"{path}.new", path)


def _target(containers: Containers, record: Record, kind: str, word: str) -> Record:
    what, _, name = word.partition(":")
    if what == "container":
        found = containers.named(name)
    else:
        replicas = [each for each in containers.of(record.stack) if each.service == name and each.slot > 0]
        found = min(replicas, key=lambda each: (each.phase != "running", each.slot), default=None)
    if found is None or found.phase != "running" or found.pid is None:
        raise Conflict(f"cannot start {record.name}: it stands in the {kind} namespace of {name}, which does not run")
    return found


def _same_names(root: Root, record: Record, target: Record) -> None:
    """One network, one set of names; what the record's own extra_hosts add comes on top."""
    for name in ("hosts", "resolv.conf", "hostname"):
        with open(f"{root.bundle(target.id)}/etc/{name}", encoding="utf-8") as file:
            text = file.read()
        if name == "hosts":
            text = etc.hosts((), (), record.definition.lookup.extra_hosts, "127.0.0.1", local=text)
        write_text(f"{root.bundle(record.id)}/etc/{name}", text, 0o644)


def stale(circle: Circle) -> list[tuple[Record, str]]:
    """Running containers whose namespaces' owner runs anew, and the reason to run anew too."""
    found = []
    for record in circle.containers:
        if record.phase == "running" and record.slot > 0 and (wanted := joins(record)):
            for kind, pid in _joined(circle.root, record).items():
                try:
                    target = _target(circle.containers, record, kind, wanted[kind])
                except Conflict:
                    continue  # it has ended: when it is back, this is looked at again
                if target.pid != pid:
                    found.append((record, f"{target.name}, whose {kind} namespace it stands in, runs anew"))
                    break
    return found


def _joined(root: Root, record: Record) -> dict[str, int]:
    """Kind → the process whose namespace it joined, as its spec says."""
    with open(f"{root.bundle(record.id)}/config.json", encoding="utf-8") as file:
        spec = json.load(file)
    paths = {each["type"]: each.get("path") or "" for each in spec["linux"]["namespaces"]}
    return {kind: int(path.split("/")[2]) for kind, path in paths.items() if path}
