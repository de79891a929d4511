"""What to answer whom. Pure: a query and the zones its asker may see → a reply, or a word on what to do with it."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from orchestrator.dns import wire
from orchestrator.dns.wire import Query
from orchestrator.dns.zones import Zone

_ARPA = ".in-addr.arpa"
MOST_ROTATIONS = 16


def visible(asked: Zone, client: str, zones: Mapping[str, Zone]) -> tuple[Zone, ...]:
    """The zones of every network the client is in, the one it asks in first. Empty: it is none of ours.

    Whoever has an address of the network is answered, known or not: the host itself, or a container that is so new
    that its zone is still being written.
    """
    if not asked.contains(client):
        return ()
    others = (zones[bridge] for bridge in asked.clients.get(client, ()) if bridge != asked.bridge and bridge in zones)
    return (asked, *others)


def answer(
    query: Query, zones: Sequence[Zone], links: Mapping[str, str] | None = None, *, stream: bool = False
) -> tuple[bytes, ...] | None:
    """Replies that say the same with their addresses in turn; None: it is not about us, ask the resolvers.

    `links`: the asker's own names, and what each stands for.
    """
    if query.flags & wire.OPCODE:
        return (wire.reply(query, wire.NOTIMP),)
    if query.version:
        return (wire.reply(query, wire.BADVERS),)
    if query.klass != wire.IN:
        return (wire.reply(query, wire.REFUSED),)
    if query.name.endswith(_ARPA) and (found := _reverse(query, zones)) is not None:
        return (found,)
    name = (links or {}).get(query.name, query.name)
    for zone in zones:
        addresses = zone.addresses(name, six=query.kind == wire.AAAA)
        if addresses is not None:
            return _addresses(query, addresses, stream)
    if "." not in query.name or all(zone.internal for zone in zones):
        # A name of one word is one of ours or nobody's: it is not told to the outside, and no dead resolver delays it.
        return (wire.reply(query, wire.NXDOMAIN),)
    return None


def _addresses(query: Query, addresses: Sequence[bytes], stream: bool) -> tuple[bytes, ...]:
    """Any other kind of question about a name that exists has an empty answer."""
    if query.kind not in (wire.A, wire.AAAA, wire.ANY) or not addresses:
        return (wire.reply(query, wire.NOERROR),)
    records = [(wire.AAAA if query.kind == wire.AAAA else wire.A, address) for address in addresses]
    turns = range(min(len(records), MOST_ROTATIONS))
    return tuple(wire.reply(query, wire.NOERROR, records[n:] + records[:n], stream=stream) for n in turns)


def _reverse(query: Query, zones: Sequence[Zone]) -> bytes | None:
    """Whose address it is, within our networks; None where it is none of theirs."""
    address = ".".join(reversed(query.name.removesuffix(_ARPA).split(".")))
    try:
        socket.inet_pton(socket.AF_INET, address)
    except (OSError, ValueError):
        return None
    for zone in zones:
        if zone.contains(address):
            name = zone.reverse.get(address)
            if name is None:
                return wire.reply(query, wire.NXDOMAIN)
            record = (wire.PTR, wire.written(f"{name}.{zone.network}"))
            return wire.reply(query, wire.NOERROR, [record] if query.kind in (wire.PTR, wire.ANY) else [])
    return None
