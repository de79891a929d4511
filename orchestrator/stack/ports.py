"""`ports`: every form of the Compose Specification → one `Port` for each pair of numbers."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import replace
from typing import Any, Literal

from orchestrator.stack.context import Context, text
from orchestrator.stack.model import Port
from orchestrator.stack.places import Path

MOST = 1024  # ports of one service: each is held open on the host

_SHORT = re.compile(
    r"(?:(?:\[(?P<six>[^\]]*)\]|(?P<ip>[^:]*)):)?(?:(?P<host>[^:]*):)?(?P<target>[^:/]+)(?:/(?P<protocol>\w+))?"
)


def ports(context: Context, items: list[Any], path: Path) -> list[tuple[Port, Path]]:
    """All ports of a service with the place of each. The same port from a second file is dropped, as Compose does."""
    result: list[tuple[Port, Path]] = []
    sources: dict[Port, str] = {}
    for index, item in enumerate(items):
        here: Path = (*path, index)
        try:
            found = one(item, context.publish) if item is not None else []
        except ValueError as error:
            context.complain(here, str(error))
            continue
        if len(result) + len(found) > MOST:
            context.complain(here, f"more than {MOST} ports in one service")
            break
        source = context.marks[here][0].path
        result += [(port, here) for port in found if sources.setdefault(port, source) == source]
    return result


def one(item: Any, publish: str) -> list[Port]:
    """The ports of one element: 80, "8080:80", "127.0.0.1:8000-8002:80-82/udp" or a map. ValueError is a sentence."""
    if isinstance(item, dict):
        host, target = item.get("published"), item["target"]
        address, protocol = item.get("host_ip"), item.get("protocol", "tcp")
    else:
        found = _SHORT.fullmatch(str(item))
        if not found:
            raise ValueError(f"expected [IP:][HOST:]CONTAINER[/PROTOCOL] such as 8080:80, but found {item!r}")
        address, host, target = found["six"] or found["ip"], found["host"], found["target"]
        if address is not None and host is None:  # "8080:80" matches as ip and target: one colon means a port before it
            address, host = None, address
            if found["six"]:
                raise ValueError(f"expected [IP]:HOST:CONTAINER, but found {item!r}")
        protocol = found["protocol"] or "tcp"
    made = _pair(_range(host), _range(target), _address(address) or publish, _protocol(protocol))
    if isinstance(item, dict) and ("name" in item or "app_protocol" in item):
        name, hint = text(item.get("name")), text(item.get("app_protocol"))
        made = [replace(port, name=name, app_protocol=hint) for port in made]
    return made


def _pair(
    host: tuple[int, int] | None, target: tuple[int, int] | None, address: str, protocol: Literal["tcp", "udp"]
) -> list[Port]:
    if target is None:
        raise ValueError("the container's port is missing")
    first, last = target
    if last - first >= MOST:
        raise ValueError(f"a range of {last - first + 1} ports is more than pyorch publishes; {MOST} are the most")
    if host is None:
        return [Port(number, None, address, protocol) for number in range(first, last + 1)]
    wide, narrow = host[1] - host[0], last - first
    if wide == narrow:
        return [Port(first + step, host[0] + step, address, protocol) for step in range(wide + 1)]
    if narrow == 0:
        return [Port(first, host[0], address, protocol, last=host[1])]
    raise ValueError(
        f"the published range {host[0]}-{host[1]} has {wide + 1} ports but the container's range {first}-{last}"
        f" has {narrow + 1}; they must be equally long"
    )


def _range(word: Any) -> tuple[int, int] | None:
    if word is None or word == "":
        return None
    first, dash, last = str(word).partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise ValueError(f"expected a port number or a range such as 8000-8010, but found {word!r}")
    low, high = int(first[:6]), int((last or first)[:6])
    for number in (low, high):
        if not 0 < number < 65536:
            raise ValueError(f"a port lies between 1 and 65535, but found {number}")
    if low > high:
        raise ValueError(f"the range {word} runs backwards")
    return low, high


def _address(word: str | None) -> str | None:
    if not word:
        return None
    try:
        return str(ipaddress.ip_address(word))
    except ValueError:
        raise ValueError(f"expected an IP address to bind on the host, but found {word!r}") from None


def _protocol(word: str) -> Literal["tcp", "udp"]:
    match word.lower():
        case "tcp":
            return "tcp"
        case "udp":
            return "udp"
    raise ValueError(f"expected protocol tcp or udp, but found {word!r}")
