"""How a service finds others: extra_hosts, dns, dns_search, dns_opt, links and external_links → `Lookup`."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from orchestrator.stack.context import Context
from orchestrator.stack.forms import listed
from orchestrator.stack.model import Lookup
from orchestrator.stack.places import Path

HOST_GATEWAY = "host-gateway"  # the host, as it is seen from the container


def lookup(context: Context, data: dict[str, Any], path: Path) -> Lookup:
    return Lookup(
        extra_hosts=context.read(data, path, "extra_hosts", extra_hosts, {}),
        dns=context.read(data, path, "dns", _resolvers, ()),
        dns_search=tuple(listed(data.get("dns_search"))),
        dns_opt=tuple(listed(data.get("dns_opt"))),
        links=_links(listed(data.get("links"))),
        external_links=_links(listed(data.get("external_links"))),
    )


def extra_hosts(value: Any) -> dict[str, tuple[str, ...]]:
    """Every form: "host:1.2.3.4", "host=1.2.3.4", "host=[::1]", {host: 1.2.3.4}, {host: [1.2.3.4, ::1]}."""
    found: dict[str, list[str]] = {}
    for host, address in _host_pairs(value):
        known = found.setdefault(host, [])
        written = address.strip().removeprefix("[").removesuffix("]")
        if written != HOST_GATEWAY and not _is_address(written):
            raise ValueError(f"expected an address or {HOST_GATEWAY} for host {host!r}, but found {address!r}")
        if written not in known:
            known.append(written)
    return {host: tuple(addresses) for host, addresses in found.items()}


def _host_pairs(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [(host, one) for host, addresses in value.items() for one in listed(addresses)]
    pairs = []
    for word in listed(value):
        found = re.fullmatch(r"([^=:\s]+)[=:](.+)", word)
        if not found:
            raise ValueError(f"expected HOST=ADDRESS, but found {word!r}")
        pairs.append((found[1], found[2]))
    return pairs


def _resolvers(value: Any) -> tuple[str, ...]:
    words = listed(value)
    for word in words:
        if not _is_address(word):
            raise ValueError(f"expected the address of a resolver, but found {word!r}")
    return tuple(words)


def _links(words: list[str]) -> dict[str, str]:
    """ "db" and "db:database" → alias → what it stands for."""
    pairs = (word.partition(":") for word in words)
    return {alias or name: name for name, _, alias in pairs}


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
