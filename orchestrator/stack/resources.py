"""The stack's networks and volumes, and how a service stands in its networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from orchestrator.stack.context import Context, text
from orchestrator.stack.model import Attachment, Network, Volume
from orchestrator.stack.places import Path

BRIDGE = "(bridge)"  # key of the network that `network_mode: bridge` means, shared by all stacks; no user can write it


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
        _only(context, data, path)
    configs = [config for config in data.get("ipam", {}).get("config", ()) if config]
    if len(configs) > 1:
        context.complain(
            (*path, "ipam", "config", 1),
            "a second subnet is part of the Compose Specification but pyorch does not obey it yet; remove it",
        )
    subnet, gateway = _addresses(context, configs[0], (*path, "ipam", "config", 0)) if configs else (None, None)
    return Network(key, name, subnet, gateway, bool(data.get("internal", False)), external, labels(data.get("labels")))


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


def volumes(context: Context, written: dict[str, Any], used: Iterable[str]) -> dict[str, Volume]:
    """Those of the written volumes that some service mounts. All written ones are checked."""
    made: dict[str, Volume] = {}
    for key, data in written.items():
        external, name = name_of(context, data or {}, ("volumes", key), key)
        if external:
            _only(context, data or {}, ("volumes", key))
        made[key] = Volume(key, name, external, labels((data or {}).get("labels")), _writers(context, data or {}, key))
    return {key: made[key] for key in sorted(set(used)) if key in made}


def _writers(context: Context, data: dict[str, Any], key: str) -> int | None:
    writers = (data.get("x-pyorch") or {}).get("writers")
    if writers is not None and writers < 1:
        context.complain(("volumes", key, "x-pyorch", "writers"), f"expected 1 or more, but found {writers}")
    return writers


def name_of(context: Context, data: dict[str, Any], path: Path, key: str) -> tuple[bool, str]:
    """(external, name on the host). `external: {name: x}` is the obsolete form of `external: true` and `name: x`."""
    external, name = data.get("external", False), data.get("name")
    if isinstance(external, dict):
        context.complaints.warn(
            context.marks, (*path, "external"), "external.name is obsolete; write name: beside external: true"
        )
        return True, external.get("name") or name or key
    if name is not None and (not name or "/" in name or name.startswith(".")):
        context.complain(
            (*path, "name"), f"expected a name without '/' that does not begin with '.', but found {name!r}"
        )
    return external, name or (key if external else f"{context.stack}_{key}")


def _only(context: Context, data: dict[str, Any], path: Path) -> None:
    for key in data:
        if key not in ("external", "name") and not key.startswith("x-"):
            context.complain((*path, key), f"'{key}' cannot be set: it is external and made by somebody else", key=True)


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
        return {BRIDGE: Attachment()} if mode == "bridge" else {}
    if not written:
        return {"default": Attachment()}
    result: dict[str, Attachment] = {}
    for key, data in written.items():
        data = data or {}
        address = data.get("ipv4_address")
        if address is not None and not _is_address(address):
            context.complain(
                (*path, "networks", key, "ipv4_address"), f"expected an IPv4 address, but found {address!r}"
            )
            address = None
        aliases = tuple(alias for alias in data.get("aliases", ()) if alias is not None)
        result[key] = Attachment(aliases, address, int(data.get("priority", 0)))
    return result


def _is_address(word: str) -> bool:
    try:
        ipaddress.IPv4Address(word)
    except ValueError:
        return False
    return True


def labels(written: dict[str, Any] | None) -> dict[str, str]:
    return {key: text(value) for key, value in (written or {}).items()}
