"""What is different between two revisions of a stack: field by field, old → new, where it is written, and what
obeying it takes. Values are told as far as they may be (`stack.secrecy`).

Change is a matter of meaning: where a file lies, the order of a map, a comment or a line number are no part of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeAlias

from orchestrator.reconcile.replica import contents, meaning
from orchestrator.stack.model import Network, Origin, Service, Stack, Volume
from orchestrator.stack.secrecy import HIDDEN, masked
from orchestrator.units import exact_bytes, human_seconds

Kind: TypeAlias = Literal["none", "in place", "reload", "restart", "recreate"]
KINDS: tuple[Kind, ...] = ("none", "in place", "reload", "restart", "recreate")  # the later one takes the more

# Fields of Service by their words in the file, where these differ. What a container was made from has the words of
# `replica.meaning` already.
_WORDS = {
    "replicas": "deploy.replicas",
    "limits": "deploy.resources.limits",
    "reservations": "deploy.resources.reservations",
    "mounts": "volumes",
    "update": "deploy.update_config",
    "rollback": "deploy.rollback_config",
}
_NOT_WORDS = {"name", "extensions", "lookup", "sandbox"}  # of the last two the meaning tells
_SHOWN = 60  # letters of a value
_SIZES = frozenset({"memory", "memswap", "shm_size", "size", "max_size"})
_DURATIONS = frozenset({"stop_grace_period", "drain", "interval", "timeout", "start_period", "start_interval", "delay",
                        "monitor", "window", "initial", "max"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one thing. `old` None: it is new; `new` None: it is gone. Secrets are masked already."""

    path: str  # below the thing: "environment.URL"
    old: str | None
    new: str | None
    kind: Kind
    place: Origin | None = None

    def __str__(self) -> str:
        """ "environment.URL: a → b (stack.yaml:14)"."""
        match self.old, self.new:
            case None, _:
                said = f"{self.new} (new)"
            case _, None:
                said = f"{self.old} (taken away)"
            case _ if self.old == self.new:
                said = "changed"  # both are hidden, or differ beyond what is shown
            case _:
                said = f"{self.old} → {self.new}"
        return f"{self.path}: {said}" + (f" ({self.place})" if self.place else "")


def same(one: Stack, other: Stack) -> bool:
    """Whether both mean the same: places, files and remarks aside. Maps have no order."""
    return _bare(one) == _bare(other)


def _bare(stack: Stack) -> Stack:
    return replace(stack, directory="", files=(), inputs=(), origins={}, warnings=())


def service_changes(old: Service, before: Stack, new: Service, after: Stack) -> tuple[Change, ...]:
    """Every field of a service that means something else now, in the order of their paths."""
    made, wanted = meaning(old, before), meaning(new, after)
    found = [
        _change(after, new, path, _value(made.get(path)), _value(wanted.get(path)), "recreate")
        for path in made.keys() | wanted.keys()
        if made.get(path) != wanted.get(path)
    ]
    found += _contents(old, before, new, after)
    told = {change.path for change in found}
    for path, (was, now) in _fields(old, new).items():
        if not any(path == other or other.startswith(f"{path}.") or path.startswith(f"{other}.") for other in told):
            found.append(_change(after, new, path, was, now, "in place"))
    return tuple(sorted(found, key=lambda change: change.path))


def _contents(old: Service, before: Stack, new: Service, after: Stack) -> list[Change]:
    """Configs and secrets whose new content needs no new container."""
    was, now = contents(old, before), contents(new, after)
    found = []
    for key in sorted(was.keys() & now.keys()):
        if was[key] != now[key]:
            kind, _, name = key.partition(".")
            path, place = f"{kind}s.{name}.content", after.origin(f"{kind}s.{name}")
            found.append(Change(path, shown(path, was[key]), shown(path, now[key]), new.on_change.to(kind), place))
    return found


def _fields(old: Service, new: Service) -> dict[str, tuple[Any, Any]]:
    """Path → (was, is) of the fields that differ, maps and records opened."""
    found: dict[str, tuple[Any, Any]] = {}
    for one in fields(Service):
        was, now = getattr(old, one.name), getattr(new, one.name)
        if was == now or one.name in _NOT_WORDS:
            continue
        word = _WORDS.get(one.name, one.name)
        flat_was, flat_now = dict(_flat(word, was)), dict(_flat(word, now))
        for path in flat_was.keys() | flat_now.keys():
            if flat_was.get(path) != flat_now.get(path):
                found[path] = flat_was.get(path), flat_now.get(path)
    return found


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _flat(f"{path}.{one.name}", getattr(value, one.name))
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(f"{path}.{key}", part)
    elif value not in (None, ()):
        yield path, value


def _change(stack: Stack, service: Service, path: str, old: Any, new: Any, kind: Kind) -> Change:
    """Where the field is gone, the place is that of its nearest parent."""
    place = stack.origin(f"services.{service.name}.{path}")
    return Change(path, shown(path, old), shown(path, new), kind, place)


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def shown(path: str, value: Any) -> str | None:
    """A value in a line of text; None where there is none."""
    if value is None:
        return None
    if path.startswith("secrets.") and path.endswith(".content"):
        return HIDDEN
    word = path.rpartition(".")[2]
    if isinstance(value, str):
        text = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = _number(word, value)
    elif isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        text = " ".join(value)
    else:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
    text = masked(word, text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _number(word: str, value: float) -> str:
    """As a file writes it: "256M", "1m30s", "0.5"."""
    if word in _SIZES:
        return exact_bytes(int(value))
    return human_seconds(value) if word in _DURATIONS else f"{value:g}"


def _plain(value: Any) -> Any:
    return {name: part for name in value.__slots__ if (part := getattr(value, name)) not in (None, (), False)}


@dataclass(frozen=True, slots=True)
class Difference:
    """Between two stacks. `added` and `removed`: services; `ground`: networks and volumes, a line each."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: Mapping[str, tuple[Change, ...]] = field(default_factory=dict)
    ground: tuple[str, ...] = ()

    def summary(self) -> str:
        """One line for the history."""
        parts = [f"{name} added" for name in self.added] + [f"{name} removed" for name in self.removed]
        parts += [f"{name}: {_some(change.path for change in found)}" for name, found in self.changed.items()]
        return "; ".join([*parts, *self.ground]) or "nothing"

    def lines(self) -> Iterator[str]:
        """As people read it: the service, and below it what is different."""
        yield from (f"+ {name}" for name in self.added)
        yield from (f"- {name}" for name in self.removed)
        for name, found in self.changed.items():
            yield f"~ {name}"
            yield from (f"    {change}" for change in found)
        yield from (f"~ {line}" for line in self.ground)


def difference(before: Stack, after: Stack) -> Difference:
    """What is different in `after`."""
    both = [name for name in sorted(after.services) if name in before.services]
    pairs = {name: (before.services[name], after.services[name]) for name in both}
    changed = {name: service_changes(old, before, new, after) for name, (old, new) in pairs.items()}
    return Difference(
        tuple(sorted(after.services.keys() - before.services.keys())),
        tuple(sorted(before.services.keys() - after.services.keys())),
        {name: found for name, found in changed.items() if found},
        (
            *_ground("network", before.networks, after.networks),
            *_ground("volume", before.volumes, after.volumes),
        ),
    )


def _ground(
    kind: str, before: Mapping[str, Network] | Mapping[str, Volume], after: Mapping[str, Network] | Mapping[str, Volume]
) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if key not in before:
            yield f"{kind} {key} added"
        elif key not in after:
            yield f"{kind} {key} removed"
        elif before[key] != after[key]:
            yield f"{kind} {key} changed"


def _some(paths: Iterator[str], most: int = 3) -> str:
    listed = list(paths)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
