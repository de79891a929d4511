"""What the agent's options say of its nodes (`--node NAME:cpus=1,…`, `--reserve …`), and what this machine has.

A virtual node has the machine's own facts. It may claim less cpus and memory than there are, never more.
"""

from __future__ import annotations

import os
import platform
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator import units
from orchestrator.errors import Mistake
from orchestrator.kernel import own_limits
from orchestrator.scheduler.filters import here
from orchestrator.scheduler.node import Node

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
ROLES = ("manager", "worker")
KEYS = "cpus, memory, pids, role, label.NAME, engine_label.NAME or device.KIND"


def this_machine(reserve: Mapping[str, float]) -> Node:
    """This host as one node: what the agent's own control groups and processor mask leave of it, less `reserve`
    ({"cpus": cores, "memory": bytes}). Raises Mistake where nothing is left."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = min(pages, own_limits.memory() or pages)
    cores = float(len(os.sched_getaffinity(0)))
    cpus = min(cores, own_limits.cpus() or cores)
    cpus, memory = round(cpus - reserve.get("cpus", 0.0), 6), memory - int(reserve.get("memory", 0))
    if cpus <= 0 or memory <= 0:
        raise Mistake("cannot keep so much free: --reserve leaves nothing of this machine")
    return Node(
        os.uname().nodename,
        cpus,
        memory,
        pids=own_limits.pids() or 0,
        architecture=here(),
        role="manager",
        engine_labels=_facts(),
    )


def _facts() -> dict[str, str]:
    """What constraints over engine labels may ask of every machine."""
    facts = {"kernel": os.uname().release}
    try:
        facts["operatingsystem"] = platform.freedesktop_os_release()["ID"]
    except OSError:
        pass  # a machine without os-release(5) says nothing of it
    return facts


def reserve(word: str) -> dict[str, float]:
    """`cpus=0.5,memory=512M`. Raises Mistake."""
    found: dict[str, float] = {}
    try:
        for part in filter(None, word.split(",")):
            key, _, value = part.partition("=")
            found[key] = {"cpus": units.cpus, "memory": units.size}[key](value)
    except KeyError:
        raise Mistake(f"--reserve {word}: expected cpus=CORES,memory=SIZE, but found {part!r}") from None
    except ValueError as error:
        raise Mistake(f"--reserve {word}: {error}") from None
    return found


def parse(words: Sequence[str], machine: Node) -> dict[str, dict[str, Any]]:
    """NAME → {cpus, memory, labels …} of `NAME:cpus=1,memory=4G,label.disk=ssd`; {} of "none". Raises Mistake with all
    complaints."""
    found: dict[str, dict[str, Any]] = {}
    if list(words) == ["none"]:
        return found
    complaints = []
    for word in words:
        name, _, rest = word.partition(":")
        try:
            if word == "none":
                raise ValueError("it makes the machine one node again, and stands alone")
            if not _NAME.fullmatch(name):
                raise ValueError(f"expected NAME:cpus=CORES,memory=SIZE, but found {word!r}")
            if name in found:
                raise ValueError(f"a node called {name!r} is there already")
            found[name] = _spec(rest, machine)
        except ValueError as error:
            complaints.append(f"--node {word}: {error}")
    if complaints:
        raise Mistake(*complaints)
    return found


def _spec(text: str, machine: Node) -> dict[str, Any]:
    spec: dict[str, Any] = {"cpus": machine.cpus, "memory": machine.memory, "labels": {}}
    seen: set[str] = set()
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        kind, _, name = key.partition(".")
        if key in seen:
            raise ValueError(f"{key} is written twice")
        seen.add(key)
        match kind:
            case "cpus" | "memory" if not name:
                spec[key] = {"cpus": units.cpus, "memory": units.size}[key](value)
            case "pids" if not name:
                spec["pids"] = _count(value)
            case "role" if value in ROLES:
                spec["role"] = value
            case "label" if equals and name:
                spec["labels"][name] = value
            case "engine_label" if equals and name:
                spec.setdefault("engine_labels", dict(machine.engine_labels))[name] = value
            case "device" if equals and name:
                spec.setdefault("devices", {})[name] = _devices(value)
            case "role":
                raise ValueError(f"expected role={' or role='.join(ROLES)}, but found {part!r}")
            case "runtime":
                raise ValueError("this agent runs containers natively; it has no other OCI runtime to offer")
            case _:
                raise ValueError(f"expected {KEYS}, but found {part!r}")
    if spec["cpus"] <= 0 or spec["memory"] <= 0:
        raise ValueError("a node without cpus or memory can take nothing")
    for key, amount, whole in (("cpus", spec["cpus"], machine.cpus), ("memory", spec["memory"], machine.memory)):
        if amount > whole:
            raise ValueError(f"it claims more {key} than this machine has ({_word(key, whole)})")
    return spec


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) == 0:
        raise ValueError(f"expected a whole number, 1 or more, but found {value!r}")
    return int(value)


def _devices(value: str) -> int | list[str]:
    """A number of things that are only counted, or device files, with + between them: those are handed in."""
    if not value.startswith("/"):
        return _count(value)
    paths = value.split("+")
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise ValueError(f"cannot offer {path}: {(error.strerror or str(error)).lower()}") from None
        if not stat.S_ISCHR(mode) and not stat.S_ISBLK(mode):
            raise ValueError(f"cannot offer {path}: it is no device file")
    if len(set(paths)) < len(paths):
        raise ValueError(f"{value!r} names a device twice")
    return paths


def node(name: str, spec: Mapping[str, Any], machine: Node, *, cordoned: bool, drained: bool) -> Node:
    """The machine's facts, under the node's own name and with its own capacity: never more than there is now."""
    devices = {kind: one if isinstance(one, int) else len(one) for kind, one in spec.get("devices", {}).items()}
    room = {key: min(spec[key], getattr(machine, key)) for key in ("cpus", "memory") if key in spec}
    fields = {**spec, **room, "devices": devices}
    return replace(machine, name=name, **fields, cordoned=cordoned, drained=drained)


def together(nodes: Sequence[Node], machine: Node) -> str:
    """What is not true of virtual nodes: that there is as much as all of them claim; "" where there is."""
    cpus, memory = round(sum(one.cpus for one in nodes), 6), sum(one.memory for one in nodes)
    claims = [_word("cpus", cpus) + " cpus"] if cpus > machine.cpus else []
    claims += [_word("memory", memory) + " of memory"] if memory > machine.memory else []
    if not claims:
        return ""
    there = f"{_word('cpus', machine.cpus)} cpus and {_word('memory', machine.memory)}"
    return f"the nodes claim {' and '.join(claims)} together, and this machine has {there}"


def _word(key: str, amount: float) -> str:
    return units.human_cpus(amount) if key == "cpus" else units.human_bytes(int(amount))
