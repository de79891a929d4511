"""The stack's networks, and how a service stands in them: `networks`, `network_mode`, `mac_address`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from orchestrator.stack.context import Context
from orchestrator.stack.endpoints import endpoint, mac
from orchestrator.stack.forms import paired
from orchestrator.stack.model import Attachment, Network
from orchestrator.stack.places import Path, did_you_mean
from orchestrator.stack.resources import labels, name_of, only

BRIDGE = "(bridge)"  # key of the network that `network_mode: bridge` means, shared by all stacks; no user can write it
_DOCKER = "com.docker.network."
# Options of Docker's bridge driver that say what pyorch's networks do anyway.
_SO_ANYWAY = {
    f"{_DOCKER}bridge.enable_icc": "true",
    f"{_DOCKER}bridge.enable_ip_masquerade": "true",
    f"{_DOCKER}bridge.default_bridge": "false",
    f"{_DOCKER}bridge.inhibit_ipv4": "false",
}
_NAME, _MTU = f"{_DOCKER}bridge.name", f"{_DOCKER}driver.mtu"
_Config: TypeAlias = "tuple[Path, dict[str, Any]]"
_INTERFACE = re.compile(r"[^\s/:]{1,15}")


def networks(context: Context, written: dict[str, Any], used: Iterable[str]) -> dict[str, Network]:
    """Those of the written networks (and "default") that some service uses. All written ones are checked."""
    made = {key: _network(context, key, data or {}) for key, data in written.items()}
    made.setdefault("default", Network("default", f"{context.stack}_default"))
    made[BRIDGE] = Network(BRIDGE, "bridge")
    return {key: made[key] for key in sorted(set(used)) if key in made}


def _network(context: Context, key: str, data: dict[str, Any]) -> Network:
    path: Path = ("networks", key)
    external, name = name_of(context, data, path, key)
    if external:
        only(context, data, path)
    four, six = _subnets(context, data, path)
    subnet, gateway = _addresses(context, four[0][1], four[0][0]) if four else (None, None)
    made = Network(key, name, subnet, gateway, bool(data.get("internal", False)), external, labels(data.get("labels")))
    if subnet and four:
        made = _reserve(context, made, four[0][1], four[0][0])
    if data.get("enable_ipv6"):
        made = _with_ipv6(context, made, *six[0]) if six else replace(made, enable_ipv6=True)
    elif six:
        context.complain((*six[0][0], "subnet"), "an IPv6 subnet needs enable_ipv6: true")
    return _options(context, made, paired(data.get("driver_opts")), (*path, "driver_opts"))


def _subnets(context: Context, data: dict[str, Any], path: Path) -> tuple[list[_Config], list[_Config]]:
    """The `ipam.config` for IPv4 and that for IPv6, each with its place: one of each kind."""
    four: list[_Config] = []
    six: list[_Config] = []
    for index, config in enumerate((data.get("ipam") or {}).get("config") or ()):
        here = (*path, "ipam", "config", index)
        mine = six if config and ":" in str(config.get("subnet")) else four
        if config and mine:
            context.complain(
                here, "a second subnet is part of the Compose Specification but pyorch does not obey it yet; remove it"
            )
        elif config:
            mine.append((here, config))
    return four, six


def _with_ipv6(context: Context, network: Network, path: Path, config: dict[str, Any]) -> Network:
    def subnet(word: Any) -> str:
        found = ipaddress.IPv6Network(word)
        if found.prefixlen > 112:
            raise ValueError(f"{word} has no room for containers; take a prefix of /112 or shorter")
        return str(found)

    for key in ("ip_range", "aux_addresses"):
        if key in config:
            context.complain((*path, key), "is not obeyed for IPv6: addresses follow from those of IPv4; remove it")
    return replace(
        network,
        enable_ipv6=True,
        subnet6=context.read(config, path, "subnet", subnet, None),
        gateway6=context.read(config, path, "gateway", lambda word: str(ipaddress.IPv6Address(word)), None),
    )


def _reserve(context: Context, network: Network, config: dict[str, Any], path: Path) -> Network:
    """`ip_range`: where containers get their addresses from; `aux_addresses`: what none of them gets."""
    whole = ipaddress.IPv4Network(network.subnet or "", strict=False)

    def part(word: Any) -> str:
        inner = ipaddress.IPv4Network(word, strict=False)
        if not inner.subnet_of(whole):
            raise ValueError(f"{word} is not in the subnet {network.subnet}")
        return str(inner)

    def spared(written: Any) -> tuple[str, ...]:
        found = [ipaddress.IPv4Address(address) for address in paired(written).values()]
        if outside := [address for address in found if address not in whole]:
            raise ValueError(f"{outside[0]} is not in the subnet {network.subnet}")
        return tuple(map(str, found))

    return replace(
        network,
        ip_range=context.read(config, path, "ip_range", part, None),
        reserved=context.read(config, path, "aux_addresses", spared, ()),
    )


def _options(context: Context, network: Network, options: dict[str, str], path: Path) -> Network:
    """`driver_opts`: those of Docker's bridge driver that mean something here."""
    for key, value in options.items():
        if key == _MTU and value.isdecimal() and 68 <= int(value) <= 65535:
            network = replace(network, mtu=int(value))
        elif key == _NAME and _INTERFACE.fullmatch(value):
            network = replace(network, interface=value)
        elif key in (_MTU, _NAME):
            wanted = "a number from 68 to 65535" if key == _MTU else "a name of at most 15 characters"
            context.complain((*path, key), f"expected {wanted}, but found {value!r}")
        elif key in _SO_ANYWAY and value.lower() == _SO_ANYWAY[key]:
            continue
        elif key in _SO_ANYWAY:
            context.complain((*path, key), f"only {_SO_ANYWAY[key]!r} is obeyed; remove it", key=True)
        else:
            near = did_you_mean(key, (_NAME, _MTU, *_SO_ANYWAY))
            context.complain((*path, key), f"this option of a network driver is not obeyed; remove it{near}", key=True)
    return network


def _addresses(context: Context, config: dict[str, Any], path: Path) -> tuple[str | None, str | None]:
    subnet, gateway = config.get("subnet"), config.get("gateway")
    try:
        range_ = ipaddress.IPv4Network(subnet) if subnet else None
    except ValueError as error:
        context.complain(
            (*path, "subnet"), f"expected an IPv4 subnet such as 10.5.0.0/24, but found {subnet!r}: {error}"
        )
        return None, None
    if range_ and range_.prefixlen > 29:
        context.complain((*path, "subnet"), f"{subnet} has no room for containers; take a prefix of /29 or shorter")
    try:
        address = ipaddress.IPv4Address(gateway) if gateway else None
    except ValueError:
        context.complain((*path, "gateway"), f"expected an IPv4 address, but found {gateway!r}")
        return subnet, None
    if address and not range_:
        context.complain((*path, "gateway"), "a gateway needs a subnet beside it")
    elif address and range_ and address not in range_:
        context.complain((*path, "gateway"), f"{gateway} is not in the subnet {subnet}")
    return subnet, gateway


def network_mode(context: Context, service: dict[str, Any], path: Path) -> str | None:
    """ "none", "host", "bridge", "service:X", "container:X"; None: the networks say it."""
    mode = service.get("network_mode")
    if not mode:
        return None
    kind, _, name = str(mode).partition(":")
    if mode in ("none", "host", "bridge") or (kind in ("service", "container") and name):
        if service.get("networks"):
            context.complain((*path, "network_mode"), "excludes 'networks'; write one of the two", key=True)
        return str(mode)
    if mode == "default":
        return "bridge"
    context.complain(
        (*path, "network_mode"), f"expected none, host, bridge, service:NAME or container:NAME, but found {mode!r}"
    )
    return None


def attachments(context: Context, service: dict[str, Any], path: Path) -> dict[str, Attachment]:
    """The networks of a service by their keys; the default one where none is written."""
    written = service.get("networks")
    if mode := network_mode(context, service, path):
        return _with_mac(context, service, path, {BRIDGE: Attachment()} if mode == "bridge" else {})
    if not written:
        return _with_mac(context, service, path, {"default": Attachment()})
    result: dict[str, Attachment] = {}
    for key, data in written.items():
        result[key] = endpoint(context, data or {}, (*path, "networks", key))
    return _with_mac(context, service, path, result)


def _with_mac(
    context: Context, service: dict[str, Any], path: Path, made: dict[str, Attachment]
) -> dict[str, Attachment]:
    """The older `mac_address` of the service itself is that of its first network."""
    found = context.read(service, path, "mac_address", mac, None)
    if found is None or not made:
        return made
    first = max(made, key=lambda key: made[key].priority)
    if made[first].mac_address not in (None, found):
        context.complain((*path, "mac_address"), f"networks.{first}.mac_address says otherwise; write one of the two")
    return made | {first: replace(made[first], mac_address=found)}
