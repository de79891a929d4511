"""The options of the local volume driver, `type`, `device` and `o`, understood as mount(8) understands them.

Docker's rules beside it: a host's name in `addr=` (nfs, cifs) is looked up here, because the kernel takes numbers only.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from orchestrator.errors import HostRefused, Mistake

Resolve = Callable[[str], str]  # name of a host → its address

_WORD = re.compile(r'(?:[^,"]|"[^"]*")+')  # commas within quotes do not separate
_NFS, _CIFS = ("nfs", "nfs4"), ("cifs", "smb3")
# What a bind can have of them: the attributes of a mount (mount_setattr(2)).
_OF_A_MOUNT = {"ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "strictatime"}


@dataclass(frozen=True, slots=True)
class Driver:
    """`bind`: the volume is a directory of the host, "rbind" with what is mounted below. `words`: the options but for
    that."""

    kind: str
    device: str
    words: tuple[str, ...]
    bind: str = ""

    @property
    def read_only(self) -> bool:
        return [word for word in self.words if word in ("ro", "rw")][-1:] == ["ro"]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Those of a bind, beside `ro`."""
        return tuple(word for word in self.words if word in _OF_A_MOUNT - {"ro"})


def understood(name: str, options: Mapping[str, str]) -> Driver:
    """Raises Mistake where they cannot describe the volume `name`."""
    kind, device, words = options.get("type", ""), options.get("device", ""), split(options.get("o", ""))
    binds = [word for word in words if word in ("bind", "rbind")]
    if unknown := sorted(options.keys() - {"type", "device", "o"}):
        raise Mistake(f"cannot make volume '{name}': expected the options type, o and device, but found {unknown[0]!r}")
    if not device and kind != "tmpfs":
        raise Mistake(f"cannot make volume '{name}': its option device is missing: what is to be mounted?")
    if not kind and not binds:
        raise Mistake(f"cannot make volume '{name}': its option type is missing: what kind of file system is it?")
    rest = tuple(word for word in words if word not in binds)
    return Driver(kind, device, rest, binds[-1] if binds else "")


def split(text: str) -> list[str]:
    """Quotes stay where they hold a comma together: so the kernel wants it (SELinux contexts)."""
    words = [word.strip() for word in _WORD.findall(text) if word.strip()]
    return [word if "," in word else word.replace('"', "") for word in words]


def call(name: str, driver: Driver, resolve: Resolve) -> tuple[str, tuple[str, ...]]:
    """(what mount(2) is given as source, the options), with names of hosts looked up."""
    words, device = list(driver.words), driver.device or driver.kind
    for place, word in enumerate(words):
        key, _, value = word.partition("=")
        if driver.kind in (*_NFS, *_CIFS) and key in ("addr", "ip") and value:
            words[place] = f"{key}={resolve(value)}"
    addressed = any(word.partition("=")[0] in ("addr", "ip") for word in words)
    if driver.kind in _NFS and not addressed:
        host, colon, _path = device.rpartition(":/")
        if not colon or not host:
            raise HostRefused(
                f"cannot mount {device} for volume '{name}': write host:/path, or addr= among its options"
            )
        words.append(f"addr={resolve(host.strip('[]'))}")
    if driver.kind in _CIFS and not addressed:
        host = device.replace("\\", "/").removeprefix("//").partition("/")[0]
        words.append(f"ip={resolve(host)}")
    if driver.kind in _CIFS:  # there a comma of a password is written twice
        words = [word.replace('"', "").replace(",", ",,") for word in words]
    return device, tuple(words)


def looked_up(name: str) -> Resolve:
    """For the volume `name`."""

    def resolve(host: str) -> str:
        try:
            return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
        except OSError as error:
            raise HostRefused(f"cannot mount volume '{name}': there is no host '{host}': {error.strerror}") from error

    return resolve
