"""One random mistake in a valid stack file, and the line that must be named for it.

Each of MUTATIONS takes a file's lines, the values in it with their places, and a source of chance; it returns the lines
with a mistake in them and the numbers (from 1) of the lines that may be blamed, or None where there is no place for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from orchestrator.stack import reference

Path: TypeAlias = tuple[str | int, ...]
Mutation: TypeAlias = "Callable[[File, random.Random], Mutant | None]"

KNOWN = {tuple(path.replace("[]", ".[]").split(".")) for path in reference.entries()}
FREE = ("x-pyorch",)


@dataclass(frozen=True)
class Spot:
    """A key and its value in a map, or an element of a list (then `key` is its value's node)."""

    path: Path
    pattern: tuple[str, ...] | None  # as in the reference; None: no key of the language
    key: Any
    value: Any

    @property
    def line(self) -> int:
        return int(self.key.start_mark.line)


@dataclass(frozen=True)
class File:
    lines: list[str]
    spots: list[Spot]

    def of(self, *patterns: str) -> list[Spot]:
        wanted = {tuple(pattern.replace("[]", ".[]").split(".")) for pattern in patterns}
        return [spot for spot in self.spots if spot.pattern in wanted]


@dataclass(frozen=True)
class Mutant:
    lines: list[str]
    blamed: frozenset[int]
    what: str


def read(text: str) -> File | None:
    """None: aliases and merge keys, where one place stands for many, or flow style over lines."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None
    if not isinstance(root, yaml.MappingNode):
        return None
    return File(text.split("\n"), list(_spots(root, (), (), set())))


def _spots(node: Any, path: Path, pattern: tuple[str, ...] | None, seen: set[int]) -> Iterator[Spot]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<" or id(value) in seen:
                continue
            here = _step(pattern, key.value)
            yield Spot((*path, key.value), here, key, value)
            yield from _spots(value, (*path, key.value), here, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            if id(item) in seen:
                continue
            here = None if pattern is None else (*pattern, "[]")
            yield Spot((*path, index), here, item, item)
            yield from _spots(item, (*path, index), here, seen)


def _step(pattern: tuple[str, ...] | None, key: str) -> tuple[str, ...] | None:
    if pattern is None:
        return None
    if (*pattern, key) in KNOWN:
        return (*pattern, key)
    return (*pattern, "*") if _has_names(pattern) else None


def _has_names(pattern: tuple[str, ...]) -> bool:
    return any(known[: len(pattern) + 1] == (*pattern, "*") for known in KNOWN)


def _pick(chance: random.Random, spots: list[Spot]) -> Spot | None:
    return chance.choice(spots) if spots else None


def _replaced(file: File, node: Any, text: str) -> list[str] | None:
    """The lines with the node's text replaced; None where it goes over several lines."""
    start, end = node.start_mark, node.end_mark
    if start.line != end.line:
        return None
    lines = [*file.lines]
    line = lines[start.line]
    lines[start.line] = line[: start.column] + text + line[end.column :]
    return lines


def _value(file: File, spot: Spot | None, text: str, what: str) -> Mutant | None:
    """The scalar at `spot` becomes `text`."""
    if spot is None or not isinstance(spot.value, yaml.ScalarNode):
        return None
    lines = _replaced(file, spot.value, text)
    return None if lines is None else Mutant(lines, frozenset({spot.value.start_mark.line + 1}), f"{what}: {text}")


def mistyped_key(file: File, chance: random.Random) -> Mutant | None:
    spots = [s for s in file.spots if s.pattern in KNOWN and s.pattern[-1] not in ("*", "[]") and len(s.key.value) > 2]
    spot = _pick(chance, spots)
    if spot is None or spot.pattern is None:
        return None
    word = spot.key.value
    at = chance.randrange(len(word) - 1)
    wrong = chance.choice(
        [word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:], word[: at + 1] + "q" + word[at + 1 :]]
    )
    if (*spot.pattern[:-1], wrong) in KNOWN or wrong.startswith("x-") or not wrong[0].isalpha():
        return None
    if spot.pattern[0] == "include" or any(part in FREE for part in spot.pattern):
        return None
    lines = _replaced(file, spot.key, wrong)
    return None if lines is None else Mutant(lines, frozenset({spot.line + 1}), f"key {word} → {wrong}")


_WRONG = {  # key of a service → values of a kind that it cannot have
    "image": ["[a]", "{a: b}", "5"],
    "ports": ["80", "{a: b}", "web"],
    "environment": ["5", "A=1"],
    "volumes": ["data", "5"],
    "restart": ["[always]", "true", "5"],
    "depends_on": ["5", "web"],
    "command": ["{a: b}", "5"],
    "healthcheck": ["[a]", "curl"],
    "networks": ["5", "front"],
    "deploy": ["5", "[a]"],
    "build": ["5", "[a]"],
    "labels": ["5", "a"],
    "container_name": ["[a]", "5"],
    "privileged": ["maybe", "[a]"],
    "hostname": ["{a: b}", "5"],
    "user": ["1000", "[a]"],
    "expose": ["80", "{a: b}"],
    "cap_add": ["NET_ADMIN", "5"],
    "read_only": ["perhaps"],
    "stdin_open": ["perhaps"],
    "tty": ["perhaps"],
    "env_file": ["5", "{a: b}"],
    "entrypoint": ["{a: b}", "5"],
    "working_dir": ["[a]"],
    "logging": ["5", "json-file"],
    "ulimits": ["5", "[a]"],
}


def wrong_type(file: File, chance: random.Random) -> Mutant | None:
    spot = _pick(chance, file.of(*(f"services.*.{key}" for key in _WRONG)))
    if spot is None or spot.pattern is None:
        return None
    wrong = chance.choice(_WRONG[spot.pattern[-1]])
    first, last = spot.value.start_mark, spot.value.end_mark
    if first.line == last.line:
        lines = _replaced(file, spot.value, wrong)
    elif isinstance(spot.value, yaml.MappingNode | yaml.SequenceNode) and not spot.value.flow_style:
        end = last.line if last.column <= spot.key.start_mark.column else last.line + 1
        line = file.lines[spot.line][: spot.key.end_mark.column] + ": " + wrong
        lines = [*file.lines[: spot.line], line, *file.lines[end:]]
    else:
        return None
    anchored = "&" in file.lines[spot.line][spot.key.end_mark.column :]
    if lines is None or anchored:
        return None
    return Mutant(lines, frozenset({spot.line + 1}), f"{spot.pattern[-1]}: {wrong}")


def bad_port(file: File, chance: random.Random) -> Mutant | None:
    wrong = chance.choice(
        ['"80:http"', '"8080:99999"', '"8080:80/tpc"', '"1.2.3.4.5:80:80"', '"3000-3002:80-81"', '"a:b:c:d"']
    )
    return _value(file, _pick(chance, file.of("services.*.ports[]")), wrong, "port")


def bad_duration(file: File, chance: random.Random) -> Mutant | None:
    spots = file.of(
        *(f"services.*.healthcheck.{key}" for key in ("interval", "timeout", "start_period")),
        "services.*.stop_grace_period",
        "services.*.deploy.restart_policy.delay",
    )
    return _value(file, _pick(chance, spots), chance.choice(["5 seconds", "10x", '"30"', "soon", "1m30"]), "duration")


def bad_number(file: File, chance: random.Random) -> Mutant | None:
    spots = file.of(
        "services.*.healthcheck.retries", "services.*.deploy.replicas", "services.*.scale", "services.*.ulimits.*"
    )
    return _value(file, _pick(chance, spots), chance.choice(["many", '"x"']), "number")


def bad_size(file: File, chance: random.Random) -> Mutant | None:
    spots = file.of(
        "services.*.mem_limit",
        "services.*.shm_size",
        "services.*.deploy.resources.limits.memory",
        "services.*.mem_reservation",
    )
    return _value(file, _pick(chance, spots), chance.choice(["much", "12xb", '"-5"']), "size")


def bad_condition(file: File, chance: random.Random) -> Mutant | None:
    spots = file.of("services.*.depends_on.*.condition")
    return _value(file, _pick(chance, spots), chance.choice(["service_helthy", "healthy", "started"]), "condition")


def _elements(file: File, *keys: str) -> list[Spot]:
    """The names in a list, or the keys of a map, below a service's key."""
    below = [spot for spot in file.spots if len(spot.path) == 4 and spot.path[0] == "services" and spot.path[2] in keys]
    return [spot for spot in below if isinstance(spot.key, yaml.ScalarNode)]


def _renamed(file: File, chance: random.Random, *keys: str) -> Mutant | None:
    spot = _pick(chance, _elements(file, *keys))
    if spot is None:
        return None
    lines = _replaced(file, spot.key, "nowhere-to-be-found")
    return None if lines is None else Mutant(lines, frozenset({spot.line + 1}), f"unknown in {spot.path[2]}")


def unknown_dependency(file: File, chance: random.Random) -> Mutant | None:
    return _renamed(file, chance, "depends_on", "links")


def undefined_network(file: File, chance: random.Random) -> Mutant | None:
    return _renamed(file, chance, "networks")


def undefined_secret_or_config(file: File, chance: random.Random) -> Mutant | None:
    return _renamed(file, chance, "secrets", "configs")


def undefined_volume(file: File, chance: random.Random) -> Mutant | None:
    spots = [
        s for s in file.of("services.*.volumes[]") if isinstance(s.value, yaml.ScalarNode) and ":" in s.value.value
    ]
    return _value(file, _pick(chance, spots), "nowhere-to-be-found:/nowhere", "volume")


def duplicate_key(file: File, chance: random.Random) -> Mutant | None:
    """A key of a service stands there once more, right below its value."""
    spots = [s for s in file.spots if len(s.path) == 3 and s.path[0] == "services" and s.value.end_mark.line == s.line]
    spots = [s for s in spots if file.lines[s.line].strip().startswith(s.key.value) and "&" not in file.lines[s.line]]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    lines = [*file.lines[: spot.line + 1], file.lines[spot.line], *file.lines[spot.line + 1 :]]
    return Mutant(lines, frozenset({spot.line + 2}), f"twice: {spot.key.value}")


def tab_indentation(file: File, chance: random.Random) -> Mutant | None:
    """A tab where the indentation of a key's line was."""
    spots = [s for s in file.spots if isinstance(s.path[-1], str) and s.key.start_mark.column > 1]
    spots = [s for s in spots if not file.lines[s.line][: s.key.start_mark.column].strip()]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    lines = [*file.lines]
    lines[spot.line] = "\t" + lines[spot.line].lstrip()
    return Mutant(lines, frozenset({spot.line + 1}), "tab")


def unclosed_quote(file: File, chance: random.Random) -> Mutant | None:
    spots = [s for s in file.spots if isinstance(s.value, yaml.ScalarNode) and not s.value.style and s.value.value]
    spots = [s for s in spots if s.value.start_mark.line == s.value.end_mark.line]
    spot = _pick(chance, spots)
    if spot is None or "'" in spot.value.value or '"' in spot.value.value:
        return None
    lines = _replaced(file, spot.value, chance.choice("\"'") + spot.value.value)
    return None if lines is None else Mutant(lines, frozenset({spot.value.start_mark.line + 1}), "quote")


def missing_colon(file: File, chance: random.Random) -> Mutant | None:
    spots = [s for s in file.spots if isinstance(s.path[-1], str) and isinstance(s.value, yaml.ScalarNode)]
    spots = [s for s in spots if s.value.start_mark.line == s.line and not s.value.style and s.value.value]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    line = file.lines[spot.line]
    end = spot.key.end_mark.column
    if line[end : end + 2] != ": " or (spot.pattern is None and "{" in line[:end]):
        return None  # {a b} is a name of the user's own
    if sum(other.path[:-1] == spot.path[:-1] for other in file.spots) == 1:
        return None  # what is left is a text, and that may be right there: build, environment
    lines = [*file.lines]
    lines[spot.line] = line[:end] + line[end + 1 :]
    return Mutant(lines, frozenset({spot.line + 1}), "colon")


def wrong_indentation(file: File, chance: random.Random) -> Mutant | None:
    """A key's line moves by one column, what stands below it stays; where that is still YAML it is no mistake."""
    spots = [s for s in file.spots if isinstance(s.path[-1], str) and s.key.start_mark.column > 1 and len(s.path) > 2]
    spots = [s for s in spots if not file.lines[s.line][: s.key.start_mark.column].strip()]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    lines = [*file.lines]
    lines[spot.line] = chance.choice([" " + lines[spot.line], lines[spot.line][1:]])
    if read("\n".join(lines)):
        return None
    return Mutant(lines, frozenset({spot.line + 1}), "indentation")


def malformed_variable(file: File, chance: random.Random) -> Mutant | None:
    spot = _pick(chance, file.of("services.*.image", "services.*.hostname", "services.*.container_name"))
    return _value(file, spot, chance.choice(['"${TAG"', '"a${}"', '"${SET_BY_NOBODY:?must be set}"']), "variable")


def unknown_top_level(file: File, chance: random.Random) -> Mutant | None:
    spots = [s for s in file.spots if len(s.path) == 1 and s.path[0] in ("services", "networks", "volumes", "secrets")]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    at = chance.randrange(1, len(spot.key.value))
    lines = _replaced(file, spot.key, spot.key.value[:at] + spot.key.value[at + 1 :])
    return None if lines is None else Mutant(lines, frozenset({spot.line + 1}), "top level")


def waits_for_itself(file: File, chance: random.Random) -> Mutant | None:
    spot = _pick(chance, [s for s in _elements(file, "depends_on") if isinstance(s.path[1], str)])
    if spot is None:
        return None
    lines = _replaced(file, spot.key, str(spot.path[1]))
    return None if lines is None else Mutant(lines, frozenset({spot.line + 1}), "itself")


def undefined_alias(file: File, chance: random.Random) -> Mutant | None:
    return _value(file, _pick(chance, _plain_values(file)), "*nowhere", "alias")


def unclosed_bracket(file: File, chance: random.Random) -> Mutant | None:
    """A list or map in flow style loses its end, or a text gets the beginning of one."""
    flows = [s for s in file.spots if isinstance(s.value, yaml.CollectionNode) and s.value.flow_style]
    flows = [s for s in flows if s.value.start_mark.line == s.value.end_mark.line and len(s.value.value)]
    if (spot := _pick(chance, flows)) and chance.random() < 0.5:
        end = spot.value.end_mark
        line = file.lines[end.line]
        lines = [*file.lines]
        lines[end.line] = line[: end.column - 1] + line[end.column :]
        return Mutant(lines, frozenset({end.line + 1}), "bracket left out")
    return _value(file, _pick(chance, _plain_values(file)), chance.choice(["[", "{", "[a, b", "{a: b"]), "bracket")


def _plain_values(file: File) -> list[Spot]:
    """Texts without quotes on the line of their key."""
    some = [s for s in file.spots if isinstance(s.value, yaml.ScalarNode) and not s.value.style and s.value.value]
    return [s for s in some if s.value.start_mark.line == s.value.end_mark.line == s.line and s.key is not s.value]


def no_blank_after_colon(file: File, chance: random.Random) -> Mutant | None:
    """`image:nginx`: with its neighbours being keys, a text cannot stand there."""
    spots = [s for s in _plain_values(file) if len(s.path) > 2 and isinstance(s.path[-1], str)]
    spots = [s for s in spots if sum(o.path[:-1] == s.path[:-1] for o in file.spots) > 1]
    spot = _pick(chance, spots)
    if spot is None or spot.key.style or spot.value.value.endswith(":") or ": " in spot.value.value:
        return None
    line, at = file.lines[spot.line], spot.key.end_mark.column
    if line[at : at + 2] != ": " or "{" in line[:at] or spot.pattern is None:
        return None
    lines = [*file.lines]
    lines[spot.line] = line[: at + 1] + line[at + 1 :].lstrip()
    return Mutant(lines, frozenset({spot.line + 1}), "no blank after the colon")


def no_dash(file: File, chance: random.Random) -> Mutant | None:
    """An element of a list loses its dash, or the blank behind it."""
    spots = [s for s in file.spots if isinstance(s.path[-1], int) and isinstance(s.value, yaml.ScalarNode)]
    spots = [s for s in spots if file.lines[s.line].lstrip().startswith("- ") and s.value.start_mark.line == s.line]
    spots = [s for s in spots if s.value.end_mark.line == s.line and sum(o.path[:-1] == s.path[:-1] for o in spots) > 1]
    spot = _pick(chance, spots)
    if spot is None:
        return None
    lines = [*file.lines]
    lines[spot.line] = lines[spot.line].replace("- ", chance.choice(["", "-"]), 1)
    if read("\n".join(lines)):  # a text may go on over lines
        return None
    return Mutant(lines, frozenset({spot.line + 1}), "dash")


def mistyped_choice(file: File, chance: random.Random) -> Mutant | None:
    spots = file.of("services.*.pull_policy", "services.*.cgroup", "services.*.develop.watch[].action")
    return _value(file, _pick(chance, spots), chance.choice(["allways", "hosst", "rebuilt"]), "choice")


def second_service(file: File, chance: random.Random) -> Mutant | None:
    """A service of the same name once more, at the end of the services."""
    spots = [s for s in file.spots if len(s.path) == 2 and s.path[0] == "services"]
    services = [s for s in file.spots if s.path == ("services",)]
    spot = _pick(chance, spots)
    if spot is None or not services or services[0].value.flow_style:
        return None
    indent = " " * spot.key.start_mark.column
    first = min(s.line for s in spots)
    lines = [*file.lines[:first], f"{indent}{spot.key.value}:", f"{indent}  image: again", *file.lines[first:]]
    return Mutant(lines, frozenset({first + 1, spot.line + 3}), "service twice")


def waits_in_a_circle(file: File, chance: random.Random) -> Mutant | None:
    """Who is waited for waits back."""
    spot = _pick(chance, _elements(file, "depends_on"))
    if spot is None:
        return None
    there = [s for s in file.spots if s.path == ("services", spot.key.value)]
    waits = [s for s in file.spots if s.path == ("services", spot.key.value, "depends_on")]
    if not there or waits or not isinstance(there[0].value, yaml.MappingNode) or there[0].value.flow_style:
        return None
    first = there[0].value.value[0][0].start_mark if there[0].value.value else None
    if first is None or file.lines[first.line][: first.column].strip():
        return None
    new = " " * first.column + f"depends_on: [{spot.path[1]}]"
    lines = [*file.lines[: first.line], new, *file.lines[first.line :]]
    waits = _elements(file, "depends_on")  # the circle may close over others
    return Mutant(lines, frozenset({first.line + 1, *(s.line + 1 + (s.line >= first.line) for s in waits)}), "circle")


def bad_truth(file: File, chance: random.Random) -> Mutant | None:
    keys = ("privileged", "read_only", "tty", "stdin_open", "init", "attach")
    spots = file.of(
        *(f"services.*.{key}" for key in keys), "networks.*.external", "volumes.*.external", "networks.*.internal"
    )
    return _value(file, _pick(chance, spots), chance.choice(["ture", "1.5", "[true]"]), "truth")


MUTATIONS: dict[str, Mutation] = {
    made.__name__: made
    for made in (
        mistyped_key,
        wrong_type,
        bad_port,
        bad_duration,
        bad_number,
        bad_size,
        bad_condition,
        unknown_dependency,
        undefined_network,
        undefined_secret_or_config,
        undefined_volume,
        duplicate_key,
        tab_indentation,
        unclosed_quote,
        missing_colon,
        wrong_indentation,
        malformed_variable,
        unknown_top_level,
        waits_for_itself,
        undefined_alias,
        unclosed_bracket,
        no_blank_after_colon,
        no_dash,
        mistyped_choice,
        second_service,
        waits_in_a_circle,
        bad_truth,
    )
}
