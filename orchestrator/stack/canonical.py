"""Every short form made long, so that what comes after knows one form of each thing (Compose Specification, "Short
syntax" of each key). A long form has the marks of the short text it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.record import fresh, frozen
from orchestrator.stack import short
from orchestrator.stack.merge import named
from orchestrator.stack.places import Complaints, Mark, Path, Place, did_you_mean, dotted
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import List, Map, mapped, mark_of, plant, walk

Form = Callable[["_Work", Any, "Mark | None", Path], Any]


def lengthen(tree: Map, complaints: Complaints, *, lenient: bool = False) -> None:
    """Bring every value into its long form. `lenient`: with variables not filled in, what is unclear stays."""
    work = _Work(complaints, lenient)

    def visit(branch: Any, step: Any, path: Path, form: Form) -> None:
        if branch[step] is not None:
            branch[step] = form(work, branch[step], mark_of(branch, step), path)

    walk(tree, _FORMS, visit)


@frozen
class _Work:
    complaints: Complaints
    lenient: bool
    ports: list[int] = fresh(default_factory=lambda: [0])  # how many there are, of all services

    def read(self, reader: Callable[[str], Any], text: str, mark: Mark | None, path: Path) -> Any:
        """`reader(text)`; None where it cannot be read: a complaint says why, unless we are lenient."""
        try:
            return reader(text)
        except ValueError as error:
            if not self.lenient:
                self.complain(path, mark, str(error))
            return None

    def warn(self, path: Path, mark: Mark | None, text: str) -> None:
        place = f"{mark[0].shown}:{mark[2].start_mark.line + 1}: " if mark else ""
        self.complaints.warnings[f"{place}{dotted(path)}: {text}"] = None

    def complain(self, path: Path, mark: Mark | None, text: str) -> None:
        self.complaints.broken.add(path)
        if mark is not None:
            start = mark[2].start_mark
            place = Place(mark[0], start.line + 1, start.column + 1)
            self.complaints.add(place, f"{dotted(path)}: {text}")


def _ports(work: _Work, value: Any, _: Mark | None, path: Path) -> Any:
    result = List()
    for index, (item, mark) in enumerate(value.pairs() if isinstance(value, List) else ()):
        if isinstance(item, dict):
            result.add(item, mark)
        elif item is not None:
            if work.ports[0] + len(result) + short.count(words(item)) > short.MOST_PORTS:
                work.complain((*path, index), mark, f"more than {short.MOST_PORTS} ports in one stack")
                break
            found = work.read(short.ports, words(item), mark, (*path, index))
            if found is None and work.lenient:
                return value
            for port in found or ():
                result.add(mapped(port, mark), mark)
    work.ports[0] += len(result)
    return result


def _volume(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    if isinstance(value, str):
        found = work.read(short.volume, value, mark, path)
        if found is None:
            return value if work.lenient else None
        for option in short.unknown_options(value):
            known = short.OPTIONS
            work.warn(path, mark, f"unknown mount option {option!r} is ignored{did_you_mean(option, known)}")
        long = mapped(found, mark)
        for kind in ("bind", "volume"):
            if kind in long:
                options = mapped(long[kind], mark)
                options.marks.pop("create_host_path", None)  # Compose's default, not a word of the user's
                long.put(kind, options, mark if options.marks else None)
        return long
    if isinstance(value, Map) and isinstance(value.get("target"), str):
        value["target"] = short.clean(value["target"])
    return value


def _device(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    if not isinstance(value, str):
        return value
    found = work.read(short.device, value, mark, path)
    return value if found is None else mapped(found, mark)


def _under(key: str) -> Form:
    """text → {key: text}."""

    def form(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
        return value if isinstance(value, Map) else mapped({key: value}, mark)

    return form


def _listed(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    return List([value], [mark]) if isinstance(value, str) else value


def _names(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    return named(value, None)


def _depends_on(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    result = named(value, {"condition": "service_started"})
    for need in result.values() if isinstance(result, Map) else ():
        if isinstance(need, Map):
            need.setdefault("condition", "service_started")
            need.setdefault("required", True)
    return result


def _env_file(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    items = List([value], [mark]) if isinstance(value, str) else value
    result = List()
    for item, place in items.pairs() if isinstance(items, List) else ():
        if item is None:  # taken out, with a complaint
            continue
        long = item if isinstance(item, Map) else mapped({"path": item}, place)
        long.setdefault("required", True)
        result.add(long, place)
    return result


def _pairs(work: _Work, value: Any, _: Mark | None, path: Path) -> Any:
    """["A=1", "B"] → {A: "1", B: null}."""
    if not isinstance(value, List):
        return value
    result = Map()
    for item, mark in value.pairs():
        name, equals, text = words(item).partition("=")
        if item is not None:
            result.put(name, text if equals else None, mark)
    return result


def _ssh(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    """[default, id=path] → {default: null, id: path}."""
    pairs = _pairs(work, List([value], [mark]) if isinstance(value, str) else value, mark, path)
    bare = [key for key, inner in pairs.items() if inner is None and key != "default"]
    for key in bare if not isinstance(value, Map) else ():
        work.complain(path, mark, f"expected 'default' or ID=PATH, but found {key!r}")
    return pairs


def _gpus(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    return List([mapped({"count": "all"}, mark)], [mark]) if isinstance(value, str) else value


def _resource(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    """`external: {name: x}` is the obsolete form of `external: true` and `name: x`."""
    if not isinstance(value, Map) or not isinstance(external := value.get("external"), Map):
        return value
    place = value.marks.get("external")
    name = external.get("name")
    work.warn((*path, "external"), place, "external.name is obsolete; write name: beside external: true")
    if name is not None and value.get("name") not in (None, name):
        work.complain(
            (*path, "external"), place, f"its name is {name!r} here and {value['name']!r} in name:; write one"
        )
    value.put("external", True, place)
    if name is not None:
        value.put("name", name, external.marks.get("name"))
    return value


def _as_text(work: _Work, value: Any, mark: Mark | None, path: Path) -> Any:
    return words(value)


_FORMS = plant(
    {
        "services.*.build": _under("context"),
        "services.*.build.additional_contexts": _pairs,
        "services.*.build.provenance": _as_text,
        "services.*.build.sbom": _as_text,
        "services.*.build.secrets[]": _under("source"),
        "services.*.build.ssh": _ssh,
        "services.*.configs[]": _under("source"),
        "services.*.depends_on": _depends_on,
        "services.*.devices[]": _device,
        "services.*.dns": _listed,
        "services.*.env_file": _env_file,
        "services.*.extends": _under("service"),
        "services.*.gpus": _gpus,
        "services.*.label_file": _listed,
        "services.*.models": _names,
        "services.*.networks": _names,
        "services.*.ports": _ports,
        "services.*.secrets[]": _under("source"),
        "services.*.volumes[]": _volume,
        **dict.fromkeys(("configs.*", "networks.*", "secrets.*", "volumes.*"), _resource),
    }
)


def tidy(tree: Map) -> None:
    """Empty words of `dns` come from variables without a value: they mean nothing."""

    def visit(branch: Any, step: Any, _: Path, rule: bool) -> None:
        if isinstance(items := branch[step], List) and not all(items):
            kept = [(item, mark) for item, mark in items.pairs() if item]
            branch[step] = List([item for item, _ in kept], [mark for _, mark in kept])

    walk(tree, _TIDY, visit)


_TIDY = plant({"services.*.dns": True})


def defaults(tree: Map) -> None:
    """What Compose fills in where nothing is written. It has no mark: nobody wrote it."""

    def visit(branch: Any, step: Any, _: Path, usual: Callable[[Map], Mapping[str, Any]]) -> None:
        value = branch[step]
        if isinstance(value, Map):
            for key, default in usual(value).items():
                value.setdefault(key, default)

    walk(tree, _USUAL, visit)


def _devices(value: Map) -> Mapping[str, Any]:
    return {} if "count" in value or "device_ids" in value else {"count": "all"}


_USUAL = plant(
    {
        "services.*.build": lambda value: {"context": "."},
        "services.*.deploy.resources.reservations.devices[]": _devices,
        "services.*.gpus[]": _devices,
        "services.*.ports[]": lambda value: {"protocol": "tcp", "mode": "ingress"},
        "services.*.secrets[]": lambda value: {"target": f"/run/secrets/{value.get('source', '')}"},
    }
)
