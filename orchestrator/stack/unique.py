"""Lists in which a thing may stand once: what a later file says about the same thing takes its place.

Each rule gives the name under which an element counts as the same thing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.stack import short
from orchestrator.stack.places import Path
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import List, Map, plant, walk

Key = Callable[[Any], str]


def unify(tree: Map) -> None:
    """Keep of each thing its last word, at the place of its first."""
    walk(tree, _RULES, _unify)


def _unify(branch: Any, step: Any, _: Path, key: Key) -> None:
    items = branch[step]
    if not isinstance(items, List) or len(items) < 2:
        return
    kept, index = List(), dict[str, int]()
    for item, mark in items.pairs():
        name = key(item)
        if name in index:
            kept[index[name]] = item
            kept.marks[index[name]] = mark
        else:
            index[name] = len(kept)
            kept.add(item, mark)
    branch[step] = kept


def _before_equals(item: Any) -> str:
    return words(item).partition("=")[0] if not isinstance(item, dict | list) else repr(item)


def _whole(item: Any) -> str:
    return words(item) if not isinstance(item, dict | list) else repr(item)


def _port(item: Any) -> str:
    if isinstance(item, Map):
        published = words(item.get("published"))
        return f"{item.get('host_ip', '0.0.0.0')}:{published}:{item.get('target')}/{item.get('protocol', 'tcp')}"
    return _whole(item)


def _mount(item: Any) -> str:
    if isinstance(item, Map):
        return str(item.get("target"))
    if not isinstance(item, str):
        return _whole(item)
    try:
        return str(short.volume(item).get("target"))
    except ValueError:
        return _whole(item)


def _device(item: Any) -> str:
    if isinstance(item, Map):
        return str(item.get("target"))
    parts = words(item).split(":")
    return parts[0] if len(parts) == 1 else parts[1]


def _file(folder: str) -> Key:
    """By where it is mounted; a bare name is mounted in `folder`."""

    def key(item: Any) -> str:
        if isinstance(item, Map):
            return str(item["target"]) if "target" in item else f"{folder}/{item.get('source')}"
        return f"{folder}/{_whole(item)}"

    return key


def _env_file(item: Any) -> str:
    return str(item.get("path")) if isinstance(item, Map) else _whole(item)


_RULES = plant(
    {
        **dict.fromkeys(
            (
                "networks.*.labels",
                "networks.*.ipam.options",
                "volumes.*.labels",
                "services.*.annotations",
                "services.*.build.additional_contexts",
                "services.*.build.args",
                "services.*.build.labels",
                "services.*.build.platforms",
                "services.*.build.tags",
                "services.*.cap_add",
                "services.*.cap_drop",
                "services.*.deploy.labels",
                "services.*.dns",
                "services.*.dns_opt",
                "services.*.dns_search",
                "services.*.environment",
                "services.*.labels",
                "services.*.links",
                "services.*.networks.*.aliases",
                "services.*.networks.*.link_local_ips",
                "services.*.profiles",
                "services.*.sysctls",
                "services.*.tmpfs",
            ),
            _before_equals,
        ),
        "services.*.configs": _file(""),
        "services.*.devices": _device,
        "services.*.env_file": _env_file,
        "services.*.expose": _whole,
        "services.*.ports": _port,
        "services.*.secrets": _file("/run/secrets"),
        "services.*.volumes": _mount,
    }
)
