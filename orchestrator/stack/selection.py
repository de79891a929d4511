"""Which services are in: those without profile, those of active ones, those named, and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.record import fresh, record
from orchestrator.stack.tree import List, Map

_USED = ("networks", "volumes", "secrets", "configs", "models")


@record
class Chosen:
    """`services`: what is in. `disabled`: what an inactive profile leaves out, still known by name."""

    services: Map
    disabled: Map = fresh(default_factory=Map)

    def enable(self, names: Iterable[str], active: Iterable[str]) -> None:
        """Named services are in even where their profile is not active, and what they need of the same profiles."""
        asked = [name for name in names if name in self.disabled]
        profiles = {*active, *(profile for name in asked for profile in self.disabled[name].get("profiles") or ())}
        todo = asked
        while todo:
            name = todo.pop()
            if name in self.disabled and not profiles.isdisjoint(self.disabled[name].get("profiles") or ()):
                self.services.put(name, self.disabled[name], self.disabled.marks.get(name))
                self.disabled.drop(name)
                todo += needs(self.services[name])

    def only(self, names: Iterable[str]) -> Map:
        """The named services and all they need, of those that are in."""
        kept, todo = dict[str, None](), list(names)
        while todo:
            name = todo.pop()
            if name in self.services and name not in kept:
                kept[name] = None
                todo += needs(self.services[name])
        return Map({k: v for k, v in self.services.items() if k in kept}, self.services.marks)


def by_profile(services: Any, active: Iterable[str]) -> Chosen:
    active = {*active}
    chosen = Chosen(Map())
    for name, service in services.items() if isinstance(services, Map) else ():
        written = service.get("profiles") if isinstance(service, Map) else None
        inside = not written or "*" in active or not active.isdisjoint(written)
        (chosen.services if inside else chosen.disabled).put(name, service, services.marks.get(name))
    return chosen


def needs(service: Any) -> Iterator[str]:
    """The services that this one waits for."""
    depends = service.get("depends_on") if isinstance(service, Map) else None
    yield from depends if isinstance(depends, Map | List) else ()


def without_unused(tree: Map) -> None:
    """Drop networks, volumes and the like that no service uses."""
    used: dict[str, set[str]] = {kind: set() for kind in _USED}
    for service in tree["services"].values():
        used["networks"].update(service.get("networks") or ())
        used["models"].update(service.get("models") or ())
        for volume in service.get("volumes") or ():
            if isinstance(volume, Map) and volume.get("type") == "volume" and volume.get("source"):
                used["volumes"].add(volume["source"])
        for kind in ("secrets", "configs"):
            used[kind].update(item["source"] for item in service.get(kind) or () if "source" in item)
        build = service.get("build")
        for item in (build.get("secrets") or ()) if isinstance(build, Map) else ():
            used["secrets"].add(item.get("source"))
    for kind in _USED:
        things = tree.get(kind)
        if isinstance(things, Map):
            for name in [name for name in things if name not in used[kind]]:
                things.drop(name)
            if not things:
                tree.drop(kind)
