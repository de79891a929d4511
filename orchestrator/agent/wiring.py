"""Networks of the agent: who has which bridge, address and name; which published port leads to whom.

Leases live in the store, so addresses are stable over restarts. What the kernel and dns should show follows from the
wanted stacks and the living containers: `settle` computes it each turn and touches only what differs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.agent.containers import Containers, Record
from orchestrator.agent.host_ports import HostPorts, wanted_services
from orchestrator.agent.introductions import Introductions
from orchestrator.agent.store import NetworkLease, Store
from orchestrator.agent.zone_files import ZoneFiles, member
from orchestrator.errors import Conflict, Missing
from orchestrator.network import attach, bridges, firewall, pool, pool6
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.stack.model import Attachment, Network, Service


@dataclass(frozen=True, slots=True)
class End:
    """One interface of a container: its two ends, and what it is furnished with. See `network.attach`."""

    network: str
    bridge: str
    host_name: str
    inside: str
    address: str  # with prefix length
    mac: str
    gateway: str | None
    six: tuple[str, str | None] | None
    more: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()


class Wiring:
    """All networks of one agent."""

    def __init__(self, root: Root, store: Store, containers: Containers) -> None:
        self._root = root
        self._store = store
        self._containers = containers
        self.leases: dict[str, NetworkLease] = {lease.name: lease for lease in store.networks()}
        self._addresses: dict[str, dict[str, str]] = {name: {} for name in self.leases}
        for network, container, address in store.addresses():
            self._addresses.setdefault(network, {})[container] = address
        self._latest: dict[str, str] = {}  # network → address leased last: freed ones are not reused at once
        self._bridges = bridges.listing(f"po{root.instance}b")
        self.ports = HostPorts(store, containers)
        self.introductions = Introductions(root)
        self._rules: firewall.Ruleset | None = None
        self._zones = ZoneFiles(root)
        self.rules_written = 0  # how many they were
        self.broken: dict[str, str] = {}  # networks whose bridge somebody has broken, and how
        self._drop_strangers()

    def _drop_strangers(self) -> None:
        """Bridges and zones of ours that no lease knows: a predecessor died while making or dropping them.

        A bridge that something hangs on stays, whoever forgot its lease: a container may need it.
        """
        known = {self._root.bridge(lease.number) for lease in self.leases.values()}
        for name in set(self._bridges) - known:
            if not os.listdir(f"/sys/class/net/{name}/brif"):
                bridges.drop(name)
                del self._bridges[name]
        self._zones.drop_strangers(known)

    @property
    def existing(self) -> frozenset[str]:
        """Names of the networks that have their bridge."""
        return frozenset(n for n, lease in self.leases.items() if self._root.bridge(lease.number) in self._bridges)

    def unnamed(self, wanted: Sequence[Wanted]) -> dict[str, str]:
        """Networks that their stack no longer names and no container is in, and whose they were."""
        stacks = {one.stack.name: one.stack for one in wanted}
        named = {network.name for stack in stacks.values() for network in stack.networks.values()}
        left = {one.name: one.stack for one in self.leases.values() if one.name not in named and one.stack in stacks}
        if not left:
            return {}
        return {name: stack for name, stack in left.items() if not any(name in r.addresses for r in self._containers)}

    # networks

    def make(self, stack: str, network: Network) -> str:
        """The bridge of a network, with a subnet away from the host's routes; returns what was made, for the history.

        Raises Conflict where no subnet is left, HostRefused where the kernel says no.
        """
        lease = self.leases.get(network.name)
        if lease is None:
            taken = [*bridges.host_routes(), *(other.subnet for other in self.leases.values())]
            subnet = pool.choose_subnet(network.subnet, taken)
            used = {other.number for other in self.leases.values()}
            number = next(n for n in range(10_000) if n not in used)
            gateway = network.gateway or pool.gateway(subnet).partition("/")[0]
            lease = NetworkLease(network.name, stack, number, subnet, gateway, network.internal)
            if network.enable_ipv6:
                subnet6 = network.subnet6 or pool6.subnet(self._root.instance, number)
                lease = replace(lease, subnet6=subnet6, gateway6=network.gateway6 or pool6.gateway(subnet6))
            self._store.put_network(lease)
            self._store.commit()  # intent first: whoever finds the bridge must know whose it is
            self.leases[network.name] = lease
            self._addresses[network.name] = {}
        name = self._root.bridge(lease.number)
        prefix = lease.subnet.rpartition("/")[2]
        six = f"{lease.gateway6}/{lease.subnet6.rpartition('/')[2]}" if lease.subnet6 else None
        self._bridges[name] = bridges.make(name, f"{lease.gateway}/{prefix}", network.mtu, network.interface, six)
        for record in self._containers:  # none, unless a bridge that was in use is made again
            if record.phase == "running" and network.name in record.addresses:
                attach.join(self._host_name(record, list(record.addresses).index(network.name)), self._bridges[name])
        self.broken.pop(network.name, None)
        return f"{lease.subnet} on {name}"

    async def drop(self, name: str) -> None:
        """Bridge, zone and leases of a network go."""
        lease = self.leases.get(name)
        if lease is None:
            return
        bridge = self._root.bridge(lease.number)
        await asyncio.to_thread(bridges.drop, bridge)  # the kernel waits for its readers: tens of milliseconds
        self.leases.pop(name, None)
        self._bridges.pop(bridge, None)
        self._addresses.pop(name, None)
        self.broken.pop(name, None)
        self._store.drop_network(name)

    # addresses

    def lease(self, written: Network, container: str, wanted: str | None) -> str:
        """The address of a container in a network: the one it had, else the one written, else a free one."""
        network, lease = written.name, self.leases.get(written.name)
        if lease is None:
            raise Missing(f"cannot attach {container} to network {network!r}: it does not exist")
        mine = self._addresses[network]
        address = mine.get(container)
        if address is None or (wanted is not None and address != wanted):
            address = self._free_address(lease, container, wanted, written)
            mine[container] = address
            self._latest[network] = address
            self._store.put_address(network, container, address)
        return address

    def recall(self) -> None:
        """After a new start of the agent: what a container has is leased, also where that was not written in time."""
        for record in self._containers:
            for network, address in record.addresses.items():
                leased = self._addresses.get(network, {})
                if network in self.leases and leased.get(record.name) != address:
                    leased[record.name] = address
                    self._store.put_address(network, record.name, address)

    def _free_address(self, lease: NetworkLease, container: str, wanted: str | None, written: Network) -> str:
        mine = self._addresses[lease.name]
        others = {address: who for who, address in mine.items() if who != container}
        if wanted is not None:
            holder = others.get(wanted)
            if holder is not None and self._containers.named(holder) is not None:
                raise Conflict(f"cannot give {container} the address {wanted}: {holder} has it")
            return wanted
        latest, kept = self._latest.get(lease.name), {lease.gateway, *written.reserved}
        try:
            return pool.choose_address(lease.subnet, {*others, *kept}, latest, written.ip_range)
        except Conflict:
            # Only now do slots that are gone give their address back: a replaced container keeps its own.
            gone = [who for who in mine if who != container and self._containers.named(who) is None]
            if not gone:
                raise
            for who in gone:
                del mine[who]
                self._store.drop_address(lease.name, who)
            return pool.choose_address(lease.subnet, {*mine.values(), *kept}, latest, written.ip_range)

    def connect(self, record: Record) -> None:
        """Wire a created container to its networks. Raises HostRefused.

        Its way out is the first that is not internal: the one that published ports come in by.
        """
        if record.definition.network_mode == "none":
            attach.loopback(record.pid or 0)
        for end in self.ends(record):
            self.attach(record, end)
        for bridge, address in self._standing(record):
            self.introductions.introduce(record, bridge, address, fresh=True)

    def ends(self, record: Record) -> list[End]:
        """The interfaces that a container has, or is to have, in their order."""
        outward, found = self._outward(record), []
        for number, (name, address) in enumerate(record.addresses.items()):
            lease = self.leases.get(name)
            if lease is None:
                continue  # its network was dropped under it
            attached = record.definition.networks.get(record.network_keys[name], Attachment())
            found.append(
                End(
                    network=name,
                    bridge=self._root.bridge(lease.number),
                    host_name=self._host_name(record, number),
                    inside=attached.interface_name or f"eth{number}",
                    address=f"{address}/{lease.subnet.rpartition('/')[2]}",
                    mac=attached.mac_address or pool.mac(address),
                    gateway=lease.gateway if name == outward else None,
                    six=self._six(record, name, lease.gateway6 if name == outward else None),
                    more=attached.link_local,
                    settings=attached.sysctls,
                )
            )
        return found

    def attach(self, record: Record, end: End) -> None:
        """Raises HostRefused."""
        attach.attach(
            record.pid or 0,
            host_name=end.host_name,
            bridge_index=self._bridges[end.bridge],
            address=end.address,
            gateway=end.gateway,
            inside=end.inside,
            mac=end.mac,
            mtu=bridges.mtu(end.bridge),
            six=end.six,
            more=end.more,
            settings=end.settings,
        )

    def introduce_all(self) -> None:
        """dns answers on 127.0.0.11 in every container that runs; cheap where it does already."""
        running = [record for record in self._containers if record.phase == "running" and record.pid]
        self.introductions.introduce_all((r, *place) for r in running for place in self._standing(r))

    def _standing(self, record: Record) -> list[tuple[str, str]]:
        """Bridge and address that tell dns who a container is; none where it has no network of its own."""
        return [(bridge, record.addresses[name]) for name, bridge in self._bridges_of(record).items()][:1]

    def _bridges_of(self, record: Record) -> dict[str, str]:
        return {name: self._root.bridge(self.leases[name].number) for name in record.addresses if name in self.leases}

    def six(self, record: Record, network: str) -> str | None:
        """The IPv6 address of a container in a network that has any."""
        lease = self.leases.get(network)
        if lease is None or not lease.subnet6:
            return None
        attached = record.definition.networks.get(record.network_keys[network])
        written = attached.ipv6_address if attached else None
        return written or pool6.address(lease.subnet6, record.addresses[network], lease.subnet)

    def _six(self, record: Record, network: str, gateway: str | None) -> tuple[str, str | None] | None:
        address = self.six(record, network)
        return (f"{address}/{self.leases[network].subnet6.rpartition('/')[2]}", gateway or None) if address else None

    def _host_name(self, record: Record, number: int) -> str:
        """Fresh for each run: the kernel takes the former one away late (15-80 ms after the death)."""
        return self._root.veth(record.id, number) + "abcdefghijklmnop"[record.runs % 16]

    def nameservers(self, record: Record) -> list[str]:
        return [self.leases[name].gateway for name in record.addresses]

    # what follows from the world

    def settle(self, wanted: Sequence[Wanted]) -> None:
        """Make firewall and zones show the present world; nothing is touched where it does already."""
        running = [record for record in self._containers if record.phase == "running" and not record.helper]
        services = wanted_services(wanted) | {(r.stack, r.name): r.definition for r in running if r.one_off}
        publications = self._publications(services, running)
        self.ports.release({(p.host_ip, p.port, p.protocol) for p in publications}, services)
        networks = tuple(
            firewall.Network(self._root.bridge(lease.number), lease.subnet, lease.internal, lease.subnet6)
            for lease in self.leases.values()
            if self._root.bridge(lease.number) in self._bridges
        )
        rules = firewall.Ruleset(networks, publications)
        if self._rules != rules:
            if networks:
                self.rules_written = firewall.apply(self._root.table, networks, publications)
            elif firewall.present(self._root.table):
                firewall.remove(self._root.table)
            self._forget_flows(self._rules, rules)
            self._rules = rules
        here = {self._root.bridge(lease.number): lease for lease in self.leases.values()}
        present = {bridge: lease for bridge, lease in here.items() if bridge in self._bridges}
        self._zones.show(present, wanted, [member(record, self._bridges_of(record), self.six) for record in running])

    def _forget_flows(self, before: firewall.Ruleset | None, after: firewall.Ruleset) -> None:
        """A UDP client that goes on sending would keep its flow to a target that is gone."""
        gone = _udp_targets(before) - _udp_targets(after) if before is not None else set()
        if gone:
            firewall.forget(gone)

    # what others do to it: see netdrift.py

    @property
    def bridges(self) -> Mapping[str, int]:
        """Those that are as they should be, and their index."""
        return self._bridges

    def lost(self, lease: NetworkLease, why: str) -> None:
        """Somebody has broken its bridge: until `make`, or until it is `found` as it should be, there is none."""
        self._bridges.pop(self._root.bridge(lease.number), None)
        self.broken[lease.name] = why

    def found(self, lease: NetworkLease, index: int) -> None:
        self._bridges[self._root.bridge(lease.number)] = index
        self.broken.pop(lease.name, None)

    @property
    def rules(self) -> firewall.Ruleset | None:
        """What the packet filter was told last."""
        return self._rules

    def write_rules_again(self) -> None:
        """With the next turn."""
        self._rules = None

    def _publications(
        self, services: Mapping[tuple[str, str], Service], running: list[Record]
    ) -> tuple[firewall.Publication, ...]:
        found = []
        replicas: dict[tuple[str, str], list[Record]] = {}
        for record in running:
            replicas.setdefault((record.stack, record.name if record.one_off else record.service), []).append(record)
        for (stack, name), service in services.items():
            for port, host_port in self.ports.published(stack, service):
                if self.ports.held(port, host_port):
                    six = ":" in port.host_ip
                    targets = self._targets(replicas.get((stack, name), []), port.target, six)
                    found.append(firewall.Publication(port.host_ip, host_port, port.protocol, targets))
        return tuple(found)

    def _targets(self, replicas: list[Record], port: int, six: bool) -> tuple[tuple[str, int], ...]:
        staying = [record for record in replicas if not record.draining]
        ready = [record for record in staying if record.answers] or staying
        found = []
        for record in sorted(ready, key=lambda r: r.slot):
            outward = self._outward(record)
            address = None if outward is None else self.six(record, outward) if six else record.addresses[outward]
            if address is not None:
                found.append((address, port))
        return tuple(found)

    def _outward(self, record: Record) -> str | None:
        """The network through which a container meets the world; None where all of its networks are internal."""
        open_ = [name for name in record.addresses if name in self.leases and not self.leases[name].internal]
        attached, keys = record.definition.networks, record.network_keys
        chosen = {name: attached[keys[name]].gw_priority if keys[name] in attached else 0 for name in open_}
        return max(open_, key=lambda name: chosen[name]) if open_ else None


def _udp_targets(rules: firewall.Ruleset) -> set[str]:
    return {address for p in rules.publications if p.protocol == "udp" for address, _ in p.targets}
