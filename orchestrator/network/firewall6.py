"""The same rules for IPv6, in a table of that family; only where a network of ours has it, so that no other host needs
IPv6 in its nf_tables. Published ports of ::1 are not translated: IPv6 lets no packet of the loopback leave it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol

from orchestrator.kernel import nftables as nft

ANY = "::"


class Network(Protocol):
    @property
    def bridge(self) -> str: ...
    @property
    def internal(self) -> bool: ...
    @property
    def subnet6(self) -> str: ...


class Publication(Protocol):
    @property
    def host_ip(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def protocol(self) -> str: ...
    @property
    def targets(self) -> tuple[tuple[str, int], ...]: ...


def spoken() -> bool:
    """Whether this kernel has IPv6 at all."""
    return os.path.exists("/proc/sys/net/ipv6")


def gone(table: str) -> list[bytes]:
    """Without the table; made first, for only what is there can be deleted."""
    return [nft.new_table(table, nft.IP6), nft.delete_table(table, nft.IP6)] if spoken() else []


def objects(table: str, networks: Sequence[Network], publications: Sequence[Publication]) -> list[bytes]:
    ours = [network for network in networks if network.subnet6]
    if not ours:
        return gone(table)
    chains = [
        nft.new_chain(table, "guard", "filter", "prerouting", -300, family=nft.IP6),
        nft.new_chain(table, "published", family=nft.IP6),
        nft.new_chain(table, "held", family=nft.IP6),
        nft.new_chain(table, "prerouting", "nat", "prerouting", -100, family=nft.IP6),
        nft.new_chain(table, "output", "nat", "output", -100, family=nft.IP6),
        nft.new_chain(table, "postrouting", "nat", "postrouting", 100, family=nft.IP6),
        nft.new_chain(table, "input", "filter", "input", 0, family=nft.IP6),
        nft.new_chain(table, "forward", "filter", "forward", 0, family=nft.IP6),
    ]
    six = [publication for publication in publications if ":" in publication.host_ip]
    return [*gone(table), nft.new_table(table, nft.IP6), *chains, *_rules(table, ours, six)]


def _rules(table: str, networks: Sequence[Network], publications: Sequence[Publication]) -> Iterator[bytes]:
    def rule(chain: str, *expressions: nft.Expression) -> bytes:
        return nft.new_rule(table, chain, *expressions, family=nft.IP6)

    for net in networks:  # link-local addresses speak to the gateway, too: neighbour discovery needs them
        link_local = (nft.entering(net.bridge), nft.source("fe80::/10"), nft.accept())
        yield rule("guard", *link_local)
        yield rule("guard", nft.entering(net.bridge), nft.source("::/128"), nft.accept())
        yield rule("guard", nft.entering(net.bridge), nft.source(net.subnet6, unless=True), nft.drop())

    yield rule("prerouting", nft.local_destination(), nft.jump("published"))
    # What comes from ::1 leaves by no other interface. So it is answered here: refused, not lost.
    yield rule("output", nft.destination("::1"), nft.accept())
    yield rule("output", nft.local_destination(), nft.jump("published"))
    yield rule("input", nft.connection_state(nft.NEW), nft.local_destination(), nft.jump("held"))
    open_networks = [IPv6Network(net.subnet6) for net in networks if not net.internal]
    for publication in publications:
        address = () if publication.host_ip == ANY else (nft.destination(publication.host_ip),)
        asked = (*address, nft.port(publication.protocol, publication.port))
        targets = [t for t in publication.targets if any(IPv6Address(t[0]) in network for network in open_networks)]
        for left, (target, port) in zip(range(len(targets), 0, -1), targets, strict=True):
            share = (nft.one_in(left),) if left > 1 else ()
            yield rule("published", *asked, *share, nft.translate_destination(target, port))
        yield rule("held", *asked, nft.reset() if publication.protocol == "tcp" else nft.unreachable(nft.IP6))

    translated = nft.connection_status(nft.DESTINATION_TRANSLATED)
    for net in networks:
        if not net.internal:
            outward = (nft.source(net.subnet6), nft.leaving(net.bridge, unless=True))
            yield rule("postrouting", *outward, nft.masquerade())
            yield rule("postrouting", nft.source(net.subnet6), nft.leaving(net.bridge), translated, nft.masquerade())

    yield rule("forward", nft.connection_state(nft.ESTABLISHED | nft.RELATED), nft.accept())
    for net in networks:
        yield rule("forward", nft.entering(net.bridge), nft.leaving(net.bridge), nft.accept())
    for net in networks:
        if net.internal:
            yield rule("forward", nft.entering(net.bridge), nft.drop())
            yield rule("forward", nft.leaving(net.bridge), nft.drop())
    yield rule("forward", translated, nft.accept())
    for net in networks:
        yield rule("forward", nft.leaving(net.bridge), nft.drop())
