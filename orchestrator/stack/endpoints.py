"""How a service stands in one network: addresses, names, and the interface it gets there."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from orchestrator.stack.context import Context
from orchestrator.stack.forms import paired
from orchestrator.stack.model import Attachment
from orchestrator.stack.places import Path, did_you_mean

_INTERFACE = re.compile(r"[^\s/:]{1,15}")
_SYSCTL = re.compile(r"net\.(?:ipv4|ipv6|mpls)\.(?:conf|neigh)\.IFNAME\.[a-z0-9_]+")
_IFNAME, _SYSCTLS = "com.docker.network.endpoint.ifname", "com.docker.network.endpoint.sysctls"


def endpoint(context: Context, data: dict[str, Any], path: Path) -> Attachment:
    options, here = paired(data.get("driver_opts")), (*path, "driver_opts")
    for key in options:
        if key not in (_IFNAME, _SYSCTLS):
            near = did_you_mean(key, (_IFNAME, _SYSCTLS))
            context.complain((*here, key), f"this option of an endpoint is not obeyed; remove it{near}", key=True)
    named = context.read(options, here, _IFNAME, interface, None)
    return Attachment(
        aliases=tuple(alias for alias in data.get("aliases", ()) if alias is not None),
        ipv4_address=context.read(data, path, "ipv4_address", _four, None),
        priority=int(data.get("priority", 0)),
        gw_priority=int(data.get("gw_priority", 0)),
        mac_address=context.read(data, path, "mac_address", mac, None),
        ipv6_address=context.read(data, path, "ipv6_address", lambda word: str(ipaddress.IPv6Address(word)), None),
        interface_name=context.read(data, path, "interface_name", interface, None) or named,
        link_local=context.read(data, path, "link_local_ips", _link_local, ()),
        sysctls=context.read(options, here, _SYSCTLS, _sysctls, ()),
    )


def mac(word: Any) -> str:
    found = str(word).lower().replace("-", ":")
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", found):
        raise ValueError(f"expected a hardware address such as 02:42:ac:11:65:43, but found {word!r}")
    if int(found[:2], 16) & 1:
        raise ValueError(f"{found} is an address of a group; a container needs one of its own (an even first byte)")
    return found


def interface(word: Any) -> str:
    if not _INTERFACE.fullmatch(str(word)) or word in (".", "..", "lo"):
        raise ValueError(f"expected the name of an interface, at most 15 characters, but found {word!r}")
    return str(word)


def _four(word: Any) -> str:
    try:
        return str(ipaddress.IPv4Address(word))
    except ValueError:
        raise ValueError(f"expected an IPv4 address, but found {word!r}") from None


def _link_local(words: list[Any]) -> tuple[str, ...]:
    """Link-local ones with the prefix length of the networks that are set apart for them (RFC 3927, RFC 4291), others,
    which the Specification's own example has, alone."""
    found = []
    for word in words:
        try:
            address = ipaddress.ip_address(word)
        except ValueError:
            raise ValueError(f"expected an address such as 169.254.8.8, but found {word!r}") from None
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            raise ValueError(f"expected an address that an interface may have, but found {word!r}")
        length = address.max_prefixlen if not address.is_link_local else 16 if address.version == 4 else 64
        found.append(f"{address}/{length}")
    return tuple(found)


def _sysctls(text: str) -> tuple[tuple[str, str], ...]:
    """ "net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0", as Docker takes it."""
    found = []
    for word in filter(None, str(text).split(",")):
        name, equals, value = word.strip().partition("=")
        if not equals or not _SYSCTL.fullmatch(name):
            raise ValueError(f"expected net.ipv4.conf.IFNAME.SETTING=VALUE, but found {word!r}")
        found.append((name, value))
    return tuple(found)
