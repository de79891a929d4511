"""What the schema knows and pyorch does not obey yet. Each is refused by name: nothing is ignored in silence.

A row a key: `*` stands for any name, `[]` for any element of a list; a refused key speaks for all below it. Who teaches
a room a word moves its row from here to `since`, in the same change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from orchestrator.stack.places import Complaints, Marks, Path
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import Map

_SPEC = "is part of the Compose Specification but pyorch does not obey it yet; "
_OURS = "is a word of pyorch that is not obeyed yet; "
REMOVE = "remove it"
_NO_REAL_TIME = (
    "today's kernels group no real-time processes; write cap_add: [SYS_NICE], and let it ask for its priority"
)

# key → the way out
REFUSED: dict[str, str] = {
    # images
    "services.*.build.ssh": "no agent or key is handed into a step; give what it needs as a build secret",
    "services.*.pull_refresh_after": REMOVE,
    "services.*.volumes[].image": "an empty volume takes what its image holds at that path: mount one there",
    # its life
    "services.*.provider": "what another program makes is no container; run that program before 'up'",
    "models": "no model runner is started; run one as a service, and give its address in environment",
    "services.*.models": "no model runner is started; run one as a service, and give its address in environment",
    # its sandbox
    "services.*.cgroup_parent": "all containers share one parent group; write the limits at each service",
    "services.*.cpu_rt_period": _NO_REAL_TIME,
    "services.*.cpu_rt_runtime": _NO_REAL_TIME,
    "services.*.storage_opt": "the writable layer has no size of its own; write read_only, and a tmpfs with a size",
    # its network
    # its files
    "configs.*.template_driver": "write the content as it is to be",
    "secrets.*.template_driver": "write the content as it is to be",
    "secrets.*.driver": "write file:, environment: or external: true",
    "secrets.*.driver_opts": "write file:, environment: or external: true",
    # words of pyorch: a service
    "services.*.x-pyorch.export": REMOVE,
    "services.*.x-pyorch.idle": REMOVE,
    "services.*.x-pyorch.memory_high": REMOVE,
    "services.*.x-pyorch.schedule": REMOVE,
}

# key → the only values that are obeyed, or that change nothing here; any other is refused
ALLOWED: dict[str, tuple[object, ...]] = {
    # images
    "services.*.build.isolation": ("default",),
    "services.*.build.privileged": (False,),  # steps run confined as services do
    # its life
    # its sandbox
    "services.*.use_api_socket": (False,),
    "services.*.userns_mode": ("host",),  # there are no user namespaces
    # its network
    "services.*.deploy.endpoint_mode": ("dnsrr",),  # the name of a service leads to its replicas, in turn
    "networks.*.driver": ("bridge",),
    "networks.*.enable_ipv4": (True,),
    "networks.*.ipam.driver": ("default",),
    # its files
    "services.*.volumes[].type": ("bind", "volume", "tmpfs"),
    "volumes.*.driver": ("local",),
}

# The ways out of these, where removing the key is not the best one.
_WAYS: dict[str, str] = {
    "services.*.build.isolation": "only Windows has others; write default, or remove it",
    "services.*.use_api_socket": "there is no Docker API here; remove it",
    "services.*.deploy.endpoint_mode": "a service's name leads to its replicas in turn; write dnsrr, or remove it",
    "networks.*.driver": "networks are bridges of this machine; for its own network write network_mode: host",
    "services.*.volumes[].type": "write bind, volume or tmpfs",
    "volumes.*.driver": "write the driver local, which mounts nfs, cifs and others by driver_opts type, o and device",
}

# key → why nothing has to be done for it: checked, carried along, never refused
WITHOUT_EFFECT: dict[str, str] = {
    "version": "the number of an old format; obsolete",
    "services.*.cpu_count": "only Windows containers have it",
    "services.*.cpu_percent": "only Windows containers have it",
    "services.*.credential_spec": "only Windows containers have it",
    "services.*.deploy.labels": "labels of the service as a whole: a note, not put on containers",
    "services.*.develop": "only `watch` looks at it",
    "services.*.expose": "a note: services of a common network reach every port",
    "services.*.isolation": "only Windows containers have it",
    "services.*.ports[].app_protocol": "a note for tools",
    "services.*.ports[].mode": "there is one node: host and ingress are the same",
    "services.*.ports[].name": "a note for readers",
    "services.*.volumes[].bind.selinux": "containers have no SELinux label of their own: nothing is kept from them",
    "services.*.volumes[].consistency": "a hint for desktop virtual machines",
    "networks.*.ipam.options": "the default driver has none",
    "networks.*.attachable": "there is no swarm that could keep anybody from joining",
}

_Tree: TypeAlias = "dict[str, _Tree | tuple[str, tuple[object, ...]]]"


def _plant() -> _Tree:
    """The tables as one tree of steps, so that only those parts of a file are walked that could be refused."""
    root: _Tree = {}
    leaves: dict[str, tuple[str, tuple[object, ...]]] = {
        path: ((_OURS if "x-pyorch" in path else _SPEC) + way_out, ()) for path, way_out in REFUSED.items()
    }
    leaves |= {path: (_SPEC + _WAYS.get(path, REMOVE), values) for path, values in ALLOWED.items()}
    for path, leaf in leaves.items():
        tree, steps = root, path.replace("[]", ".[]").split(".")
        for step in steps[:-1]:
            below = tree.setdefault(step, {})
            assert isinstance(below, dict), f"{path} stands below a refused word"
            tree = below
        tree[steps[-1]] = leaf
    return root


_REFUSALS = _plant()


def refuse(tree: Map, places: Marks, complaints: Complaints, *, lenient: bool = False) -> None:
    """Complain about every word in the effective tree that is known but not obeyed; what nobody wrote has no place.

    `lenient`: warn, and go on as if the word had not been written.
    """
    for path, why, way_out in [*refused(tree, places)]:
        if path in complaints.broken:
            continue
        if lenient:
            if why:
                complaints.warn(places, path, f"{why}: left out (--compat=warn)")
            _forget(tree, path)
        else:
            if why:
                complaints.about(places, path, f"{why}; {way_out}", key=True)
            complaints.broken.add(path)


def refused(tree: Mapping[str, Any], places: Marks) -> Iterator[tuple[Path, str, str]]:
    """(path, why, way out) of each word that was written and is not obeyed. Where many services inherit one word, `why`
    is "" for all but the first."""
    told: set[tuple[int, str]] = set()
    for path, reason, allowed in _walk(tree, _REFUSALS, ()):
        if path not in places:
            continue
        word = id(places[path][1]), str(path[-1])
        why, _, way_out = reason.partition("; ")
        value = f"'{path[-1]}: {words(_value(tree, path))}' " if allowed else ""
        yield path, "" if word in told else value + why, way_out
        told.add(word)


def _walk(data: Any, tree: _Tree, path: Path) -> Iterator[tuple[Path, str, tuple[object, ...]]]:
    if isinstance(data, list):
        children: list[tuple[str | int, Any, Any]] = [(i, item, tree.get("[]")) for i, item in enumerate(data)]
    elif isinstance(data, dict):
        children = (
            [(key, data[key], tree[key]) for key in tree if key in data]
            if "*" not in tree
            else [(key, value, tree["*"]) for key, value in data.items()]
        )
    else:
        return
    for step, value, below in children:
        if isinstance(below, dict):
            yield from _walk(value, below, (*path, step))
        elif below and value not in below[1] and value is not None:
            yield (*path, step), below[0], below[1]


def _forget(data: Any, path: Path) -> None:
    """Take the word out; a mount that loses its `type` is taken out whole."""
    if path[-1] == "type":
        _value(data, path[:-2])[path[-2]] = None
    else:
        del _value(data, path[:-1])[path[-1]]


def _value(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data
