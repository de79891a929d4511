"""An image's configuration: what a container inherits from it. OCI Image Format Specification 1.1, config.md. Pure.

Every function raises ValueError with the reason where a document is not what it should be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.images.manifest import Platform, loads
from orchestrator.images.reference import DIGEST

LARGEST = 8 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's extension. Seconds; 0 means "not said"."""

    test: tuple[str, ...]
    interval: float = 0
    timeout: float = 0
    start_period: float = 0
    start_interval: float = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """`diff_ids`: digests of the unpacked layers, the lowest first. `raw`: the whole document."""

    platform: Platform
    diff_ids: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    working_dir: str = ""
    user: str = ""
    exposed: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    history: tuple[Mapping[str, Any], ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


def parse(content: bytes) -> Config:
    value = loads(content)
    root, inner = value.get("rootfs"), value.get("config") or {}
    if not isinstance(root, dict) or not isinstance(root.get("diff_ids"), list):
        raise ValueError("it does not name its layers (rootfs.diff_ids)")
    ids = root["diff_ids"]
    for one in ids:
        if not isinstance(one, str) or not DIGEST.fullmatch(one):
            raise ValueError(f"rootfs.diff_ids holds {one!r}, which is no digest")
    if not isinstance(inner, dict):
        raise ValueError("its 'config' is no JSON object")
    platform = Platform(*(str(value.get(key) or "") for key in ("os", "architecture", "variant")))
    return Config(
        platform=platform,
        diff_ids=tuple(ids),
        environment=dict(pair.partition("=")[::2] for pair in _words(inner, "Env") or ()),
        entrypoint=_words(inner, "Entrypoint"),
        command=_words(inner, "Cmd"),
        working_dir=_text(inner, "WorkingDir"),
        user=_text(inner, "User"),
        exposed=tuple(_keys(inner, "ExposedPorts")),
        volumes=tuple(_keys(inner, "Volumes")),
        stop_signal=_text(inner, "StopSignal"),
        healthcheck=_healthcheck(inner.get("Healthcheck")),
        labels={key: str(label) for key, label in (_object(inner, "Labels")).items()},
        created=_text(value, "created"),
        history=tuple(one for one in value.get("history") or () if isinstance(one, dict)),
        raw=value,
    )


def chain(diff_ids: Iterable[str]) -> list[str]:
    """The ChainID of each layer: a digest of it and all below it (config.md, "Layer ChainID")."""
    chains: list[str] = []
    for one in diff_ids:
        text = f"{chains[-1]} {one}" if chains else None
        chains.append("sha256:" + hashlib.sha256(text.encode()).hexdigest() if text else one)
    return chains


def _healthcheck(value: Any) -> Healthcheck | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("its Healthcheck is no JSON object")
    test = _words(value, "Test")
    if not test:
        return None
    seconds = {key: _number(value, key) / 1e9 for key in ("Interval", "Timeout", "StartPeriod", "StartInterval")}
    return Healthcheck(
        test,
        seconds["Interval"],
        seconds["Timeout"],
        seconds["StartPeriod"],
        seconds["StartInterval"],
        int(_number(value, "Retries")),
    )


def _words(value: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    found = value.get(key)
    if found is None:
        return None
    if isinstance(found, str):
        return (found,)
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise ValueError(f"its {key} is no list of texts")
    return tuple(found)


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"its {key} is no text")
    return found or ""


def _number(value: Mapping[str, Any], key: str) -> float:
    found = value.get(key) or 0
    if not isinstance(found, int | float):
        raise ValueError(f"its {key} is no number")
    return found


def _object(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"its {key} is no JSON object")
    return found


def _keys(value: Mapping[str, Any], key: str) -> list[str]:
    """Docker's sets are objects of empty objects; some tools write lists."""
    found = value.get(key)
    return [str(one) for one in found] if isinstance(found, list) else sorted(_object(value, key))
