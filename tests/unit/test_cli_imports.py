"""What a command may not cost: the modules that a whole process has loaded at its end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_agent import FakeAgent, Json, Stream, Upgrade, container, frame

HEAVY = {"yaml", "networkx", "jsonschema", "asyncio", "click", "pyroute2", "h11", "http.client"}
AVOIDABLE = {"typing", "dataclasses", "socket", "subprocess", "pathlib", "hashlib", "urllib", "argparse", "logging"}
WATCHED = """
import sys
from orchestrator.cli.main import main
code = main(sys.argv[1:])
print("modules", *sys.modules, file=sys.stderr)
sys.exit(code)
"""


def exiting(connection: object) -> None:
    body = json.dumps({"code": 0}).encode()
    connection.sendall(bytes([3]) + len(body).to_bytes(4) + body)  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [["ps"], ["logs"], ["exec", "-T", "web", "true"], ["ls"]])
def test_the_fast_commands_load_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    with FakeAgent(tmp_path) as agent:
        control = json.dumps({"containers": ["shop-web-1"]}).encode()
        agent.replies = {
            "/v1/containers": lambda _: Json([container("shop-web-1", "web")]),
            "/v1/stacks": lambda _: Json([]),
            "/v1/stacks/shop/logs": lambda _: Stream([frame(0, 0, 1, control), frame(1, 0, 2, b"hello\n")]),
            "/v1/stacks/shop/exec": lambda _: Upgrade(exiting),
        }
        ran = subprocess.run(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})" + WATCHED,
                "--root",
                str(tmp_path),
                "-p",
                "shop",
                *words,
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stderr.split("modules ")[1].split())
    assert loaded & HEAVY == set()
    assert loaded & AVOIDABLE == set()


def test_checking_a_file_loads_no_typed_model(tmp_path: Path) -> None:
    """It doubles what `config -q` costs."""
    (tmp_path / "stack.yaml").write_text("services: {web: {image: 'host:/'}}")
    ran = subprocess.run(
        [sys.executable, "-c", WATCHED, "config", "-q", "-f", str(tmp_path / "stack.yaml")],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stderr.split("modules ")[1].split())
    assert loaded & {"orchestrator.stack.model", "jsonschema", "networkx", "asyncio", "click", "hashlib"} == set()
