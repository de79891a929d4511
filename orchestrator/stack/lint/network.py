"""Ports of the host, and networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.stack.lint.finding import Finding, Subject, replicas
from orchestrator.stack.places import Path

_EVERYWHERE = ("", "0.0.0.0", "::")


def port_clash(subject: Subject) -> Iterator[Finding]:
    """Two containers that want the same port of the host."""
    taken: dict[tuple[int, str], list[tuple[str, str, Path]]] = {}
    for name, service in subject.services.items():
        for index, port in enumerate(service.get("ports") or ()):
            path: Path = ("services", name, "ports", index)
            number = _fixed(port)
            if number is None:
                continue
            protocol, address = str(port.get("protocol") or "tcp"), str(port.get("host_ip") or "")
            shown = f"{address or '*'}:{number}/{protocol}"
            others = taken.setdefault((number, protocol), [])
            clash = next((other for other in others if _overlap(other[0], address)), None)
            if clash:
                line = subject.marks[clash[2]][1].start_mark.line + 1 if clash[2] in subject.marks else 0
                yield Finding(
                    path, f"{shown} is published by service '{clash[1]}' already (line {line})", "choose another port"
                )
            elif replicas(service) > 1:
                text = f"{shown} can be published once, but there are {replicas(service)} replicas"
                yield Finding(
                    path, text, f"publish a range of ports, such as {number}-{number + replicas(service) - 1}"
                )
            others.append((address, name, path))


def _fixed(port: Any) -> int | None:
    """The one port of the host that is asked for; None where any, or one of a range, will do."""
    published = port.get("published") if isinstance(port, Mapping) else None
    text = str(published or "")
    return int(text) if text.isdecimal() else None


def _overlap(one: str, other: str) -> bool:
    if one in _EVERYWHERE or other in _EVERYWHERE:
        return "" in (one, other) or (":" in one) == (":" in other)
    return one == other


def ports_without_network(subject: Subject) -> Iterator[Finding]:
    """Where the container has no network of its own nothing can be published."""
    for name, service in subject.services.items():
        mode = str(service.get("network_mode") or "")
        if service.get("ports") and (mode in ("host", "none") or mode.startswith(("service:", "container:"))):
            yield Finding(
                ("services", name, "ports"),
                f"nothing is published: network_mode is {mode}",
                "remove ports, or network_mode",
                key=True,
            )
