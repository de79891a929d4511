"""A stack file as maps and lists that know where each of their values was written.

A value's mark stays with it when maps are merged, moved and lengthened; what a stage adds by itself has no mark. Rules
for certain keys are tables "services.*.ports[]" → rule (`*`: any name, `[]`: any element): `plant` makes them a tree,
`walk` visits only those parts of the file that some rule speaks about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

from orchestrator.stack.places import Mark, Path

Rule = TypeVar("Rule")
Branch: TypeAlias = "Map | List"


class Map(dict[str, Any]):
    """A map; `marks` has the place of each key that was written."""

    __slots__ = ("marks",)

    def __init__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), marks: Any = None) -> None:
        super().__init__(values)
        self.marks: dict[str, Mark] = {} if marks is None else marks

    def put(self, key: str, value: Any, mark: Mark | None) -> None:
        self[key] = value
        if mark is None:
            self.marks.pop(key, None)
        else:
            self.marks[key] = mark

    def drop(self, key: str) -> None:
        self.pop(key, None)
        self.marks.pop(key, None)


class List(list[Any]):
    """A list; `marks` has the place of each element, None for what was not written."""

    __slots__ = ("marks",)

    def __init__(self, values: Iterable[Any] = (), marks: Iterable[Mark | None] | None = None) -> None:
        super().__init__(values)
        self.marks: list[Mark | None] = [None] * len(self) if marks is None else list(marks)

    def add(self, value: Any, mark: Mark | None) -> None:
        self.append(value)
        self.marks.append(mark)

    def pairs(self) -> Iterator[tuple[Any, Mark | None]]:
        return zip(self, self.marks, strict=True)


def is_written(branch: Any, key: str) -> bool:
    """Whether the user wrote the key; what a stage adds by itself has no mark."""
    return key in branch and (not isinstance(branch, Map) or key in branch.marks)


def mark_of(branch: Any, step: str | int) -> Mark | None:
    if isinstance(branch, Map) and isinstance(step, str):
        return branch.marks.get(step)
    return branch.marks[step] if isinstance(branch, List) and isinstance(step, int) else None


def copied(value: Any) -> Any:
    """A deep copy; scalars and marks are shared, being values."""
    if isinstance(value, Map):
        return Map({key: copied(inner) for key, inner in value.items()}, dict(value.marks))
    if isinstance(value, List):
        return List([copied(inner) for inner in value], value.marks)
    return value


def size(value: Any) -> int:
    """How many values there are, the branch itself included."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + sum(size(one) for one in inner)
    return 1


def mapped(value: Mapping[str, Any], mark: Mark | None) -> Map:
    """A map all of whose words stand at one place: a short form made long."""
    return Map(value, {} if mark is None else dict.fromkeys(value, mark))


class Places(Mapping[Path, Mark]):
    """The marks of a tree by their paths, looked up in the tree itself."""

    def __init__(self, tree: Map, root: Mark) -> None:
        self.tree, self.root = tree, root

    def __getitem__(self, path: Path) -> Mark:
        branch: Any = self.tree
        if not path:
            return self.root
        try:
            for step in path[:-1]:
                branch = branch[step]
            found = mark_of(branch, path[-1])
        except (KeyError, IndexError, TypeError):
            found = None
        if found is None:
            raise KeyError(path)
        return found

    def __iter__(self) -> Iterator[Path]:
        yield ()
        yield from _paths(self.tree, ())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _paths(branch: Any, path: Path) -> Iterator[Path]:
    if isinstance(branch, Map):
        steps: Iterable[tuple[str | int, Any, Any]] = [(k, v, branch.marks.get(k)) for k, v in branch.items()]
    elif isinstance(branch, List):
        steps = [(i, v, m) for i, (v, m) in enumerate(branch.pairs())]
    else:
        return
    for step, value, mark in steps:
        if mark is not None:
            yield (*path, step)
        yield from _paths(value, (*path, step))


class Fork(Generic[Rule]):
    """One step of a planted table: the rule for what stands here, and what is said about what is below."""

    __slots__ = ("below", "rule")

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self.below: dict[str, Fork[Rule]] = {}

    def step(self, step: str | int) -> Fork[Rule] | None:
        if isinstance(step, int):
            return self.below.get("[]")
        return self.below.get(step) or self.below.get("*")


def plant(table: Mapping[str, Rule]) -> Fork[Rule]:
    root = Fork[Rule]()
    for pattern, rule in table.items():
        fork = root
        for step in pattern.replace("[]", ".[]").split("."):
            fork = fork.below.setdefault(step, Fork())
        fork.rule = rule
    return root


Visit: TypeAlias = Callable[[Any, Any, Path, Rule], None]


def walk(branch: Any, fork: Fork[Rule], visit: Visit[Rule], path: Path = ()) -> None:
    """`visit(branch, step, path, rule)` for every value with a rule, outer ones first: it may replace branch[step].

    What `visit` puts in the place of a value is walked too, and keys that it removes are passed over.
    """
    if isinstance(branch, dict):
        if "*" in fork.below:
            steps: list[Any] = list(branch)
        else:
            steps = [key for key in fork.below if key in branch]
    elif isinstance(branch, list) and "[]" in fork.below:
        steps = list(range(len(branch)))
    else:
        return
    for step in steps:
        below = fork.step(step)
        if below is None:
            continue
        here = (*path, step)
        if below.rule is not None:
            visit(branch, step, here, below.rule)
        if below.below and (isinstance(step, int) or step in branch):
            walk(branch[step], below, visit, here)
