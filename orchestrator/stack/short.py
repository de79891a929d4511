"""The short forms of ports, mounts and devices, read as Compose reads them. ValueError is a sentence."""

from __future__ import annotations

import posixpath
from typing import Any

MOST_PORTS = 65_536
_PROTOCOLS = ("tcp", "udp", "sctp")
_PROPAGATION = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave"})
OPTIONS = frozenset({"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}) | _PROPAGATION
_WANTED = "a port such as 80, 8080:80, 127.0.0.1:8080:80/udp or a range"


def ports(text: str) -> list[dict[str, Any]]:
    """[[host_ip:]published:]target[/protocol], each of the numbers a range → one long form for each container port."""
    ip, published, target = _parts(text)
    target, _, protocol = target.partition("/")
    protocol = protocol.partition("/")[0].lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise ValueError(f"expected tcp, udp or sctp after the '/', but found '{protocol}'")
    if ip.startswith("[") and ip.endswith("]"):
        ip = ip[1:-1]
    if ip and not is_address(ip):
        raise ValueError(f"expected an IP address to bind on the host, but found {ip!r}")
    first, last = _range(target, text)
    if not first:
        raise ValueError(f"the container's port lies between 1 and 65535, but found {first}")
    low, high = _range(published, text) if published else (0, 0)
    if published and high - low != last - first and last != first:
        raise ValueError(
            f"the published range {published} has {high - low + 1} ports but the container's range {target} has"
            f" {last - first + 1}; they must be equally long"
        )
    made = []
    for offset in range(last - first + 1):
        host = "" if not published else str(low + offset) if last != first or low == high else f"{low}-{high}"
        words: dict[str, Any] = {"mode": "ingress", "host_ip": ip, "target": first + offset, "published": host}
        made.append({key: value for key, value in words.items() if value} | {"protocol": protocol})
    return sorted(made, key=lambda port: str(port["target"]))


def count(text: str) -> int:
    """How many long forms `ports` would make of it, before they are made; 0 where it would refuse."""
    try:
        first, last = _range(_parts(text)[2].partition("/")[0], text)
    except ValueError:
        return 0
    return last - first + 1


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    if len(parts) < 3:
        return "", *(["", *parts] if len(parts) == 1 else parts)  # type: ignore[return-value]
    return ":".join(parts[:-2]), parts[-2], parts[-1]


def _range(text: str, whole: str) -> tuple[int, int]:
    low, dash, high = text.partition("-")
    try:
        first, last = _number(low), _number(high if dash else low)
    except ValueError:
        raise ValueError(f"expected {_WANTED}, but found {whole!r}") from None
    if max(first, last) > 65_535:
        raise ValueError(f"a port lies between 1 and 65535, but found {max(first, last)}")
    if last < first:
        raise ValueError(f"the range {text} runs backwards")
    return first, last


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(text)
    return int(text[:6])


def is_address(text: str) -> bool:
    import ipaddress  # only few stacks write one

    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def volume(text: str) -> dict[str, Any]:
    """[source:]target[:options] → the long form. A source that begins as paths do is a bind mount."""
    if not text:
        raise ValueError("a mount must not be empty")
    if len(text) <= 2:
        return {"type": "volume", "target": clean(text)}
    sections = _sections(text)
    if not all(sections):
        raise ValueError(f"'{text}' has an empty part between its colons")
    if len(sections) > 3:
        raise ValueError(f"'{text}' has too many colons: expected source:target:options")
    source, target = ("", sections[0]) if len(sections) == 1 else (sections[0], sections[1])
    made: dict[str, Any] = {"type": "bind" if is_path(source) else "volume"}
    made |= {"source": source} if source else {}
    made["target"] = clean(target)
    bind: dict[str, Any] = {"create_host_path": True}
    for option in sections[2].split(",") if len(sections) == 3 else ():
        if option in ("ro", "rw"):
            made["read_only"] = option == "ro"
        elif option == "nocopy":
            made["volume"] = {"nocopy": True}
        elif option in ("z", "Z"):
            bind["selinux"] = option
            made["bind"] = bind
        elif option in _PROPAGATION:
            bind["propagation"] = option
            made["bind"] = bind
    if not made.get("read_only"):
        made.pop("read_only", None)
    if made["type"] == "bind":
        made["bind"] = bind
    else:
        made.setdefault("volume", {})
        bind.pop("create_host_path")
    return made


def unknown_options(text: str) -> list[str]:
    sections = _sections(text)
    return [word for word in sections[2].split(",") if word not in OPTIONS] if len(sections) == 3 else []


def _sections(text: str) -> list[str]:
    """Split at colons, but not behind the letter of a Windows drive nor within a variable."""
    sections, section, depth = [], "", 0
    for letter in text:
        depth += (letter == "{" and section.endswith("$")) - (letter == "}" and depth > 0)
        if letter == ":" and not depth and not (len(section) == 1 and section.isalpha()):
            sections.append(section)
            section = ""
        else:
            section += letter
    return [*sections, section]


def is_path(source: str) -> bool:
    return source[:1] in (".", "/", "~") or source.startswith("\\\\") or (source[:1].isalpha() and source[1:2] == ":")


def clean(target: str) -> str:
    """A container's path without detours; what is empty stays empty."""
    if not target:
        return target
    normal = posixpath.normpath(target)
    return normal[1:] if normal.startswith("//") else normal


def device(text: str) -> dict[str, Any]:
    """source[:target[:permissions]]."""
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"'{text}' has too many colons: expected source:target:permissions")
    source, target, permissions = (*parts, *("", "rwm")[len(parts) - 1 :]) if len(parts) < 3 else parts
    return {"source": source, "target": target or source, "permissions": permissions}
