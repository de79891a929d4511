"""What dns answers, rendered from what is known of networks and containers. Pure.

One file a network, RUN/zones/<bridge>.json; the agent writes it by rename and dns reads it again:

    {"network": "shop_default", "gateway": "10.1.0.1", "subnet": "10.1.0.0/24", "internal": false,
     "names":   {"db": ["10.1.0.2"], "shop-db-1": ["10.1.0.2"]},     lower case
     "names6":  {"db": ["fd12:3456::2"]},                             those that have IPv6 addresses
     "reverse": {"10.1.0.2": "shop-db-1"},
     "clients": {"10.1.0.2": ["po1a2b3cb0", "po1a2b3cb1"]},          the bridges of every network the client is in
     "links":   {"10.1.0.2": {"database": "db"}},                    names that only this client uses
     "resolvers": {"10.1.0.2": ["192.0.2.53"]}}                      who is asked for it about all else
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Zone:
    """A network with its bridge. `gateway` without prefix length; `names` are known even when nobody bears them now."""

    network: str
    bridge: str
    subnet: str
    gateway: str
    internal: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """A running container. `addresses`, `addresses6` and `aliases` by bridge; `ready`: it is healthy, or has no check.

    `links`: its own names for others; `resolvers`: asked for it instead of the host's.
    """

    container: str  # id
    name: str
    service: str
    hostname: str
    addresses: Mapping[str, str]
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    ready: bool = True
    links: Mapping[str, str] = field(default_factory=dict)
    resolvers: Sequence[str] = ()
    addresses6: Mapping[str, str] = field(default_factory=dict)


def render(zones: Iterable[Zone], members: Iterable[Member]) -> dict[str, str]:
    """Bridge → text of its zone file; the same facts give the same text."""
    here = list(members)
    return {zone.bridge: json.dumps(_content(zone, here), sort_keys=True) + "\n" for zone in zones}


def _content(zone: Zone, members: Sequence[Member]) -> dict[str, Any]:
    inside = [member for member in members if zone.bridge in member.addresses]
    bearers: dict[str, list[Member]] = defaultdict(list, {name.lower(): [] for name in zone.names})
    for member in inside:
        for name in _names(member, zone.bridge):
            bearers[name].append(member)
    return {
        "network": zone.network,
        "gateway": zone.gateway,
        "subnet": zone.subnet,
        "internal": zone.internal,
        "names": {name: _answer(some, zone.bridge) for name, some in bearers.items()},
        "names6": {name: six for name, some in bearers.items() if (six := _answer(some, zone.bridge, six=True))},
        "reverse": {member.addresses[zone.bridge]: member.name.lower() for member in inside},
        "clients": {member.addresses[zone.bridge]: sorted(member.addresses) for member in inside},
        "links": {m.addresses[zone.bridge]: _lower(m.links) for m in inside if m.links},
        "resolvers": {m.addresses[zone.bridge]: list(m.resolvers) for m in inside if m.resolvers},
    }


def _names(member: Member, bridge: str) -> set[str]:
    own = (member.name, member.service, member.container, member.hostname, *member.aliases.get(bridge, ()))
    return {name.lower().rstrip(".") for name in own if name}


def _lower(links: Mapping[str, str]) -> dict[str, str]:
    return {alias.lower().rstrip("."): name.lower() for alias, name in links.items()}


def _answer(bearers: Sequence[Member], bridge: str, *, six: bool = False) -> list[str]:
    """Those that are ready; all of them while none is, so that a name is never a black hole."""
    chosen = [member for member in bearers if member.ready] or bearers
    return sorted({a for member in chosen if (a := (member.addresses6 if six else member.addresses).get(bridge))})
