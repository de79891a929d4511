"""Our rules: one nf_tables table of our own, always replaced as a whole, in one transaction.

Other people's tables are never touched, and an `accept` here ends only this table: what the administrator drops stays
dropped. Nothing of ours is on the data path: published ports are translated by the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from orchestrator.errors import HostRefused
from orchestrator.kernel import conntrack
from orchestrator.kernel import nftables as nft
from orchestrator.network import firewall6

ANY = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class Network:
    """`subnet` as "10.1.0.0/24". `internal`: nothing goes in or out, nothing in it can be published."""

    bridge: str
    subnet: str
    internal: bool = False
    subnet6: str = ""  # "": no IPv6


@dataclass(frozen=True, slots=True)
class Publication:
    """A port of the host and the (address, port) pairs that share its connections; none: they are refused.

    The addresses are of the family of `host_ip`.
    """

    host_ip: str
    port: int
    protocol: str
    targets: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What `apply` was given, in one comparable value: equal rulesets give equal tables."""

    networks: tuple[Network, ...] = ()
    publications: tuple[Publication, ...] = ()


def apply(table: str, networks: Sequence[Network], publications: Sequence[Publication]) -> int:
    """Make the table `table` say exactly this; it never passes through a state in between. Returns the number of its
    rules. Raises HostRefused."""
    try:
        # A table can only be deleted where it exists: make it, delete it, make it anew.
        made = [nft.new_table(table), nft.delete_table(table), nft.new_table(table)]
        older = [publication for publication in publications if ":" not in publication.host_ip]
        six = firewall6.objects(table, networks, publications)
        objects = [*made, *_chains(table), *_rules(table, networks, older), *six]
        nft.commit(objects)
    except OSError as error:
        needs = "the kernel must offer nf_tables with nat, masq, fib, numgen and reject"
        raise HostRefused(f"cannot write the firewall table '{table}': {error.strerror} ({needs})") from error
    return sum(map(nft.is_rule, objects))


def remove(table: str) -> None:
    """Take the table away, if it is there."""
    try:
        nft.commit([nft.new_table(table), nft.delete_table(table), *firewall6.gone(table)])
    except OSError as error:
        raise HostRefused(f"cannot remove the firewall table '{table}': {error.strerror}") from error


def present(table: str) -> bool:
    """False: somebody flushed the machine's rules, and `apply` is due."""
    return nft.has_table(table)


def generation() -> int:
    """Changes whenever anybody changes any rule: only then is it worth asking for `written`. Raises OSError."""
    return nft.generation()


def written(table: str) -> tuple[tuple[bytes, bytes], ...]:
    """What the table says, rule by rule, to be compared with what it said before. Raises OSError."""
    return nft.rules(table)


def forget(addresses: Iterable[str]) -> int:
    """Forget the UDP flows that are translated to these addresses, which are gone; returns how many there were.

    A client that goes on sending keeps its flow alive, and with it the dead target. TCP ends by itself.
    """
    return conntrack.delete_udp(frozenset(addresses))


def _chains(table: str) -> Iterator[bytes]:
    yield nft.new_chain(table, "guard", "filter", "prerouting", -300)  # before connection tracking translates back
    yield nft.new_chain(table, "published")
    yield nft.new_chain(table, "loopback")
    yield nft.new_chain(table, "held")
    yield nft.new_chain(table, "prerouting", "nat", "prerouting", -100)
    yield nft.new_chain(table, "output", "nat", "output", -100)
    yield nft.new_chain(table, "postrouting", "nat", "postrouting", 100)
    yield nft.new_chain(table, "input", "filter", "input", 0)
    yield nft.new_chain(table, "forward", "filter", "forward", 0)


def _rules(table: str, networks: Sequence[Network], publications: Sequence[Publication]) -> Iterator[bytes]:
    def rule(chain: str, *expressions: nft.Expression) -> bytes:
        return nft.new_rule(table, chain, *expressions)

    # Who speaks from a bridge speaks with an address of its network, and not to this host's loopback.
    for net in networks:
        yield rule("guard", nft.entering(net.bridge), nft.destination("127.0.0.0/8"), nft.drop())
        yield rule("guard", nft.entering(net.bridge), nft.source(net.subnet, unless=True), nft.drop())

    # Published ports. From outside, 127.0.0.1 is never asked for: a neighbour on the wire could send such packets.
    yield rule("prerouting", nft.local_destination(), nft.jump("published"))
    yield rule("output", nft.destination("127.0.0.0/8"), nft.jump("loopback"))
    yield rule("output", nft.local_destination(), nft.jump("published"))
    yield rule("input", nft.connection_state(nft.NEW), nft.local_destination(), nft.jump("held"))
    open_networks = [_bounds(net.subnet) for net in networks if not net.internal]
    for publication in publications:
        chain = "loopback" if publication.host_ip.startswith("127.") else "published"
        targets = [target for target in publication.targets if _within(target[0], open_networks)]
        for expressions in _translations(publication, targets):
            yield rule(chain, *expressions)
        # Whoever gets as far as the socket that holds the port found no container behind it.
        refuse = nft.reset() if publication.protocol == "tcp" else nft.unreachable()
        yield rule("held", *_asked(publication), refuse)

    for net in networks:
        if not net.internal:
            yield rule("postrouting", nft.source(net.subnet), nft.leaving(net.bridge, unless=True), nft.masquerade())
            translated = nft.connection_status(nft.DESTINATION_TRANSLATED)
            # A container that asks for a published port of its own network must get the answer by way of us too.
            yield rule("postrouting", nft.source(net.subnet), nft.leaving(net.bridge), translated, nft.masquerade())
            yield rule("postrouting", nft.source("127.0.0.0/8"), nft.leaving(net.bridge), nft.masquerade())

    yield rule("forward", nft.connection_state(nft.ESTABLISHED | nft.RELATED), nft.accept())
    for net in networks:  # where br_netfilter is loaded, neighbours on one bridge come by here
        yield rule("forward", nft.entering(net.bridge), nft.leaving(net.bridge), nft.accept())
    for net in networks:
        if net.internal:
            yield rule("forward", nft.entering(net.bridge), nft.drop())
            yield rule("forward", nft.leaving(net.bridge), nft.drop())
    yield rule("forward", nft.connection_status(nft.DESTINATION_TRANSLATED), nft.accept())
    for net in networks:
        yield rule("forward", nft.leaving(net.bridge), nft.drop())


def _asked(publication: Publication) -> tuple[nft.Expression, ...]:
    address = () if publication.host_ip == ANY else (nft.destination(publication.host_ip),)
    return (*address, nft.port(publication.protocol, publication.port))


def _translations(publication: Publication, targets: Sequence[tuple[str, int]]) -> Iterator[tuple[nft.Expression, ...]]:
    """A rule for each target. Of n, the first takes every n-th connection, the second every (n-1)-th of the rest, …."""
    for left, (address, port) in zip(range(len(targets), 0, -1), targets, strict=True):
        share = (nft.one_in(left),) if left > 1 else ()
        yield (*_asked(publication), *share, nft.translate_destination(address, port))


def _bounds(subnet: str) -> tuple[int, int]:
    network = IPv4Network(subnet)
    return int(network.network_address), int(network.broadcast_address)


def _within(address: str, bounds: Sequence[tuple[int, int]]) -> bool:
    number = int(IPv4Address(address))
    return any(first <= number <= last for first, last in bounds)
