"""What no schema can say of one value: keys that exclude each other, and what an external thing may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.stack import short
from orchestrator.stack.parse import Document
from orchestrator.stack.places import Complaints, Path
from orchestrator.stack.tree import Map, Places, plant, walk

Say = Callable[..., None]


def obey(document: Document, complaints: Complaints) -> None:
    """Complain about every value that breaks its rule."""
    places = Places(document.data, document.root)

    def visit(branch: Any, step: Any, path: Path, rule: Callable[[Any, Path, Say], None]) -> None:
        def say(path: Path, text: str, *, key: bool = False) -> None:
            if not (key and complaints.is_spoilt(path)):
                complaints.about(places, path, text, key=key)

        if path not in complaints.broken:
            rule(branch[step], path, say)

    walk(document.data, _RULES, visit)
    walk(document.data, _DEAF, visit)


def _deaf(value: Any, path: Path, say: Say) -> None:
    if isinstance(value, Map) and "x-pyorch" in value:
        thing = str(path[0]).removesuffix("s")
        say((*path, "x-pyorch"), f"nobody reads it here; it belongs to the {thing} itself", key=True)


def _content(*keys: str, ways: str) -> Callable[[Any, Path, Say], None]:
    def rule(value: Any, path: Path, say: Say) -> None:
        written = [key for key in keys if key in value] if isinstance(value, Map) else []
        if len(written) > 1:
            both = " and ".join(written)
            say((*path, written[1]), f"the content comes from {both}; write one of them", key=True)
        elif not written and not (isinstance(value, Map) and {"driver", "external"} & value.keys()):
            say(path, f"where does the content come from? Write {ways}", key=True)

    return rule


def _external(value: Any, path: Path, say: Say) -> None:
    if isinstance(value, Map) and value.get("external") is True:
        for key in value:
            if key not in ("external", "name") and not key.startswith("x-"):
                say((*path, key), f"'{key}' cannot be set: it is external and made by somebody else", key=True)


def _port(value: Any, path: Path, say: Say) -> None:
    address = value.get("host_ip") if isinstance(value, Map) else None
    if address and not short.is_address(str(address)):
        say((*path, "host_ip"), f"expected an address, but found {address!r}")
    target = value.get("target") if isinstance(value, Map) else None
    if isinstance(target, int) and target < 0:
        say((*path, "target"), f"a port lies between 1 and 65535, but found {target}")


def _watched(value: Any, path: Path, say: Say) -> None:
    if value == "":
        say(path, "must not be empty")


def _device(value: Any, path: Path, say: Say) -> None:
    if isinstance(value, Map) and "count" in value and "device_ids" in value:
        say((*path, "device_ids"), "'count' stands beside it; write one of the two", key=True)


def _mount(value: Any, path: Path, say: Say) -> None:
    if not isinstance(value, Map):
        return
    if value.get("type") == "bind" and not value.get("source"):
        say(path, "'source' is missing: the path on this machine")
    size = (value.get("tmpfs") or {}).get("size")
    if isinstance(size, int | float) and size < 0:
        say((*path, "tmpfs", "size"), f"must be at least 0, but is {size}")


_RULES = plant(
    {
        "configs.*": _content("file", "environment", "content", ways="file:, environment: or content:"),
        "secrets.*": _content("file", "environment", ways="file:, environment: or external: true"),
        "volumes.*": _external,
        "services.*.ports[]": _port,
        "services.*.develop.watch[].path": _watched,
        "services.*.deploy.resources.reservations.devices[]": _device,
        "services.*.gpus[]": _device,
        "services.*.volumes[]": _mount,
    }
)
_DEAF = plant(  # where the Specification has x-* too, and x-pyorch would be passed over in silence
    {
        pattern: _deaf
        for pattern in (
            *(
                f"services.*.{part}"
                for part in ("build", "credential_spec", "deploy", "develop", "healthcheck", "logging")
            ),
            *(f"services.*.{part}[]" for part in ("configs", "env_file", "gpus", "ports", "secrets", "volumes")),
            *(f"services.*.{part}.*" for part in ("depends_on", "networks")),
            *(f"services.*.{part}[]" for part in ("pre_start", "post_start", "pre_stop")),
            *(f"services.*.deploy.{part}" for part in ("placement", "resources", "restart_policy")),
            *(f"services.*.deploy.{part}" for part in ("update_config", "rollback_config")),
            *(f"services.*.deploy.resources.{part}" for part in ("limits", "reservations")),
            "networks.*.ipam",
            "networks.*.ipam.config[]",
        )
    }
)
