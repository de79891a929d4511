"""Which devices of its node a replica gets: as many as it reserves, and nobody else has.

The decider counts (`scheduler`); here the very ones are chosen, when the container is made, and kept on its record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from orchestrator.agent.containers import Record
from orchestrator.errors import Conflict, Missing
from orchestrator.scheduler.node import ALL
from orchestrator.stack.model import Service


def lend(
    service: Service, name: str, node: str, offered: Mapping[str, Sequence[str]], others: Iterable[Record]
) -> dict[str, list[str]]:
    """Kind → device files, from what the node hands in. Kinds that are only counted are not among them. An id is a
    place in the node's list ("0"), or the file itself. Raises Missing (no such device), Conflict (somebody has it)."""
    held = [record for record in others if record.node == node and record.name != name]
    asked_by_id, lent = dict(service.placement.device_ids), {}
    for kind, count in service.reservations.devices:
        paths = offered.get(kind)
        if paths is None:
            continue
        taken = {path: record.name for record in held for path in record.devices.get(kind, ())}
        chosen = [_named(kind, id, node, paths) for id in asked_by_id.get(kind, ())]
        wanted = len(paths) if count == ALL else count
        chosen += [path for path in paths if path not in taken and path not in chosen][: max(wanted - len(chosen), 0)]
        clash = next((path for path in chosen if path in taken), None)
        if clash is not None:
            raise Conflict(f"cannot give {name} device {clash}: {taken[clash]} has it")
        if len(chosen) < wanted:
            raise Conflict(f"cannot give {name} {wanted} {kind}: {node} has {len(chosen)} to give")
        lent[kind] = chosen
    return lent


def _named(kind: str, id: str, node: str, paths: Sequence[str]) -> str:
    if id in paths:
        return id
    if id.isdigit() and int(id) < len(paths):
        return paths[int(id)]
    raise Missing(f"cannot give {kind} {id!r}: {node} has {', '.join(f'{n} ({path})' for n, path in enumerate(paths))}")
