"""What the machine's owner says of registries and limits: STATE/images.yaml, else /etc/pyorch/images.yaml.

    registries:
      docker.io: {mirrors: [https://mirror.example, http://10.0.0.5:5000]}
      registry.lan:5000: {plain_http: true}
      registry.corp: {ca: /etc/ssl/corp.pem}
    limits: {layer_bytes: 64G, entries: 1000000, ratio: 250, downloads: 4}

Plain HTTP is spoken where it is written here, and with registries on this machine itself (localhost, 127.0.0.0/8, ::1),
as Docker does: what never leaves the machine needs no TLS.
"""

from __future__ import annotations

import glob
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator import units
from orchestrator.errors import Mistake
from orchestrator.images.unpack import Limits
from orchestrator.root import Root

CERTIFICATES = ("/etc/docker/certs.d", "/etc/containers/certs.d")
HUB_HOST = "registry-1.docker.io"  # where docker.io's API is


@dataclass(frozen=True, slots=True)
class Registry:
    """How one registry is spoken to. `mirrors`: URLs that are asked first. `plain_http` None: nobody has said."""

    mirrors: tuple[str, ...] = ()
    plain_http: bool | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    registries: Mapping[str, Registry] = field(default_factory=dict)
    limits: Limits = Limits()
    downloads: int = 4  # at a time

    def endpoints(self, registry: str) -> list[tuple[str, bool]]:
        """Base URLs to ask for a registry's images, in this order; True: a mirror."""
        known = self.registries.get(registry, Registry())
        host = HUB_HOST if registry == "docker.io" else registry
        plain = known.plain_http
        if plain is None:
            plain = is_loopback(registry) and not (self.authorities(registry) or identities(registry))
        scheme = "http" if plain else "https"
        return [*((mirror.rstrip("/"), True) for mirror in known.mirrors), (f"{scheme}://{host}", False)]

    def authorities(self, registry: str, host: str = "") -> list[str]:
        """Files of certificates that vouch for a registry beside the system's: `ca`, and what lies in certs.d for it or
        for the `host` that is asked in its stead (a mirror)."""
        known = self.registries.get(registry, Registry())
        files = [known.ca] if known.ca else []
        return files + [file for name in dict.fromkeys((registry, host)) for file in _certificates(name, "*.crt")]


def identities(host: str) -> list[tuple[str, str]]:
    """(certificate, key) by which we are known to a host: pairs x.cert and x.key in its certs.d. Raises Mistake."""
    pairs = [(file, file.removesuffix(".cert") + ".key") for file in _certificates(host, "*.cert")]
    for certificate, key in pairs:
        if not os.path.exists(key):
            raise Mistake(f"cannot use certificate {certificate}: there is no {key} beside it")
    return pairs


def _certificates(host: str, pattern: str) -> list[str]:
    """Of that host, where docker and podman look (https://docs.docker.com/engine/security/certificates/)."""
    name = "docker.io" if host == HUB_HOST else host
    return [
        file
        for directory in (CERTIFICATES if name else ())
        for file in sorted(glob.glob(os.path.join(directory, glob.escape(name), pattern)))
    ]


def load(root: Root) -> Settings:
    """Raises Mistake with what is wrong in the file; the defaults where there is none."""
    for path in (os.path.join(root.state, "images.yaml"), "/etc/pyorch/images.yaml"):
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise Mistake(f"cannot read {path}: {error}") from error
        return parse(text, path)
    return Settings()


def parse(text: str, path: str) -> Settings:
    """Raises Mistake."""
    import yaml

    try:
        value = yaml.safe_load(text) or {}
        _only(value, ("registries", "limits"), "the file")
        registries = {str(name): _registry(str(name), one) for name, one in (value.get("registries") or {}).items()}
        limits, downloads = _limits(value.get("limits") or {})
        return Settings(registries, limits, downloads)
    except (yaml.YAMLError, ValueError, AttributeError, TypeError) as error:
        raise Mistake(f"cannot use {path}: {error}") from error


def is_loopback(registry: str) -> bool:
    host = registry.rpartition(":")[0] if ":" in registry.rpartition("]")[2] else registry
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _registry(name: str, value: Any) -> Registry:
    _only(value, ("mirrors", "plain_http", "ca"), f"registries.{name}")
    mirrors = value.get("mirrors") or []
    if not isinstance(mirrors, list) or not all(str(one).startswith(("http://", "https://")) for one in mirrors):
        raise ValueError(f"registries.{name}.mirrors must be a list of URLs that begin with https:// or http://")
    plain = value.get("plain_http")
    if plain not in (None, True, False):
        raise ValueError(f"registries.{name}.plain_http must be true or false, not {plain!r}")
    return Registry(tuple(map(str, mirrors)), plain, value.get("ca"))


def _limits(value: Any) -> tuple[Limits, int]:
    _only(value, ("layer_bytes", "entries", "ratio", "downloads"), "limits")
    usual = Limits()
    size = value.get("layer_bytes", usual.bytes)
    return Limits(
        size if isinstance(size, int) else units.size(str(size)),
        int(value.get("entries", usual.entries)),
        int(value.get("ratio", usual.ratio)),
    ), max(1, int(value.get("downloads", 4)))


def _only(value: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping")
    if unknown := sorted(str(key) for key in value if key not in known):
        raise ValueError(f"{where} has the unknown word {', '.join(unknown)}; known: {', '.join(known)}")
