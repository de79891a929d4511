"""A Dockerfile carried out: its stages side by side, each step from the cache or made, the image named last.

Who makes files and runs programs is an argument (`Hands`): processes of the worker that have one thread each.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from orchestrator.errors import HostRefused, Mistake, OrchestratorError
from orchestrator.images import config as configs
from orchestrator.images import load
from orchestrator.images import manifest as manifests
from orchestrator.images.build import cache, context, dockerfile, ignore, plan, state
from orchestrator.images.build.cache import Record
from orchestrator.images.build.dockerfile import Instruction, Wrong
from orchestrator.images.build.plan import Stage
from orchestrator.images.build.state import Copy, Given, Make, Run, State, Step
from orchestrator.images.http import Refusal
from orchestrator.images.intake import Intake
from orchestrator.images.manifest import Descriptor, Platform
from orchestrator.images.store import Entry, Store

Say = Callable[..., None]


class Hands(Protocol):
    """What makes files and runs programs. Raises ValueError for what the Dockerfile's author can mend, HostRefused."""

    def do(self, task: dict[str, Any], hear: Callable[[str], None]) -> dict[str, Any]: ...

    def stop(self, home: str) -> None:
        """End the program of the step whose `home` that is, if it still runs."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be built. `secrets`: id → content. `contexts`: name → directory, or "docker-image://…"."""

    name: str  # the service's, for messages
    context: str
    dockerfile: str = ""
    inline: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    platform: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    no_cache: bool = False
    no_cache_stages: Sequence[str] = ()
    pull: bool = False
    network: str = ""
    shm_size: int | None = None
    extra_hosts: Mapping[str, str] = field(default_factory=dict)
    ulimits: Mapping[str, Sequence[int]] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Layer:
    """One change on top of another. `path` is where it lies now; `packing` gives its blob."""

    path: str
    record: Record | None = None
    packing: Future[tuple[Record, dict[str, Any]]] | None = None
    keys: frozenset[str] = frozenset()  # what the step means, for the cache


@dataclass(slots=True)
class Made:
    """What a stage has come to."""

    state: State
    layers: list[Layer]  # the lowest first
    key: str
    history: list[dict[str, Any]]
    platform: Platform
    created: str = ""

    def lower(self, store: Store) -> list[str]:
        """Directories for overlayfs, topmost first."""
        return [layer.path for layer in reversed(self.layers)] or [store.empty()]


class Builder:
    """One build. `fetch` gives the store's row of a base image; `moment` is now, RFC 3339."""

    def __init__(
        self,
        intake: Intake,
        hands: Hands,
        fetch: Callable[[str, str, bool], Entry],
        order: Order,
        say: Say,
        now: float,
        moment: str,
    ) -> None:
        self._intake, self._store, self._hands, self._fetch = intake, intake.store, hands, fetch
        self._order, self._say, self._now, self._moment = order, say, now, moment
        self._pool = ThreadPoolExecutor(64, "stage")
        self._packs = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "pack")
        self._lock = threading.Lock()
        self._futures: dict[int, Future[Made]] = {}
        self._images: dict[tuple[str, str], Future[Made]] = {}
        self._stages: tuple[Stage, ...] = ()
        self._given = Given()
        self._hidden: tuple[ignore.Rule, ...] = ()
        self._patterns: list[str] = []  # of .dockerignore, for those who copy
        self._scratch: list[str] = []
        self._running: set[str] = set()  # homes of steps
        self._failure: BaseException | None = None  # the first: what failed after it was ended for its sake

    def run(self) -> Entry:
        """The image, named. Raises Mistake with place and line for what the Dockerfile has wrong, OrchestratorError."""
        order = self._order
        text, where = self._read()
        with self._store.in_use():
            try:
                parsed = dockerfile.parse(text)
                self._given = Given(order.arguments, {}, _platforms(self._platform()), parsed.escape)
                self._stages, self._given = plan.stages(parsed.instructions, self._given)
                self._check()
                wanted = self._target()
                made = self._begin(wanted).result()
                return self._finish(made, wanted)
            except Exception as late:
                error = self._failure or late
                if isinstance(error, Wrong):
                    raise Mistake(_pointed(where, text, error)) from error
                raise error from None
            finally:
                self._pool.shutdown(cancel_futures=True)
                self._packs.shutdown()
                for directory in self._scratch:
                    shutil.rmtree(directory, ignore_errors=True)

    # what is to be done

    def _read(self) -> tuple[str, str]:
        order = self._order
        if not os.path.isdir(order.context):
            raise Mistake(f"cannot build '{order.name}': there is no directory {order.context}")
        where = os.path.join(order.context, order.dockerfile or "Dockerfile")
        if order.inline:
            text, where = order.inline, f"{order.name}: dockerfile_inline"
        else:
            text = _text(where, f"cannot build '{order.name}'")
        for path in (f"{where}.dockerignore", os.path.join(order.context, ".dockerignore")):
            if os.path.isfile(path):
                try:
                    self._patterns = ignore.lines(_text(path, f"cannot build '{order.name}'"))
                    self._hidden = ignore.rules(self._patterns)
                except ValueError as error:
                    raise Mistake(f"cannot build '{order.name}': {path}: {error}") from error
                break
        return text, where

    def _platform(self) -> Platform:
        try:
            return manifests.platform(self._order.platform) if self._order.platform else manifests.here()
        except ValueError as error:
            raise Mistake(f"cannot build '{self._order.name}': {error}") from error

    def _target(self) -> Stage:
        try:
            return plan.target(self._stages, self._order.target)
        except ValueError as error:
            raise Mistake(f"cannot build '{self._order.name}': {error}") from error

    def _check(self) -> None:
        """Every instruction is read before the first one is done: a mistake in the last one costs nothing."""
        for stage in self._stages:
            for one in stage.instructions:
                if "$" not in one.text:  # what a variable of the base image makes of it is not known yet
                    state.apply(one, State(), self._given)

    # stages

    def _begin(self, stage: Stage) -> Future[Made]:
        with self._lock:
            if stage.index not in self._futures:
                self._futures[stage.index] = self._pool.submit(self._carry_out, stage)
            return self._futures[stage.index]

    def _carry_out(self, stage: Stage) -> Made:
        """A stage that fails ends the others: nobody waits ten minutes for what is lost already."""
        try:
            return self._carried_out(stage)
        except BaseException as error:
            with self._lock:
                self._failure = self._failure or error
                running = list(self._running)
            for home in running:
                self._hands.stop(home)
            raise

    def _carried_out(self, stage: Stage) -> Made:
        for other in plan.foreseen(self._stages, stage):
            self._begin(other)
        made = self._base(stage)
        instructions = [*state.triggers(made.state.config, stage.origin.line), *stage.instructions]
        if made.state.config.get("OnBuild"):
            made.state = made.state.with_config(OnBuild=None)
        total = len(instructions)
        for number, one in enumerate(instructions, start=1):
            if self._failure is not None:
                raise HostRefused("another stage has failed")
            self._settle(made)
            after, step = state.apply(one, made.state, self._given)
            made.state = after
            if step is None:
                made.history.append({"created_by": _said(one), "empty_layer": True})
            else:
                self._step(stage, made, one, step, f"{number}/{total}")
        self._settle(made, wait=True)
        return made

    def _base(self, stage: Stage) -> Made:
        earlier = plan.find(self._stages, stage.base, stage.index)
        if earlier is not None:
            below = self._begin(earlier).result()
            fresh = replace(below.state, arguments={}, command_is_ours=False)
            return Made(fresh, list(below.layers), below.key, list(below.history), below.platform, below.created)
        if stage.base == "scratch":
            return Made(State(), [], "scratch", [], self._platform())
        named = self._order.contexts.get(stage.base, "")
        if named and not named.startswith("docker-image://"):
            raise stage.origin.wrong(f"FROM {stage.base}: the named context is a directory and no image")
        found = self._other(named.removeprefix("docker-image://") or stage.base, stage.platform)
        return replace(found, layers=list(found.layers), history=list(found.history))

    def _image(self, name: str, platform: str) -> Made:
        self._say(step=f"FROM {name}", state="running", key=f"from {name}")
        entry = self._fetch(name, platform or self._order.platform, self._order.pull)
        manifest = self._store.manifest(entry.manifest.digest)
        config = self._store.config(manifest)
        ids = zip(config.diff_ids, configs.chain(config.diff_ids), manifest.layers, strict=True)
        layers = []
        for diff_id, chain_id, blob in ids:
            path = self._store.layer(diff_id, chain_id)
            if path is None:
                raise HostRefused(
                    f"cannot build '{self._order.name}': layer {diff_id} of {name} is gone; pull it again"
                )
            layers.append(Layer(path, Record(config.created, blob.digest, blob.size, diff_id)))
        self._say(step=f"FROM {name}", state="done", key=f"from {name}")
        inner = {
            key: value for key, value in (config.raw.get("config") or {}).items() if value not in (None, "", [], {})
        }
        made = State(inner, author=str(config.raw.get("author") or ""))
        return Made(
            made, layers, entry.manifest.digest, [dict(one) for one in config.history], config.platform, config.created
        )

    # steps

    def _step(self, stage: Stage, made: Made, one: Instruction, step: Step, number: str) -> None:
        title = f"[{stage.label} {number}] {_said(one)}"
        key_of_step = f"{stage.index} {number}"
        try:
            key = _digest(made.key, self._meaning(step, stage))
            record = None if self._fresh(stage) else cache.find(self._store, key)
            exact = key
            if record is None and isinstance(step, Copy) and step.origin is not None:
                exact = _digest(made.key, self._meaning(step, stage, exactly=True))
                record = None if self._fresh(stage) else cache.find(self._store, exact)
                if record is not None:
                    cache.keep(self._store, key, record)  # found at once the next time
            if record is not None:
                exact = record.chain or exact
                self._say(step=title, state="cached", key=key_of_step)
                path = self._store.layer(record.diff_id, record.diff_id) if record.digest else None
                layer = Layer(path, record) if path else None
            else:
                self._say(step=title, state="running", key=key_of_step)
                layer = self._make(step, made, stage, title, key_of_step)
                self._pack(layer, key, exact)
                self._say(step=title, state="done", key=key_of_step)
        except ValueError as error:
            self._say(step=title, state="failed", key=key_of_step)
            if isinstance(error, Wrong):
                raise
            raise one.wrong(f"{one.keyword}: {error}") from error
        except (HostRefused, Refusal) as error:
            self._say(step=title, state="failed", key=key_of_step)
            raise type(error)(f"cannot build '{self._order.name}': line {one.line}: {error}") from error
        made.key = exact
        entry: dict[str, Any] = {"created_by": _said(one)}
        if layer is not None:
            made.layers.append(layer)
        made.history.append(entry)
        entry["layer"] = layer

    def _fresh(self, stage: Stage) -> bool:
        return self._order.no_cache or stage.label in self._order.no_cache_stages

    def _make(self, step: Step, made: Made, stage: Stage, title: str, key: str) -> Layer:
        home = os.path.join(self._store.ingest, f"step-{secrets.token_hex(8)}")
        os.mkdir(home, 0o700)
        self._scratch.append(home)
        place = {"home": home, "lower": made.lower(self._store), "scratch": not made.layers}
        hear = lambda line: self._say(step=title, state="output", line=line, key=key)  # noqa: E731
        match step:
            case Make():
                self._hands.do({"deed": "make", **place, "path": step.path, "user": step.user}, hear)
            case Copy():
                self._hands.do({"deed": "copy", **place, **self._copy_task(step, stage)}, hear)
            case Run():
                task = {"deed": "run", **place, **self._run_task(step, stage)}
                self._running.add(home)
                try:
                    done = self._hands.do(task, hear)
                finally:
                    self._running.discard(home)
                if done["code"] != 0:
                    raise ValueError(done["failure"] or f"the command ended with exit code {done['code']}")
        return Layer(os.path.join(home, "upper"))

    def _copy_task(self, step: Copy, stage: Stage) -> dict[str, Any]:
        return {
            "source": self._source(step.origin, stage),
            "patterns": list(step.sources),
            "texts": [list(pair) for pair in step.texts],
            "target": step.target,
            "cwd": step.cwd,
            "owner": step.owner,
            "mode": step.mode,
            "excludes": list(step.excludes),
            "unpacks": step.unpacks,
            "checksum": step.checksum,
            "hidden": [] if step.origin else self._patterns,
        }

    def _run_task(self, step: Run, stage: Stage) -> dict[str, Any]:
        order = self._order
        mounts = []
        for mount in step.mounts:
            value = asdict(mount)
            if mount.kind == "bind":
                value["from"] = self._source(mount.origin, stage)
            if mount.kind == "secret":
                if mount.id not in order.secrets:
                    if mount.required:
                        raise ValueError(f"there is no secret {mount.id!r}; give it under build.secrets")
                    continue
                value["content"] = order.secrets[mount.id]
            mounts.append(value)
        return {
            "arguments": list(step.arguments),
            "files": [list(pair) for pair in step.files],
            "environment": dict([*step.environment, *step.proxies]),
            "user": step.user,
            "cwd": step.cwd,
            "mounts": mounts,
            "network": step.network if step.network != "default" else order.network or "default",
            "shm_size": order.shm_size,
            "extra_hosts": dict(order.extra_hosts),
            "ulimits": {name: list(pair) for name, pair in order.ulimits.items()},
        }

    def _source(self, origin: str | None, stage: Stage) -> dict[str, Any]:
        """Where files are read from: the context, a named one, an earlier stage, or an image."""
        if not origin:
            return {"directory": self._order.context}
        earlier = plan.find(self._stages, origin, stage.index)
        if earlier is not None:
            return {"layers": self._begin(earlier).result().lower(self._store)}
        named = self._order.contexts.get(origin)
        if named and not named.startswith("docker-image://"):
            return {"directory": named}
        made = self._other(named.removeprefix("docker-image://") if named else origin)
        return {"layers": made.lower(self._store)}

    def _other(self, name: str, platform: str = "") -> Made:
        """An image of a registry or of files; fetched once, however many stages begin from it or read from it."""
        with self._lock:
            if (name, platform) not in self._images:
                self._images[name, platform] = self._pool.submit(self._image, name, platform)
        return self._images[name, platform].result()

    # what a step means

    def _meaning(self, step: Step, stage: Stage, exactly: bool = False) -> list[Any]:
        """Everything that what the step makes depends on. `exactly`: the content read from a stage, not all of it."""
        order = self._order
        match step:
            case Make():
                return ["make", step.path, step.user]
            case Copy():
                excluded = ignore.rules(step.excludes)
                words = sorted(asdict(step).items())
                if step.origin is None:
                    local = [source for source in step.sources if "://" not in source]
                    read = context.digest(order.context, local, self._hidden, excluded) if local else ""
                elif exactly:
                    task = {"deed": "digest", "source": self._source(step.origin, stage)}
                    task |= {"patterns": list(step.sources), "excludes": list(step.excludes), "home": self._home()}
                    read = "content " + str(self._hands.do(task, _deaf)["digest"])
                else:
                    read = self._key_of(step.origin, stage)
                return ["copy", [[key, _plain(value)] for key, value in words if key != "origin"], read]
            case Run():
                binds = [
                    context.digest(order.context, [mount.source or "."], self._hidden)
                    if not mount.origin
                    else self._key_of(mount.origin, stage)
                    for mount in step.mounts
                    if mount.kind == "bind"
                ]
                parts = {key: _plain(value) for key, value in asdict(step).items() if key != "proxies"}
                words = sorted(parts.items())
                return [
                    "run",
                    words,
                    binds,
                    order.network,
                    order.shm_size,
                    sorted(order.extra_hosts.items()),
                ]

    def _key_of(self, origin: str, stage: Stage) -> str:
        earlier = plan.find(self._stages, origin, stage.index)
        if earlier is not None:
            return self._begin(earlier).result().key
        named = self._order.contexts.get(origin)
        if named and not named.startswith("docker-image://"):
            return context.digest(named, ["."], ())
        return self._other(named.removeprefix("docker-image://") if named else origin).key

    def _home(self) -> str:
        home = os.path.join(self._store.ingest, f"step-{secrets.token_hex(8)}")
        os.mkdir(home, 0o700)
        self._scratch.append(home)
        return home

    # layers

    def _pack(self, layer: Layer, key: str, chain: str) -> None:
        """Its blob is made while the next steps go on."""
        layer.keys = frozenset((key, chain))
        layer.packing = self._packs.submit(self._packed, layer.path, chain)

    def _packed(self, directory: str, chain: str) -> tuple[Record, dict[str, Any]]:
        blob = os.path.join(self._store.ingest, f"file-{secrets.token_hex(8)}")
        found = self._hands.do({"deed": "pack", "directory": directory, "target": blob}, _deaf)
        if not found["entries"]:
            os.unlink(blob)
            return Record(self._moment, chain=chain), found
        self._store.adopt(blob, found["digest"])
        return Record(self._moment, found["digest"], found["size"], found["diff_id"], chain), found

    def _settle(self, made: Made, wait: bool = False) -> None:
        """Layers whose blob is made move to their place in the store, between two steps: nothing is mounted now."""
        for layer in made.layers:
            packing = layer.packing
            if packing is None or not (wait or packing.done()):
                continue
            record, found = packing.result()
            with self._lock:
                if layer.packing is None:
                    continue
                if record.digest:
                    notes = {"size": found["used"], "entries": found["entries"], "data": found["used"]}
                    layer.path = self._store.keep_layer(layer.path, record.diff_id, notes)
                for key in layer.keys:
                    cache.keep(self._store, key, record)
                layer.record, layer.packing = record, None
        made.layers = [layer for layer in made.layers if layer.record is None or layer.record.digest]

    # the end

    def _finish(self, made: Made, stage: Stage) -> Entry:
        order = self._order
        config = dict(made.state.config)
        if order.labels:
            config["Labels"] = {**(config.get("Labels") or {}), **order.labels}
        created = max((layer.record.created for layer in made.layers if layer.record), default="") or made.created
        history = []
        for one in made.history:
            layer = one.get("layer")
            kept = {"created": created, **{key: value for key, value in one.items() if key != "layer"}}
            if isinstance(layer, Layer) and layer.record is not None:
                kept["created"] = layer.record.created
            if "layer" in one and (layer is None or not layer.record.digest):
                kept["empty_layer"] = True
            history.append(kept)
        records = [layer.record for layer in made.layers if layer.record is not None]
        document = {
            "created": created or self._moment,
            "architecture": made.platform.architecture,
            "os": made.platform.os or "linux",
            **({"variant": made.platform.variant} if made.platform.variant else {}),
            **({"author": made.state.author} if made.state.author else {}),
            "config": {key: value for key, value in config.items() if value is not None},
            "rootfs": {"type": "layers", "diff_ids": [record.diff_id for record in records]},
            "history": history,
        }
        layers = [_blob(record, self._store) for record in records]
        return load.finish(self._intake, document, layers, list(order.tags) or [""], self._now)


def _deaf(line: str) -> None:
    """What packing and hashing would say is nothing."""


def _blob(record: Record, store: Store) -> Descriptor:
    """A layer of a base image keeps the kind it came as, as far as that can be told: by how its blob begins."""
    with open(store.blob(record.digest), "rb") as file:
        head = file.read(4)
    suffix = "+gzip" if head[:2] == b"\x1f\x8b" else "+zstd" if head == b"\x28\xb5\x2f\xfd" else ""
    return Descriptor(f"{manifests.OCI_LAYER}{suffix}", record.digest, record.size)


def _said(one: Instruction) -> str:
    """As people wrote it, on one line."""
    return " ".join(one.text.replace("\\\n", " ").split())


def _digest(*parts: Any) -> str:
    return hashlib.sha256(
        json.dumps(parts, sort_keys=True, default=list).encode("utf-8", "surrogateescape")
    ).hexdigest()


def _plain(value: Any) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _platforms(wanted: Platform) -> dict[str, str]:
    here = manifests.here()
    parts = {"TARGET": wanted, "BUILD": here}
    known: dict[str, str] = {}
    for name, one in parts.items():
        variant = one.variant if one.architecture != "arm64" else ""
        known |= {
            f"{name}PLATFORM": f"{one.os}/{one.architecture}" + (f"/{variant}" if variant else ""),
            f"{name}OS": one.os,
            f"{name}ARCH": one.architecture,
            f"{name}VARIANT": variant,
        }
    return known


def _text(path: str, cannot: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read((8 << 20) + 1)
    except FileNotFoundError as error:
        raise Mistake(f"{cannot}: there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"{cannot}: {path} cannot be read: {error}") from error
    if len(text) > 8 << 20:
        raise Mistake(f"{cannot}: {path} is larger than 8 MiB")
    return text


def _pointed(where: str, text: str, error: Wrong) -> str:
    """The mistake, and the line it is in."""
    lines = text.split("\n")
    line = lines[error.line - 1] if 0 < error.line <= len(lines) else ""
    caret = " " * (error.column - 1) + "^"
    return f"{where}:{error.line}:{error.column}: {error.why}\n  {line}\n  {caret}"


__all__ = ["Builder", "Hands", "OrchestratorError", "Order"]
