"""What is known: the zone files below RUN/zones, read again when they change. Their form: network/zones.py."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping


class Zone:
    """One network. Raises ValueError, KeyError, TypeError, AttributeError or OSError where `text` is no zone."""

    __slots__ = (
        "bridge", "clients", "gateway", "internal", "links", "names", "names6", "network",
        "resolvers", "reverse", "subnet"
    )  # fmt: skip

    def __init__(self, bridge: str, text: str) -> None:
        content = json.loads(text)
        address, _, length = content["subnet"].partition("/")
        mask = 0xFFFFFFFF << (32 - int(length)) & 0xFFFFFFFF
        self.bridge = bridge
        self.network = str(content["network"])
        self.gateway = socket.inet_ntoa(socket.inet_aton(content["gateway"]))
        self.internal = bool(content.get("internal", False))
        self.subnet = (_number(address) & mask, mask)
        self.names: Mapping[str, tuple[bytes, ...]] = {  # lower case → packed addresses
            name.lower(): tuple(map(socket.inet_aton, some)) for name, some in content["names"].items()
        }
        self.names6: Mapping[str, tuple[bytes, ...]] = {
            name.lower(): tuple(socket.inet_pton(socket.AF_INET6, address) for address in some)
            for name, some in content.get("names6", {}).items()
        }
        self.reverse: Mapping[str, str] = {  # address → name
            address: str(name) for address, name in content.get("reverse", {}).items()
        }
        self.clients: Mapping[str, tuple[str, ...]] = {  # address → bridges
            address: tuple(bridges) for address, bridges in content["clients"].items()
        }
        self.links: Mapping[str, Mapping[str, str]] = content.get("links", {})  # address → alias → name
        self.resolvers: Mapping[str, tuple[str, ...]] = {  # address → whom to ask about all else
            address: tuple(servers) for address, servers in content.get("resolvers", {}).items()
        }

    def contains(self, address: str) -> bool:
        return _number(address) & self.subnet[1] == self.subnet[0]

    def addresses(self, name: str, six: bool = False) -> tuple[bytes, ...] | None:
        """Of "db" and of "db.shop_default", the IPv4 ones or those of IPv6; None: nobody here is called so."""
        if name not in self.names and name.endswith(suffix := "." + self.network.lower()):
            name = name.removesuffix(suffix)
        if name not in self.names:
            return None
        return self.names6.get(name, ()) if six else self.names[name]


class Directory:
    """The zones of a directory. A file that cannot be read leaves its zone as it was and a sentence in `errors`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.zones: dict[str, Zone] = {}
        self.errors: dict[str, str] = {}
        self._seen: dict[str, int] = {}  # hash of the text; an inode and a time of change may come back

    def read(self) -> bool:
        """Read what changed; True if anything did."""
        names = os.listdir(self.path) if os.path.isdir(self.path) else []  # RUN is being removed
        present = {name.removesuffix(".json"): name for name in names if name.endswith(".json")}
        gone = self._seen.keys() - present.keys()
        for bridge in gone:
            del self._seen[bridge]
            self.zones.pop(bridge, None)
            self.errors.pop(bridge, None)
        return any([self._read(bridge, name) for bridge, name in present.items()]) or bool(gone)

    def _read(self, bridge: str, name: str) -> bool:
        try:
            with open(os.path.join(self.path, name), encoding="utf-8") as file:
                text = file.read()
            if self._seen.get(bridge) == hash(text):
                return False
            self._seen[bridge] = hash(text)
            self.zones[bridge] = Zone(bridge, text)
            self.errors.pop(bridge, None)
        except FileNotFoundError:
            return False  # between the listing and the opening; the next signal tells
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.errors[bridge] = f"cannot read zone {name}: {error!r}"
        return True


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")
