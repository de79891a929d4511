"""What others do to the networks: bridges, links, addresses, rules. The kernel tells (rtnetlink(7)); nothing is asked
of it while nothing changes, but for one number: how often anybody has changed a rule.

The socket that tells of a container's own network is made inside its namespace and closed at its end: it would keep the
namespace alive.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.agent import clock
from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.finds import Find
from orchestrator.agent.wiring import End, Wiring
from orchestrator.kernel import netlink
from orchestrator.kernel.netlink import Netlink
from orchestrator.network import attach, firewall
from orchestrator.reconcile import drift
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root

LINKS = netlink.RTMGRP_LINK | netlink.RTMGRP_IPV4_IFADDR
INSIDE = LINKS | netlink.RTMGRP_IPV4_ROUTE
AT_ONCE = 20  # containers that are begun to be followed in one look
RULES_EVERY = 0.4  # seconds
LINKS_EVERY = 0.4  # seconds; an `up` of a hundred changes links all the time, and to list them costs milliseconds


class NetworkLooker:
    """`told` is set when there is something to look at. `rules`: what is amiss with the packet filter; "": nothing."""

    def __init__(self, root: Root, wiring: Wiring, containers: Containers, told: asyncio.Event) -> None:
        self._root = root
        self._wiring = wiring
        self._containers = containers
        self._told = told
        self._host = netlink.subscribed(LINKS)
        self._host_changed = True
        self._host_looked = 0.0
        self._inside: dict[str, socket.socket] = {}  # container id → what tells of its network
        self._changed: set[str] = set()
        self._short: set[str] = set()  # what of their ids is in the names of their links
        self._rules_looked = 0.0
        self._generation = 0
        self._ruleset: firewall.Ruleset | None = None
        self._written: tuple[tuple[bytes, bytes], ...] = ()
        self.rules = ""
        asyncio.get_running_loop().add_reader(self._host, self._hear_host)

    # being told

    def _hear_host(self) -> None:
        """A machine may have other links by the hundred: only what is told of ours is worth a look."""
        for kind, body in netlink.heard(self._host):
            if kind == netlink.NLMSG_ERROR or self._is_ours(netlink.subject(kind, body)):
                self._host_changed = True
                self._told.set()

    def _is_ours(self, subject: str | int) -> bool:
        if isinstance(subject, int):
            return subject in self._wiring.bridges.values()
        return subject.startswith(self._root.bridge(0)[:-1]) or subject[2:12] in self._short

    def _hear(self, id: str) -> None:
        for _ in netlink.heard(self._inside[id]):
            self._changed.add(id)
            self._told.set()

    def _follow(self, busy: frozenset[str]) -> None:
        """Those that run and have an address. Of what befell them until now nobody told: they are looked at."""
        running = {r.id: r for r in self._containers if r.phase == "running" and r.addresses and r.name not in busy}
        for id in self._inside.keys() - running.keys():
            self.forget(id)
        for id in [id for id in running if id not in self._inside][:AT_ONCE]:
            record = running[id]
            try:
                with netlink.namespace_of(record.pid or 0):
                    self._inside[id] = netlink.subscribed(INSIDE)
            except OSError:
                continue  # it has just ended, which will be told
            self._short.add(id[:10])
            asyncio.get_running_loop().add_reader(self._inside[id], self._hear, id)
            self._changed.add(id)

    def forget(self, id: str) -> None:
        """The container has ended."""
        self._changed.discard(id)
        self._short.discard(id[:10])
        if (told := self._inside.pop(id, None)) is not None:
            asyncio.get_running_loop().remove_reader(told)
            told.close()

    def again(self) -> None:
        """The last look did not see all there is."""
        self._host_changed = True

    # looking

    def look(self, wanted: Sequence[Wanted], busy: frozenset[str]) -> list[Find]:
        """What has just been found; the records and the wiring know it from then on. Raises OSError."""
        self._follow(busy)
        found: list[Find] = []
        soon = self._host_changed and clock.now() - self._host_looked < LINKS_EVERY
        if self._host_changed and not soon:
            self._host_changed, self._host_looked = False, clock.now()
            with Netlink() as kernel:
                links = {link.name: link for link in netlink.links(kernel)}
                addresses = set(netlink.addresses(kernel))
            found += self._bridges(wanted, links, addresses, busy)
            found += [find for record in self._attached(busy) for find in self._links(record, links)]
        changed = [] if soon or not self._changed else [one for one in self._attached(busy) if one.id in self._changed]
        for record in changed:  # a link that has gone took its address along
            self._changed.discard(record.id)
            found += self._addresses(record)
        if clock.now() - self._rules_looked >= RULES_EVERY:
            self._rules_looked = clock.now()
            found += self._rules(wanted)
        return found

    def _attached(self, busy: frozenset[str]) -> Iterator[Record]:
        """Those that still have their namespace; who has just lost it has ended, and his links with him."""
        for record in self._containers:
            there = record.id in self._inside and record.phase == "running" and record.name not in busy
            if there and os.path.exists(f"/proc/{record.pid}/ns/net"):
                yield record

    def _bridges(
        self, wanted: Sequence[Wanted], links: dict[str, netlink.Link], addresses: set[tuple[int, str]],
        busy: frozenset[str],
    ) -> Iterator[Find]:  # fmt: skip
        stacks = {one.stack.name: one.stack for one in wanted}
        for lease in list(self._wiring.leases.values()):
            name, gateway = self._root.bridge(lease.number), f"{lease.gateway}/{lease.subnet.rpartition('/')[2]}"
            known, link = name in self._wiring.bridges, links.get(name)
            if lease.name in busy or not (known or lease.name in self._wiring.broken):
                continue  # it is just being made or dropped, or was not made yet
            why = _amiss(name, gateway, link, addresses)
            if why is None:
                if not known and link is not None:
                    self._wiring.found(lease, link.number)
            elif self._wiring.broken.get(lease.name) != why:
                self._wiring.lost(lease, why)
                answer = drift.of_stack(stacks[lease.stack], "network") if lease.stack in stacks else "heal"
                yield Find("network", lease.stack, "", lease.name, why, answer)

    def _links(self, record: Record, links: dict[str, netlink.Link]) -> Iterator[Find]:
        whys = (self._link(end, links) for end in self._wiring.ends(record))
        yield from _noted(record, "link", next((why for why in whys if why), None))

    def _link(self, end: End, links: dict[str, netlink.Link]) -> str | None:
        index = self._wiring.bridges.get(end.bridge)
        if index is None:
            return None  # the bridge itself is amiss
        link = links.get(end.host_name)
        if link is None:
            return f"its link to {end.network} was removed"
        if link.master != index:
            return f"its link was taken out of {end.network}"
        return None if link.up else f"its link to {end.network} was set down"

    def _addresses(self, record: Record) -> Iterator[Find]:
        if "NET_ADMIN" in record.definition.cap_add or record.definition.sandbox.privileged:
            return  # its addresses and routes are its own affair: a VPN, a router
        why = None
        try:
            for end in self._wiring.ends(record):
                why = why or attach.furnished(record.pid or 0, end.inside, end.address, end.gateway)
        except OSError:
            return  # it has just ended
        yield from _noted(record, "address", None if "link" in record.drifted else why)

    def _rules(self, wanted: Sequence[Wanted]) -> Iterator[Find]:
        """Compared with how the kernel showed them when they had just been written."""
        ruleset, table = self._wiring.rules, self._root.table
        if ruleset is None or not ruleset.networks:
            self._ruleset, self.rules = None, ""
            return
        generation = firewall.generation()
        if generation == self._generation and ruleset is self._ruleset:
            return
        self._generation, present = generation, firewall.written(table)
        why = f"{len(present)} rules of the packet filter are there, and {self._wiring.rules_written} were written"
        if ruleset is not self._ruleset and len(present) == self._wiring.rules_written:
            self._ruleset, self._written = ruleset, present  # as they were written
        if ruleset is self._ruleset:
            why = _rules_amiss(self._written, present)
        news = bool(why) and why != self.rules
        self.rules = why
        if news:
            yield Find("rules", "", "", table, why, drift.of_all(wanted, "rules"))


def _amiss(name: str, gateway: str, link: netlink.Link | None, addresses: set[tuple[int, str]]) -> str | None:
    if link is None:
        return f"its bridge {name} was removed"
    if not link.up:
        return f"its bridge {name} was set down"
    return None if (link.number, gateway) in addresses else f"the address {gateway} was removed from its bridge {name}"


def _rules_amiss(expected: Sequence[tuple[bytes, bytes]], present: Sequence[tuple[bytes, bytes]]) -> str:
    if not present:
        return "the rules of the packet filter were flushed"
    gone, come = Counter(expected) - Counter(present), Counter(present) - Counter(expected)
    told = [f"{rules.total()} {word}" for rules, word in ((gone, "removed"), (come, "added")) if rules]
    return f"rules of the packet filter were changed: {', '.join(told)}" if told else ""


def _noted(record: Record, kind: str, why: str | None) -> Iterator[Find]:
    if record.drift(kind, why) and why:
        answer = record.definition.healing.answer(kind)
        yield Find(kind, record.stack, record.service, record.name, why, answer)


def mend(wiring: Wiring, record: Record) -> None:
    """Its links and addresses are as they should be again. Raises HostRefused."""
    with Netlink() as kernel:
        links = {link.name for link in netlink.links(kernel)}
    for end in wiring.ends(record):
        if end.bridge not in wiring.bridges:
            continue  # its network comes first
        if end.host_name in links and _has(record, end.inside):
            attach.join(end.host_name, wiring.bridges[end.bridge])
            attach.furnish_again(record.pid or 0, end.inside, end.address, end.gateway, end.six)
        else:
            attach.detach(end.host_name)
            wiring.attach(record, end)


def _has(record: Record, inside: str) -> bool:
    with netlink.namespace_of(record.pid or 0):
        kernel = Netlink()
    with kernel:
        return any(link.name == inside for link in netlink.links(kernel))
