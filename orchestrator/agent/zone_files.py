"""RUN/zones: what dns is to answer, written where it differs from what was written before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from orchestrator.agent import one_off
from orchestrator.agent.containers import Record
from orchestrator.agent.store import NetworkLease
from orchestrator.network import zones
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root


class ZoneFiles:
    def __init__(self, root: Root) -> None:
        self._directory = root.zones
        self._written: dict[str, str] = {}
        os.makedirs(root.zones, mode=0o700, exist_ok=True)

    def drop_strangers(self, known: set[str]) -> None:
        """Files of bridges that no lease knows: a predecessor died while making or dropping them."""
        for file in os.listdir(self._directory):
            if file.removesuffix(".json") not in known:
                os.unlink(os.path.join(self._directory, file))

    def show(
        self, present: Mapping[str, NetworkLease], wanted: Sequence[Wanted], members: Sequence[zones.Member]
    ) -> None:
        """`present`: the networks that have their bridge, by its name."""
        rendered = zones.render(
            [
                zones.Zone(lease.name, bridge, lease.subnet, lease.gateway, lease.internal, _names(wanted, lease))
                for bridge, lease in present.items()
            ],
            members,
        )
        for bridge, text in rendered.items():
            if self._written.get(bridge) != text:
                _replace(self._file(bridge), text)
        for bridge in set(self._written) - set(rendered):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._file(bridge))
        self._written = rendered

    def _file(self, bridge: str) -> str:
        return os.path.join(self._directory, f"{bridge}.json")


def member(record: Record, bridges: Mapping[str, str], six: Callable[[Record, str], str | None]) -> zones.Member:
    """What dns is told of a container. `bridges`: those of its networks, by their names; `six`: its IPv6 address."""
    lookup = record.definition.lookup
    return zones.Member(
        container=record.id,
        name=record.name,
        service="" if record.one_off and not one_off.has_names(record) else record.service,
        hostname=record.definition.hostname or record.id,
        addresses={bridge: record.addresses[name] for name, bridge in bridges.items()},
        aliases={bridge: _aliases(record, name) for name, bridge in bridges.items()},
        ready=record.answers,
        addresses6={bridge: found for name, bridge in bridges.items() if (found := six(record, name))},
        links={**lookup.links, **lookup.external_links},
        resolvers=lookup.dns,
    )


def _aliases(record: Record, network: str) -> tuple[str, ...]:
    attached = record.definition.networks.get(record.network_keys[network])
    return attached.aliases if attached else ()


def _names(wanted: Iterable[Wanted], lease: NetworkLease) -> tuple[str, ...]:
    """Services that stand in the network: known by name also while none of their replicas runs."""
    found = []
    for wish in wanted:
        keys = [key for key, network in wish.stack.networks.items() if network.name == lease.name]
        for name, service in wish.stack.services.items():
            if name in wish.active and any(key in service.networks for key in keys):
                found.append(name)
    return tuple(sorted(found))


def _replace(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
