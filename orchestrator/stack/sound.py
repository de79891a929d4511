"""What must hold within one effective stack, whatever is done with it: references, contradictions, circles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.record import frozen
from orchestrator.stack import graph
from orchestrator.stack.normal import SHARED
from orchestrator.stack.places import Complaints, Path, did_you_mean
from orchestrator.stack.selection import Chosen, needs
from orchestrator.stack.tree import List, Map, Places

_REFERENCES = {"networks": "network", "configs": "config", "secrets": "secret", "models": "model"}
_TWICE = (  # key of the service, the same below deploy.resources
    ("cpus", ("limits", "cpus")),
    ("mem_limit", ("limits", "memory")),
    ("mem_reservation", ("reservations", "memory")),
    ("pids_limit", ("limits", "pids")),
)
_UNCHANGED = ("rebuild", "restart")  # what `watch` does without a target


@frozen
class _Check:
    tree: Map
    chosen: Chosen
    places: Places
    complaints: Complaints

    def say(self, path: Path, text: str, *, key: bool = False) -> None:
        if not any(path[: len(broken)] == broken for broken in self.complaints.broken):
            self.complaints.about(self.places, path, text, key=key)


def check(tree: Map, chosen: Chosen, places: Places, complaints: Complaints) -> None:
    """Complain about every contradiction in the services that are in. All values have their last form."""
    work = _Check(tree, chosen, places, complaints)
    for name, service in chosen.services.items():
        path: Path = ("services", name)
        _substance(work, service, path)
        _build(work, service, path)
        _references(work, service, path)
        _dependencies(work, service, path)
        _amounts(work, service, path)
        _watches(work, service, path)
        _targets(work, service, path)
    for name, secret in (tree.get("secrets") or {}).items():
        has_content = isinstance(secret, Map) and any(secret.get(key) for key in ("external", "file", "environment"))
        if isinstance(secret, Map) and not has_content and not complaints.is_spoilt(("secrets", name)):
            text = "where does the content come from? Write file:, environment: or external: true"
            work.say(("secrets", name), text, key=True)
    _circle(work)
    _names(work)


def _substance(work: _Check, service: Map, path: Path) -> None:
    spoilt = {broken[:3] for broken in work.complaints.broken}
    substance = {(*path, key) for key in ("image", "build", "provider", "extends")}
    if not service.get("image") and "build" not in service and "provider" not in service and not substance & spoilt:
        work.say(path, "'image' is missing; for programs of this machine write image: host:/", key=True)
    if service.get("network_mode") and service.get("networks"):
        work.say((*path, "network_mode"), "excludes 'networks'; write one of the two", key=True)
    test = (service.get("healthcheck") or {}).get("test")
    if test and test[0] not in ("CMD", "CMD-SHELL", "NONE"):
        found = f"the list must begin with CMD, CMD-SHELL or NONE, but begins with {test[0]!r}"
        work.say((*path, "healthcheck", "test"), found)


def _build(work: _Check, service: Map, path: Path) -> None:
    build = service.get("build")
    if not isinstance(build, Map):
        return
    path = (*path, "build")
    if build.get("dockerfile_inline") and build.get("dockerfile"):
        work.say((*path, "dockerfile_inline"), "'dockerfile' stands beside it; write one of the two", key=True)
    for name, source in (build.get("additional_contexts") or {}).items():
        if isinstance(source, str) and source.startswith("service:"):
            other = source.removeprefix("service:")
            if other not in work.chosen.services:
                work.say((*path, "additional_contexts", name), f"service '{other}' is not defined{_hint(work, other)}")
            elif "build" not in work.chosen.services[other] and not work.complaints.is_spoilt(("services", other)):
                work.say((*path, "additional_contexts", name), f"service '{other}' is not built here: it has no build")
    platforms, platform = build.get("platforms"), service.get("platform")
    if platforms and platform and platform not in platforms:
        work.say((*path, "platforms"), f"must have the service's platform {platform!r} among them")


def _references(work: _Check, service: Map, path: Path) -> None:
    for kind, noun in _REFERENCES.items():
        known = work.tree.get(kind) or {}
        for step, name in _named(service.get(kind)):
            if not name:
                work.say((*path, kind, step), f"'source' is missing: which {noun}?", key=True)
            elif name not in known and not _unknowable(work, kind, name):
                text = f"{noun} '{name}' is not defined{did_you_mean(name, known) or _add(kind)}"
                work.say((*path, kind, step), text, key=isinstance(step, str))
    secrets = work.tree.get("secrets") or {}
    build = service.get("build")
    for index, name in _named(build.get("secrets") if isinstance(build, Map) else None):
        if name not in secrets and not _unknowable(work, "secrets", name):
            text = f"secret '{name}' is not defined{did_you_mean(name, secrets) or _add('secrets')}"
            work.say((*path, "build", "secrets", index), text)
    volumes = work.tree.get("volumes") or {}
    for index, volume in enumerate(service.get("volumes") or ()):
        source = volume.get("source") if isinstance(volume, Map) and volume.get("type") == "volume" else None
        if source and source not in volumes and not _unknowable(work, "volumes", source):
            hint = did_you_mean(source, volumes) or _add("volumes")
            work.say((*path, "volumes", index), f"volume '{source}' is not defined{hint} (a path begins with ./ or /)")


def _named(value: Any) -> Iterator[tuple[str | int, str]]:
    if isinstance(value, Map):
        yield from ((name, name) for name in value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if item is not None:
                yield index, str(item.get("source") or "") if isinstance(item, Map) else str(item)


def _add(kind: str) -> str:
    return f"; add it to '{kind}:' at the top level"


def _unknowable(work: _Check, kind: str, name: str) -> bool:
    return bool({(kind,), (kind, name)} & work.complaints.broken)


def _dependencies(work: _Check, service: Map, path: Path) -> None:
    known, disabled = work.chosen.services, work.chosen.disabled
    depends = service.get("depends_on") or {}
    for name, need in depends.items():
        required = not isinstance(need, Map) or need.get("required", True)
        here = (*path, *_written_as(service, name))
        if name in disabled:
            if required:
                profiles = ", ".join(map(str, disabled[name].get("profiles") or ()))
                way_out = "add --profile, or required: false"
                work.say(here, f"depends on '{name}', whose profile ({profiles}) is not active; {way_out}", key=True)
        elif name not in known and not _unknowable(work, "services", name):
            hint = did_you_mean(name, [*known, *disabled])
            work.say(here, f"depends on '{name}', which is no service{hint}", key=True)
    mode = service.get("network_mode")
    other = mode.removeprefix("service:") if isinstance(mode, str) and mode.startswith("service:") else None
    if other is not None and other not in known and other not in depends:
        work.say((*path, "network_mode"), f"service '{other}' is not defined{_hint(work, other)}")


def _written_as(service: Map, name: str) -> Path:
    """The key that makes the service wait: links and shared namespaces do so too, and leave their mark."""
    mark = service["depends_on"].marks.get(name)
    for key in ("links", "volumes_from"):
        for index, (_, written) in enumerate((service.get(key) or List()).pairs()):
            if written is mark is not None:
                return key, index
    shared = (key for key in SHARED if service.marks.get(key) is mark is not None)
    found = next(shared, None)
    return (found,) if found else ("depends_on", name)


def _hint(work: _Check, name: str) -> str:
    return did_you_mean(name, work.chosen.services)


def _amounts(work: _Check, service: Map, path: Path) -> None:
    deploy = service.get("deploy")
    if not isinstance(deploy, Map):
        deploy = Map()
    scale, replicas = service.get("scale"), deploy.get("replicas")
    if None not in (scale, replicas) and scale != replicas:
        work.say((*path, "scale"), f"is {scale}, but deploy.replicas is {replicas}; write one of the two")
    resources = deploy.get("resources") or {}
    for key, below in _TWICE:
        written = service.get(key)
        side = resources.get(below[0])
        other = side.get(below[1]) if isinstance(side, Map) else None
        if written and side is not None and str(written) != str(other or 0):
            place = ".".join(("deploy.resources", *below))
            work.say((*path, key), f"is {written}, but {place} is {'missing' if other is None else other}; write one")
    count = scale if scale is not None else replicas
    if isinstance(count, int) and count > 1 and service.get("container_name"):
        text = f"one fixed name cannot serve {count} replicas; remove it"
        work.say((*path, "container_name"), text)


def _watches(work: _Check, service: Map, path: Path) -> None:
    for index, rule in enumerate((service.get("develop") or {}).get("watch") or ()):
        if isinstance(rule, Map) and not rule.get("target") and rule.get("action") not in _UNCHANGED:
            text = f"'target' is missing, which the action {rule.get('action')} needs"
            work.say((*path, "develop", "watch", index), text)


def _targets(work: _Check, service: Map, path: Path) -> None:
    """No two mounts at one place."""
    taken: dict[str, str] = {}
    mounts = [(("tmpfs", index), str(item).partition(":")[0]) for index, item in enumerate(service.get("tmpfs") or ())]
    volumes = service.get("volumes") or ()
    mounts += [(("volumes", i), str(item.get("target"))) for i, item in enumerate(volumes) if isinstance(item, Map)]
    for where, target in mounts:
        label = f"{where[0]}[{where[1]}]"
        if target in taken:
            work.say((*path, *where), f"{target} is mounted already by {taken[target]}")
        taken.setdefault(target, label)


def _circle(work: _Check) -> None:
    services = work.chosen.services
    if circle := graph.cycle({n: [need for need in needs(s) if need in services] for n, s in sorted(services.items())}):
        path: Path = ("services", circle[0], "depends_on", circle[1])
        work.say(path, f"the services wait for each other in a circle: {' → '.join(circle)}", key=True)


def _names(work: _Check) -> None:
    """No two services with one container_name."""
    taken: dict[str, str] = {}
    for name, service in work.chosen.services.items():
        own = service.get("container_name")
        if own and taken.setdefault(own, name) != name:
            work.say(("services", name, "container_name"), f"service '{taken[own]}' has {own!r} already")
