"""What the schema knows and pyorch does not obey yet. Each is refused by name: nothing is ignored in silence.

`*` stands for any name, `[]` for any element of a list. `ALLOWED`: the values that change nothing here, or are obeyed.
A word leaves this table in the same change that teaches a room to obey it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from orchestrator.stack.context import text as words
from orchestrator.stack.places import Complaints, Path
from orchestrator.stack.text import Document

# ruff: noqa: SIM905 (words in a row read better than a column of quotes)

_SPEC = "is part of the Compose Specification but pyorch does not obey it yet; "
_OURS = "is a word of pyorch that is not obeyed yet; remove it"
_REMOVE = "remove it"

# key path → the way out
REFUSED: dict[str, str] = {
    "include": "put everything into one file, or name the files with -f",
    "configs": "mount the file with a bind mount",
    "secrets": "mount the file with a read-only bind mount",
    "models": _REMOVE,
    "services.*.build": "name an image: host:/ (programs of this machine) or dir:/path (a root directory)",
    "services.*.extends": "use a YAML anchor and `<<`, or a second file with -f",
    "services.*.configs": "mount the file with a bind mount",
    "services.*.secrets": "mount the file with a read-only bind mount",
    "services.*.volumes_from": "write the volumes of both services",
    "services.*.pull_policy": "remove it; host:/ and dir:/path are never pulled",
    "networks.*.ipam.config[].ip_range": _REMOVE,
    "networks.*.ipam.config[].aux_addresses": _REMOVE,
    "networks.*.ipam.options": _REMOVE,
    "networks.*.driver_opts": _REMOVE,
    "volumes.*.driver_opts": "remove it, or use a bind mount",
}
REFUSED |= dict.fromkeys(
    (
        *(
            f"services.*.{key}"
            for key in (
                "blkio_config cgroup_parent cpu_count cpu_percent cpu_rt_period"
                " cpu_rt_runtime cpuset credential_spec device_cgroup_rules devices develop"
                " domainname gpus isolation mac_address"
                " models oom_score_adj provider"
                " pull_refresh_after runtime storage_opt"
            ).split()
        ),
        *(f"services.*.deploy.{key}" for key in ("placement",)),
        "services.*.deploy.resources.reservations.devices",
        "services.*.deploy.resources.reservations.generic_resources",
        *(
            f"services.*.networks.*.{key}"
            for key in "driver_opts gw_priority interface_name ipv6_address link_local_ips mac_address".split()
        ),
        *(
            f"services.*.volumes[].{key}"
            for key in ("bind.propagation", "bind.recursive", "image", "volume.labels", "volume.subpath")
        ),
    ),
    _REMOVE,
)
ALLOWED: dict[str, tuple[object, ...]] = {
    "services.*.cgroup": ("private",),
    "services.*.ipc": ("private",),
    "services.*.network_mode": ("none", "bridge", "default"),
    "services.*.pid": ("private",),
    "services.*.privileged": (False,),
    "services.*.stdin_open": (False,),
    "services.*.tty": (False,),
    "services.*.use_api_socket": (False,),
    "services.*.userns_mode": (),
    "services.*.uts": (),
    "services.*.deploy.endpoint_mode": ("dnsrr",),  # the name of a service leads to its replicas, in turn
    "services.*.deploy.mode": ("replicated",),
    "services.*.volumes[].type": ("bind", "volume", "tmpfs"),
    "networks.*.attachable": (False,),
    "networks.*.driver": ("bridge",),
    "networks.*.enable_ipv4": (True,),
    "networks.*.enable_ipv6": (False,),
    "networks.*.ipam.driver": ("default",),
    "volumes.*.driver": ("local",),
}
NOT_YET_OURS = (
    *(f"x-pyorch.{key}" for key in "drift reserve quota gang notify".split()),
    *(
        f"services.*.x-pyorch.{key}"
        for key in (
            "probes on_dependency on_change reload schedule priority affinity memory_high export idle idmap drift"
        ).split()
    ),
    "volumes.*.x-pyorch.protect",
)

_Tree: TypeAlias = "dict[str, _Tree | tuple[str, tuple[object, ...]]]"


def _plant() -> _Tree:
    """The tables as one tree of steps, so that only those parts of a file are walked that could be refused."""
    root: _Tree = {}
    leaves: dict[str, tuple[str, tuple[object, ...]]] = {
        path: (_SPEC + way_out, ()) for path, way_out in REFUSED.items()
    }
    leaves |= {path: (_SPEC + _REMOVE, values) for path, values in ALLOWED.items()}
    leaves |= {path: (_OURS, ()) for path in NOT_YET_OURS}
    for path, leaf in leaves.items():
        tree, steps = root, path.replace("[]", ".[]").split(".")
        for step in steps[:-1]:
            below = tree.setdefault(step, {})
            assert isinstance(below, dict), f"{path} stands below a refused word"
            tree = below
        tree[steps[-1]] = leaf
    return root


_REFUSALS = _plant()


def refuse(document: Document, complaints: Complaints) -> None:
    """Complain about every word in the file that is known but not obeyed."""
    for path, reason, allowed in _walk(document.data, _REFUSALS, ()):
        if path not in complaints.broken:
            value = f"'{path[-1]}: {words(_value(document.data, path))}' " if allowed else ""
            complaints.about(document.marks, path, value + reason, key=True)
            complaints.broken.add(path)


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


def _value(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data
