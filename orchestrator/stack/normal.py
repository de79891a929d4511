"""The effective stack: what follows from what is written, said outright. Compose calls it normalisation.

Networks and names that every tool would have to guess, and the order that links and shared namespaces imply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.stack.places import Mark
from orchestrator.stack.scalars import words
from orchestrator.stack.short import clean
from orchestrator.stack.tree import List, Map

SHARED = ("network_mode", "ipc", "pid", "uts", "cgroup")
_KINDS = ("networks", "volumes", "configs", "secrets")


def normalize(tree: Map, name: str, variables: Mapping[str, str]) -> None:
    tree.put("name", name, tree.marks.get("name"))
    services = tree.get("services")
    written = [service for service in services.values() if isinstance(service, Map)] if services else []
    _default_network(tree, written)
    for service in written:
        if service.get("pull_policy") == "if_not_present":
            service["pull_policy"] = "missing"
        _build(service, variables)
        if (variables_ := service.get("environment")) is not None:
            service["environment"] = _filled(variables_, variables, keep=True)
        _follow(service)
        for volume in service.get("volumes") or ():
            if isinstance(volume, Map) and isinstance(volume.get("target"), str):
                volume["target"] = clean(volume["target"])
    _names(tree, name)


def _default_network(tree: Map, services: list[Map]) -> None:
    """Who names no network is in the default one, which exists where somebody is in it."""
    used = False
    for service in services:
        if "provider" in service or "network_mode" in service:
            continue
        if not service.get("networks"):
            service.put("networks", Map({"default": None}), None)
        used = used or "default" in service["networks"]
    networks = tree.get("networks")
    if networks is None:
        networks = Map()
    if used and "default" not in networks:
        networks.put("default", None, None)
    if networks:
        tree.put("networks", networks, tree.marks.get("networks"))


def _build(service: Map, variables: Mapping[str, str]) -> None:
    build = service.get("build")
    if not isinstance(build, Map):
        return
    if build.get("context") is None:
        build["context"] = "."
    if build.get("dockerfile") is None and build.get("dockerfile_inline") is None:
        build["dockerfile"] = "Dockerfile"
    if "args" in build:
        build["args"] = _filled(build["args"], variables, keep=False)


def _filled(pairs: Any, variables: Mapping[str, str], *, keep: bool) -> Any:
    """A name without value gets the caller's; `keep`: it stays where there is none."""
    if isinstance(pairs, Map):
        for key in [key for key, value in pairs.items() if value is None]:
            if key in variables:
                pairs[key] = variables[key]
            elif not keep:
                pairs.drop(key)
        return pairs
    result = List()
    for item, mark in pairs.pairs() if isinstance(pairs, List) else ():
        text = words(item)
        if "=" not in text and text in variables:
            text = f"{text}={variables[text]}"
        if "=" in text or keep:
            result.add(text, mark)
    return result


def _follow(service: Map) -> None:
    """Links and shared namespaces imply an order."""
    needs = service.get("depends_on")
    needs = needs if isinstance(needs, Map) else Map()
    for need, restart, mark in _implied(service):
        if need not in needs:
            implied = {"condition": "service_started", "restart": restart, "required": True}
            needs.put(need, Map(implied), mark)
    if needs:
        service.put("depends_on", needs, service.marks.get("depends_on"))


def _implied(service: Map) -> Iterator[tuple[str, bool, Mark | None]]:
    """The other service, whether its restart concerns this one, and where it is named."""
    for link, mark in (service.get("links") or List()).pairs():
        parts = str(link).split(":")
        yield (parts[0] if len(parts) == 2 else str(link)), True, mark
    for key in SHARED:
        value = service.get(key)
        if isinstance(value, str) and value.startswith("service:"):
            yield value.removeprefix("service:"), True, service.marks.get(key)
    for source, mark in (service.get("volumes_from") or List()).pairs():
        if not str(source).startswith("container:"):
            yield str(source).split(":")[0], False, mark


def scale(services: Map) -> None:
    """`scale` says what `deploy.replicas` says."""
    for service in services.values():
        if service.get("scale") is not None and isinstance(deploy := service.get("deploy"), Map):
            deploy.put("replicas", service["scale"], service.marks.get("scale"))


def _names(tree: Map, stack: str) -> None:
    """Everything has a name on the host."""
    for kind in _KINDS:
        things = tree.get(kind)
        if not isinstance(things, Map):
            continue
        for key, written in things.items():
            thing = written if isinstance(written, Map) else Map()
            if thing.get("name") is None:
                thing["name"] = key if thing.get("external") is True else f"{stack}_{key}"
            things[key] = thing
