"""The whole road from files to a Stack, on one page. Nothing is kept between two calls."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from orchestrator.errors import Mistake
from orchestrator.stack import check, dotenv, grants, merge, mounts, obeyed, resources, schema, text
from orchestrator.stack import networks as stack_networks
from orchestrator.stack.context import Context
from orchestrator.stack.files import NAMES, find
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.places import Complaints, Place, Source, origins, shown_name
from orchestrator.stack.reading import Reader
from orchestrator.stack.service import service

_NAMES = "lower-case letters, digits, '-' and '_', beginning with a letter or a digit"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


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
) -> Stack:
    """Read, check and type the named files (None: the one `find` sees); later ones are laid over.

    `environment`: the caller's variables; they win over `.env` of the project's directory, which is that of the first
    file unless `project_directory` is given. `env_files` replace `.env`. `services`: named ones are in even where their
    profile is not active. `reader`: the door to the files. Raises Mistake with every complaint there is.
    """
    reader = reader or Reader()
    paths = _paths(files, directory)
    home = os.path.normpath(os.path.join(directory, project_directory or os.path.dirname(paths[0])))
    complaints = Complaints()
    variables = _variables(home, directory, env_files, environment, complaints, reader)
    roots = [text.compose(_bytes(path, reader), shown_name(path, home), path, complaints) for path in paths]
    complaints.raise_if_any()
    stack = _name(name, variables, roots, home, complaints)
    variables["COMPOSE_PROJECT_NAME"] = stack

    documents = [text.read(source, root, variables, complaints) for source, root in roots if root]
    for document in documents:
        schema.settle(document, complaints)
        if not schema.fits(document.data):
            from orchestrator.stack.explain import explain

            explain(document, complaints)
        obeyed.refuse(document, complaints)
        merge.lengthen(document)
    whole = documents[0]
    for over in documents[1:]:
        merge.merge(whole, over)
    return _typed(whole, stack, home, tuple(paths), variables, complaints, profiles, services, reader)


def _typed(
    whole: text.Document,
    stack: str,
    home: str,
    paths: tuple[str, ...],
    variables: Mapping[str, str],
    complaints: Complaints,
    profiles: Sequence[str],
    named: Sequence[str],
    reader: Reader,
) -> Stack:
    data = whole.data
    extensions = {key: value for key, value in data.items() if key.startswith("x-")}
    ours = extensions.get("x-pyorch") or {}
    publish = "0.0.0.0" if ours.get("publish") == "any" else "127.0.0.1"
    drift: Literal["heal", "report"] = "report" if ours.get("drift") == "report" else "heal"
    context = Context(stack, home, variables, whole.marks, complaints, reader, publish, drift)
    if "version" in data:
        complaints.warn(whole.marks, ("version",), "is obsolete and ignored; remove it")
    if not data.get("services") and ("services",) not in complaints.broken:
        context.complain(("services",), "there are no services; expected 'services:' with at least one")
    data["services"] = {key: value for key, value in (data.get("services") or {}).items() if value is not None}
    active = {*profiles, *filter(None, variables.get("COMPOSE_PROFILES", "").replace(" ", "").split(","))}
    made: dict[str, Service] = {}
    published = []
    for key in _chosen(data["services"], active, named):
        made[key], ports = service(context, key, data["services"][key])
        published += [(key, port, where) for port, where in ports]
    made = mounts.borrowed(made)
    made = {key: _without_absent(one, made) for key, one in made.items()}
    networks = stack_networks.networks(
        context, data.get("networks") or {}, (n for s in made.values() for n in s.networks)
    )
    mounted = (mount.source for one in made.values() for mount in one.mounts if mount.kind == "volume" and mount.source)
    volumes = resources.volumes(context, data.get("volumes") or {}, mounted)
    granted = {
        kind: [g.source for s in made.values() for g in s.grants if g.kind == kind] for kind in ("config", "secret")
    }
    configs, inline = grants.materials(context, "config", data.get("configs") or {}, granted["config"])
    secrets, known = grants.materials(context, "secret", data.get("secrets") or {}, granted["secret"])
    check.check(context, made, published, data, networks)
    complaints.raise_if_any()
    return Stack(
        name=stack,
        directory=home,
        files=paths,
        services=made,
        networks=networks,
        volumes=volumes,
        configs=configs,
        secrets=secrets,
        contents=inline | known,
        extensions=extensions,
        origins=origins(whole.marks),
        warnings=tuple(complaints.warnings),
        inputs=reader.seen,
    )


def _chosen(written: Mapping[str, Any], active: set[str], named: Sequence[str]) -> list[str]:
    """Services without a profile, with an active one, and the named ones with all they need."""
    chosen = {
        key
        for key, data in written.items()
        if "*" in active or not data.get("profiles") or active & {*data["profiles"]}
    }
    todo = [key for key in named if key in written]
    while todo:
        key = todo.pop()
        chosen.add(key)
        todo += [need for need in written[key].get("depends_on") or () if need in written and need not in chosen]
    return sorted(chosen)


def _without_absent(one: Service, made: Mapping[str, Service]) -> Service:
    """Optional dependencies that are not there are no dependencies."""
    absent = [key for key, need in one.depends_on.items() if key not in made and not need.required]
    if not absent:
        return one
    return replace(one, depends_on={key: need for key, need in one.depends_on.items() if key not in absent})


def _paths(named: Sequence[str] | None, directory: str) -> list[str]:
    if named:
        return [os.path.normpath(os.path.join(directory, path)) for path in named]
    if found := find(directory):
        return [found]
    raise Mistake(
        f"cannot find a stack file in {directory} or a folder above it: expected {', '.join(NAMES)}; name one with -f"
    )


def _bytes(path: str, reader: Reader) -> bytes:
    """The file, or a little more than the largest that is allowed of it."""
    try:
        return reader.read(path, text.LARGEST + 1)
    except OSError as error:
        raise Mistake(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error


def _variables(
    home: str,
    directory: str,
    env_files: Sequence[str],
    environment: Mapping[str, str],
    complaints: Complaints,
    reader: Reader,
) -> dict[str, str]:
    """`.env` or the files named instead, then the caller's environment over them."""
    written: dict[str, str] = {}
    default = os.path.join(home, ".env")
    paths = [os.path.join(directory, path) for path in env_files] or ([default] if reader.is_file(default) else [])
    for path in paths:
        raw = _bytes(path, reader)
        source = Source(path, shown_name(path, home), ())
        try:
            content = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            complaints.add(Place(source, line, 1), "is not UTF-8 text")
            continue
        source = Source(path, source.shown, tuple(content.split("\n")))
        written |= dotenv.parse(content, source, {**written, **environment}, complaints)
    return {**written, **environment}


def _name(
    given: str | None,
    variables: Mapping[str, str],
    roots: Sequence[tuple[Source, Any]],
    home: str,
    complaints: Complaints,
) -> str:
    """-p, COMPOSE_PROJECT_NAME, `name:` of the last file with one, the directory's name made fit: Compose's order."""
    written = [node for _, root in roots if root and (node := text.scalar_of(root, "name"))]
    chosen = given or variables.get("COMPOSE_PROJECT_NAME")
    if not chosen and written:
        try:
            chosen = interpolate(written[-1].value, variables, lambda _: None)
        except Malformed:
            return "unnamed"  # the complaint comes, with its place, when the file is read
        if not _NAME.fullmatch(chosen):
            source = next(source for source, root in reversed(roots) if root and text.scalar_of(root, "name"))
            mark = written[-1].start_mark
            complaints.add(
                Place(source, mark.line + 1, mark.column + 1), f"name: expected {_NAMES}, but found {chosen!r}"
            )
            return "unnamed"
    if not chosen:
        return re.sub(r"[^a-z0-9_-]", "", os.path.basename(home).lower()).lstrip("_-") or "default"
    if not _NAME.fullmatch(chosen):
        raise Mistake(f"cannot use {chosen!r} as the stack's name: expected {_NAMES}")
    return chosen
