"""The road from files to a Stack: the effective tree (`effective`), then every word of it obeyed or refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.stack import check, grants, mounts, obeyed, placement, resources
from orchestrator.stack import networks as stack_networks
from orchestrator.stack.context import Context
from orchestrator.stack.effective import Effective, effective
from orchestrator.stack.healing import drift
from orchestrator.stack.loader import Options
from orchestrator.stack.model import Healing, Service, Stack
from orchestrator.stack.places import Complaints, origins
from orchestrator.stack.project import Asked
from orchestrator.stack.reading import Reader
from orchestrator.stack.service import service


def load(
    files: Sequence[str] | None,
    *,
    directory: str,
    environment: Mapping[str, str],
    name: str | None = None,
    env_files: Sequence[str] = (),
    profiles: Sequence[str] = (),
    services: Sequence[str] = (),
    project_directory: str | None = None,
    reader: Reader | None = None,
    strict: bool = False,
    lenient: bool = False,
) -> Stack:
    """Read, check and type the named files (None: those that `find_all` sees); later ones are laid over.

    `directory`: where the caller stands. `environment`: the caller's variables; they win over `.env` of the project's
    directory, which is that of the first file unless `project_directory` is given. `env_files` replace `.env`.
    `services`: named ones are in even where their profile is not active. `reader`: the door to the files. `strict`:
    a variable without a value is a mistake. `lenient`: what is not obeyed is left out with a warning. Raises Mistake
    with every complaint there is.
    """
    asked = Asked(directory, environment, files or (), name, env_files, project_directory, profiles)
    return typed(effective(asked, Options(), Complaints(strict), services, reader), lenient=lenient)


def typed(found: Effective, *, lenient: bool = False) -> Stack:
    """The Stack of an effective tree. Raises Mistake with every complaint there is, earlier ones included."""
    project, tree, complaints = found.project, found.tree, found.complaints
    obeyed.refuse(tree, found.places, complaints, lenient=lenient)
    extensions = {key: value for key, value in tree.items() if key.startswith("x-")}
    ours = extensions.get("x-pyorch") or {}
    publish = "0.0.0.0" if ours.get("publish") == "any" else "127.0.0.1"
    usual = drift(ours if isinstance(ours, Mapping) else {}, Healing())
    context = Context(
        project.name, project.directory, project.variables, found.places, complaints, found.door, publish, usual
    )
    if not tree["services"] and not found.chosen.disabled and ("services",) not in complaints.broken:
        context.complain(("services",), "there are no services; expected 'services:' with at least one")
    made: dict[str, Service] = {}
    published = []
    for key in sorted(key for key, data in tree["services"].items() if data is not None):
        made[key], ports = service(context, key, tree["services"][key])
        published += [(key, port, where) for port, where in ports]
    made = mounts.borrowed(made)
    made = {key: _without_absent(one, made) for key, one in made.items()}
    joined = (network for one in made.values() for network in one.networks)
    networks = stack_networks.networks(context, tree.get("networks") or {}, joined)
    mounted = (mount.source for one in made.values() for mount in one.mounts if mount.kind == "volume" and mount.source)
    volumes = resources.volumes(context, tree.get("volumes") or {}, mounted)
    granted = {
        kind: [g.source for s in made.values() for g in s.grants if g.kind == kind] for kind in ("config", "secret")
    }
    granted["secret"] += [key for s in made.values() if s.build for key in s.build.secrets.values()]
    configs, inline = grants.materials(context, "config", tree.get("configs") or {}, granted["config"])
    secrets, known = grants.materials(context, "secret", tree.get("secrets") or {}, granted["secret"])
    allotted = placement.shares(context, extensions.get("x-pyorch") or {})
    check.check(context, made, published, networks)
    complaints.raise_if_any()
    return Stack(
        name=project.name,
        directory=project.directory,
        files=project.files,
        services=made,
        networks=networks,
        volumes=volumes,
        configs=configs,
        secrets=secrets,
        contents=inline | known,
        extensions=extensions,
        origins=origins(found.places),
        warnings=tuple(complaints.warnings),
        inputs=found.door.seen,
        shares=allotted,
    )


def _without_absent(one: Service, made: Mapping[str, Service]) -> Service:
    """Optional dependencies that are not there are no dependencies."""
    absent = [key for key, need in one.depends_on.items() if key not in made and not need.required]
    if not absent:
        return one
    return replace(one, depends_on={key: need for key, need in one.depends_on.items() if key not in absent})
