"""Variables into a document's values, and the type that a key wants for texts that came from variables or quotes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.record import record
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.parse import Document
from orchestrator.stack.places import Complaints, Mark, Path, Place, dotted, quoted
from orchestrator.stack.scalars import TRUTH
from orchestrator.stack.tree import copied, mark_of, plant, walk

# ruff: noqa: SIM905 (words in a row read better than a column of quotes)
MOST_GROWN = 8 << 20  # characters that variables may add to one file

# The keys at which Compose takes a text for a number or a truth value.
_BOOLEAN = """
    init oom_kill_disable privileged read_only stdin_open tty depends_on.*.restart
    healthcheck.disable volumes[].read_only volumes[].volume.nocopy volumes[].bind.create_host_path
    build.no_cache build.pull build.privileged attach env_file[].required
    post_start[].privileged pre_start[].privileged pre_stop[].privileged
    develop.watch[].exec.privileged
""".split()
_INTEGER = """
    cpu_count cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares deploy.replicas
    deploy.update_config.parallelism deploy.rollback_config.parallelism deploy.restart_policy.max_attempts
    deploy.placement.max_replicas_per_node healthcheck.retries mem_swappiness oom_score_adj pids_limit ports[].target
    scale ulimits.* ulimits.*.hard ulimits.*.soft deploy.resources.limits.pids
    deploy.resources.reservations.generic_resources[].discrete_resource_spec.value
""".split()
_NUMBER = "cpu_percent cpus deploy.update_config.max_failure_ratio deploy.rollback_config.max_failure_ratio".split()
_ELSEWHERE = {
    "boolean": "networks.*.external networks.*.internal networks.*.attachable networks.*.enable_ipv4"
    " networks.*.enable_ipv6 volumes.*.external secrets.*.external configs.*.external",
}
CASTS: dict[str, str] = {
    **{f"services.*.{key}": "boolean" for key in _BOOLEAN},
    **{f"services.*.{key}": "integer" for key in _INTEGER},
    **{f"services.*.{key}": "number" for key in _NUMBER},
    **{key: kind for kind, keys in _ELSEWHERE.items() for key in keys.split()},
}
_CASTS = plant(CASTS)
_WHOLE = r"[-+]?[0-9]{1,40}"  # no octal and no 0x: a text is not read as YAML reads a number
_REAL = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?"
_STAND_INS: dict[str, Any] = {"boolean": True, "integer": 1, "number": 1.0}


def fill(document: Document, variables: Mapping[str, str], complaints: Complaints) -> None:
    """Put variables in, everywhere but in keys. Unset ones are empty, with one warning for each."""
    _Filler(document, variables, complaints).branch(document.data, ())


def cast(document: Document, complaints: Complaints) -> None:
    """Give texts the number or truth value that the key wants; what is none is left to the schema to refuse."""

    def visit(branch: Any, step: Any, path: Path, kind: str) -> None:
        value = branch[step]
        if isinstance(value, str):
            branch[step] = _cast(value, kind, lambda text: _warn(mark_of(branch, step), path, text, complaints))

    walk(document.data, _CASTS, visit)


def with_stand_ins(document: Document) -> Document:
    """A copy for the schema's eyes, where variables are not filled in: what may become a number is taken for one."""
    tree = copied(document.data)

    def visit(branch: Any, step: Any, _: Path, kind: str) -> None:
        if isinstance(branch[step], str):
            branch[step] = _STAND_INS[kind]

    walk(tree, _CASTS, visit)
    return Document(document.source, tree, document.root)


def _cast(value: str, kind: str, warn: Callable[[str], None]) -> Any:
    if kind == "boolean":
        meant = None if value.isdecimal() else TRUTH.get(value.lower())  # "1" is no truth value in a file
        if meant is None:
            return value
        if value not in ("true", "false"):
            warn(f"{quoted(value)} is taken as {quoted(meant)}; write {quoted(meant)}")
        return meant
    if kind == "integer":
        return int(value) if re.fullmatch(_WHOLE, value) else value
    return float(value) if re.fullmatch(_REAL, value) else value


def _warn(mark: Mark | None, path: Path, text: str, complaints: Complaints) -> None:
    shown = f"{mark[0].shown}:{mark[1].start_mark.line + 1}: " if mark else ""
    complaints.warnings[f"{shown}{dotted(path)}: {text}"] = None


@record
class _Filler:
    document: Document
    variables: Mapping[str, str]
    complaints: Complaints
    grown: int = 0

    def branch(self, branch: Any, path: Path) -> None:
        steps = branch.items() if isinstance(branch, dict) else enumerate(branch)
        for step, value in steps:
            if isinstance(value, str):
                if "$" in value:
                    branch[step] = self._filled(value, mark_of(branch, step), (*path, step))
            elif isinstance(value, dict | list):
                self.branch(value, (*path, step))

    def _filled(self, text: str, mark: Mark | None, path: Path) -> str:
        try:
            filled = interpolate(text, self.variables, lambda name: self._unset(mark, path, name))
            self.grown += max(len(filled) - len(text), 0)
            if self.grown > MOST_GROWN:
                raise Malformed(f"filling in variables makes the file grow by more than {MOST_GROWN >> 20} MiB")
            return filled
        except Malformed as error:
            source, _, node = mark or self.document.root
            start = node.start_mark
            self.complaints.add(Place(source, start.line + 1, start.column + 1), f"{dotted(path)}: {error}")
            self.complaints.broken.add(path)
            return ""

    def _unset(self, mark: Mark | None, path: Path, name: str) -> None:
        if name in self.complaints.unset:
            return
        self.complaints.unset.add(name)
        if self.complaints.strict:
            source, _, node = mark or self.document.root
            start, text = node.start_mark, f"variable {name} is not set; set it, or write ${{{name}-}} for an empty one"
            self.complaints.add(Place(source, start.line + 1, start.column + 1), f"{dotted(path)}: {text}")
        else:
            _warn(mark, path, f"variable {name} is not set: taken as empty", self.complaints)
