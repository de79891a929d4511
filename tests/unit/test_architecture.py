"""The picture of docs/architecture.md, section 3, held by reading every import: nothing points up."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "orchestrator"

WORDS = {"errors", "units", "root", "record"}
CONCEPTS = {"health", "policy", "scheduler"}  # self-contained: they know no stack, and not each other
BRAIN = WORDS | CONCEPTS | {"stack", "reconcile"}
HANDS = {"images", "storage", "network", "runtime", "kernel"}

MAY_IMPORT = {
    "errors": set(),
    "record": set(),
    "root": set(),
    "units": {"errors"},
    **dict.fromkeys(CONCEPTS, WORDS),
    "stack": WORDS | CONCEPTS,
    "reconcile": BRAIN,
    "kernel": WORDS,
    "images": WORDS | {"kernel"},
    "network": WORDS | {"kernel"},
    "storage": WORDS | {"kernel", "stack"},  # stack, for hands: its values only
    "runtime": WORDS | {"kernel", "stack", "images"},
    "launcher": {"errors", "root", "kernel", "runtime"},
    "dns": {"errors", "root", "kernel", "network"},
    "agent": BRAIN | HANDS,
    "api": BRAIN | HANDS | {"agent"},
    "cli": WORDS | {"api", "stack", "reconcile", "kernel"},  # kernel, for doctor: it must speak where no agent can run
}

# Processes that must stay small or start fast, and what they may not drag in, however indirectly.
NEVER_LOADED = {
    "launcher.main": {"asyncio", "yaml", "threading", "networkx", "orchestrator.stack", "orchestrator.agent"},
    "dns.main": {"yaml", "networkx", "pyroute2", "orchestrator.stack", "orchestrator.agent"},
    "cli.main": {"networkx", "jsonschema", "pyroute2", "yaml", "asyncio", "orchestrator.agent"},
    "api.main": {"networkx", "jsonschema", "pyroute2", "orchestrator.cli", "urllib3"},
}

CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "clock_gettime", "now", "utcnow", "sleep"}
MAY_READ_THE_CLOCK = {
    "agent",
    "launcher",
    "dns",
    "cluster",
    "cli",
}  # what turns the circle, and who waits before a user


def sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module named, absolute, with the names taken from it: `orchestrator.stack.model`, `time.monotonic`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute: a reader sees where from"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources(), ids=name)
def test_nothing_points_up(path: Path) -> None:
    allowed = MAY_IMPORT[room(path)] | {room(path)}
    ours = {module.split(".")[1] for module in imports(parse(path)) if module.startswith("orchestrator.")}
    upwards = ours - allowed - {"__version__"}
    assert not upwards, f"{name(path)} may import of ours: {', '.join(sorted(allowed))}"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_ctypes_only_in_the_kernel_room(path: Path) -> None:
    found = [module for module in imports(parse(path)) if module.split(".")[0] == "ctypes"]
    assert not found or room(path) == "kernel"


@pytest.mark.parametrize("path", sources(), ids=name)
def test_rooms_that_think_or_act_are_told_the_time(path: Path) -> None:
    if room(path) in MAY_READ_THE_CLOCK:
        return
    tree = parse(path)
    direct = [module for module in imports(tree) if module.startswith("time.") and module.split(".")[1] in CLOCKS]
    called = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCKS
        and isinstance(node.value, ast.Name)
        and node.value.id in {"time", "datetime"}
    ]
    assert not direct + called, "time comes in as an argument"


@pytest.mark.parametrize("module", NEVER_LOADED)
def test_a_process_starts_without_what_it_does_not_need(module: str) -> None:
    program = f"import orchestrator.{module}, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not NEVER_LOADED[module] & set(loaded)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))
