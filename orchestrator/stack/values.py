"""The last form of each value, as the effective stack prints it: commands as words, maps of texts, durations, sizes.

What is empty and means the same as nothing is left out, so that one stack has one form.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from orchestrator import units
from orchestrator.stack import commandline
from orchestrator.stack.places import Complaints, Mark, Path, Place, dotted
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import List, Map, mapped, mark_of, plant, walk

Settle = Callable[[Any, "Mark | None"], Any]

_NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"


def settle(tree: Map, complaints: Complaints) -> None:
    """Give every value its last form; what cannot be read is a complaint."""

    def visit(branch: Any, step: Any, path: Path, form: Settle) -> None:
        value = branch[step]
        if value is None or path in complaints.broken:
            return
        mark = mark_of(branch, step)
        try:
            branch[step] = form(value, mark)
            if mark is not None and (rest := _unread(value, form)):
                place = f"{mark[0].shown}:{mark[2].start_mark.line + 1}: {dotted(path)}"
                told = f"{place}: no shell reads it, {rest!r} is lost; write it as a list with sh -c"
                complaints.warnings[told] = None
        except (ValueError, OverflowError) as error:
            complaints.broken.add(path)
            text = "the number is too large" if isinstance(error, OverflowError) else str(error)
            if mark is not None:
                start = mark[2].start_mark
                complaints.add(Place(mark[0], start.line + 1, start.column + 1), f"{dotted(path)}: {text}")

    walk(tree, _FORMS, visit)


def command(value: Any, mark: Mark | None = None) -> Any:
    """A text split into words (nothing is expanded); a list as it is."""
    if not isinstance(value, str):
        return _texts(value, mark)
    parts, _ = commandline.split(value)
    return List(parts, [mark] * len(parts))


def _unread(value: Any, form: Settle) -> str:
    """What of a command no program will ever see."""
    return commandline.split(value)[1] if form is command and isinstance(value, str) else ""


def _test(value: Any, mark: Mark | None) -> Any:
    return List(["CMD-SHELL", value], [mark, mark]) if isinstance(value, str) else _texts(value, mark)


def _texts(value: Any, mark: Mark | None) -> Any:
    """One text, or a list of anything → a list of texts."""
    if not isinstance(value, List):
        return List([words(value)], [mark])
    return List([words(item) if not isinstance(item, dict | list) else item for item in value], value.marks)


def _text(value: Any, _: Mark | None) -> Any:
    return words(value) if not isinstance(value, dict | list) else value


def _pairs(value: Any, mark: Mark | None, *, empty: str | None = "") -> Any:
    """["A=1", "B"] or {A: 1, B: null} → {A: "1", B: empty}."""
    result = Map()
    if isinstance(value, Map):
        for key, inner in value.items():
            result.put(key, empty if inner is None else _text(inner, None), value.marks.get(key))
        return result
    for item, place in value.pairs() if isinstance(value, List) else ():
        name, equals, text = words(item).partition("=")
        result.put(name, text if equals else empty, place)
    return result


def _variables(value: Any, mark: Mark | None) -> Any:
    return _pairs(value, mark, empty=None)


def _hosts(value: Any, mark: Mark | None) -> Any:
    """["h:1.2.3.4"], ["h=…"] or {h: …} → ["h=1.2.3.4"], sorted; an IPv6 address without its brackets."""
    found: list[tuple[str, str, Mark | None]] = []
    if isinstance(value, Map):
        for name, inner in value.items():
            addresses = inner if isinstance(inner, list) else [inner]
            found += [(name, words(address), value.marks.get(name)) for address in addresses]
    for item, place in value.pairs() if isinstance(value, List) else ():
        separator = "=" if "=" in words(item) else ":"
        name, there, address = words(item).partition(separator)
        if not there or not name:
            raise ValueError(f"expected HOST=ADDRESS, but found {words(item)!r}")
        found.append((name, address, place))
    order = {name: index for index, name in enumerate(sorted({name for name, _, _ in found}))}
    found.sort(key=lambda entry: order[entry[0]])
    return List([f"{name}={_bare(address)}" for name, address, _ in found], [place for _, _, place in found])


def _bare(address: str) -> str:
    return address[1:-1] if address.startswith("[") and address.endswith("]") else address


def _duration(value: Any, _: Mark | None) -> Any:
    return go_duration(units.duration(value))


def go_duration(seconds: float) -> str:
    """As Go writes it, down to the unit that is there: 1m0s, 1.5s, 100ms."""
    if not seconds:
        return "0s"
    if abs(seconds) < 1:
        return units.human_seconds(seconds).replace("us", "µs")
    text = units.human_seconds(abs(seconds))
    text = text if text.endswith("s") else text + "0s"
    text = text if "h" not in text or "m" in text else text.replace("h", "h0m")
    return text if seconds > 0 else "-" + text


def _size(value: Any, _: Mark | None) -> Any:
    if isinstance(value, int) and value < 0:
        return str(value)  # -1: no limit
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"expected a whole number of bytes, or a size such as 512M, but found {value}")
    return str(units.size(value) or "")


def _rate(value: Any, mark: Mark | None) -> Any:
    return _size(value, mark) or "0"


def _ulimit(value: Any, mark: Mark | None) -> Any:
    return mapped({"soft": 0, "hard": 0}, mark) if value == 0 else value


def _cpus(value: Any, _: Mark | None) -> Any:
    return _single(units.cpus(value))


def _single(number: float) -> float:
    """The number as Compose keeps it, in 32 bits, by the fewest digits that mean it; whole ones without a fraction."""
    if not abs(number) < float("inf"):
        raise ValueError(f"expected a number, but found {words(number)}")
    if number == int(number):
        return int(number)
    import struct  # fractions are rare

    kept: float = struct.unpack("f", struct.pack("f", number))[0]
    digits = (float(f"{kept:.{count}g}") for count in range(1, 10))
    return next(short for short in digits if struct.unpack("f", struct.pack("f", short))[0] == kept)


def _number(value: Any, _: Mark | None) -> Any:
    if isinstance(value, int | float):
        return _single(value)
    if not re.fullmatch(_NUMBER, str(value)):
        raise ValueError(f"expected a number, but found {value!r}")
    return _single(float(value))


def _integer(value: Any, _: Mark | None) -> Any:
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"expected a whole number, but found {value!r}") from None


def _bits(value: Any, _: Mark | None) -> Any:
    if isinstance(value, str):
        raise ValueError(f"expected a number: write 0{value.lstrip('0')} without quotes, which YAML reads as octal")
    return _integer(value, _)


def _microseconds(value: Any, _: Mark | None) -> Any:
    return int(value) if isinstance(value, float) else value


def _count(value: Any, _: Mark | None) -> Any:
    return -1 if value == "all" else _integer(value, _)


def _mode(value: Any, _: Mark | None) -> Any:
    """Permission bits, written in octal; a number is the value of its digits as YAML read them."""
    if isinstance(value, str):
        if not re.fullmatch("[0-7]+", value):
            raise ValueError(f"expected octal permission bits such as 0440, but found {value!r}")
        value = int(value, 8)
    return f"0{int(value):o}"


def _ssh(value: Any, mark: Mark | None) -> Any:
    """{default: null, id: path} → [default, id=path]."""
    if not isinstance(value, Map):
        return value
    return List([k if v is None else f"{k}={v}" for k, v in value.items()], [mark] * len(value))


def _listed_values(value: Any, mark: Mark | None) -> Any:
    return Map({key: _texts(inner, mark) for key, inner in value.items()}, value.marks)


_HOOKS = ("post_start", "pre_start", "pre_stop")
_PAIRS = (
    "annotations build.additional_contexts build.labels deploy.labels labels logging.options storage_opt sysctls"
    " networks.*.driver_opts volumes[].volume.labels deploy.resources.reservations.devices[].options gpus[].options"
)
_TEXTS = (
    "cap_add cap_drop dns dns_opt dns_search expose external_links group_add profiles security_opt tmpfs volumes_from"
    " build.no_cache_filter develop.watch[].ignore develop.watch[].include"
)
_DURATIONS = (
    "healthcheck.interval healthcheck.timeout healthcheck.start_period healthcheck.start_interval stop_grace_period"
    " deploy.update_config.delay deploy.update_config.monitor deploy.rollback_config.delay"
    " deploy.rollback_config.monitor deploy.restart_policy.delay deploy.restart_policy.window"
)
_SIZES = (
    "mem_limit mem_reservation memswap_limit mem_swappiness shm_size build.shm_size deploy.resources.limits.memory"
    " deploy.resources.reservations.memory volumes[].tmpfs.size"
)
_RATES = " ".join(f"blkio_config.device_{way}_{unit}[].rate" for way in ("read", "write") for unit in ("bps", "iops"))
_NUMBERS = "cpus cpu_percent deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio"
_WORDS = "user ports[].published configs[].uid configs[].gid secrets[].uid secrets[].gid"
_INTEGERS = (
    "ports[].target deploy.resources.limits.pids networks.*.priority networks.*.gw_priority oom_score_adj pids_limit"
    " deploy.resources.reservations.generic_resources[].discrete_resource_spec.value cpu_count cpu_shares"
    " blkio_config.weight"
)
_FORMS: Any = plant(
    {
        f"services.*.{key}": form
        for keys, form in (
            (_PAIRS, _pairs),
            (_TEXTS, _texts),
            (_DURATIONS, _duration),
            (_SIZES, _size),
            (_RATES, _rate),
            ("ulimits.* build.ulimits.*", _ulimit),
            (_NUMBERS, _number),
            (_WORDS, _text),
            ("volumes[].tmpfs.mode", _bits),
            ("cpu_period cpu_quota cpu_rt_period cpu_rt_runtime", _microseconds),
            (_INTEGERS, _integer),
            ("command entrypoint develop.watch[].exec.command", command),
            (" ".join(f"{hook}[].command" for hook in _HOOKS), command),
            ("environment build.args", _variables),
            (" ".join(f"{hook}[].environment" for hook in (*_HOOKS, "develop.watch[].exec")), _variables),
            ("healthcheck.test", _test),
            ("extra_hosts build.extra_hosts", _hosts),
            ("deploy.resources.limits.cpus deploy.resources.reservations.cpus", _cpus),
            ("deploy.resources.reservations.devices[].count gpus[].count", _count),
            ("configs[].mode secrets[].mode build.secrets[].mode", _mode),
            ("build.ssh", _ssh),
            ("provider.options", _listed_values),
        )
        for key in keys.split()
    }
    | {
        f"{kind}.*.{key}": _pairs
        for kind in ("networks", "volumes", "configs", "secrets")
        for key in ("labels", "driver_opts")
    }
    | {"networks.*.ipam.config[].aux_addresses": _pairs}
)
