"""The small parser and click read the same data: where the small one answers at all, both answer the same."""

from __future__ import annotations

import pytest

from orchestrator.cli import app
from orchestrator.cli.main import load, ordinary
from orchestrator.cli.option import Given
from orchestrator.cli.table import COMMANDS

ORDINARY = [
    "up",
    "up -d --wait",
    "up stack.yaml -d web db",
    "up --scale web=2 --scale=db=1 -t5",
    "up -d --wait-timeout 2.5 --no-color",
    "-f a.yaml -f b.yaml up -f c.yaml",
    "-p shop --root /tmp/x ps -a",
    "ps --root /tmp/x -p shop --format json -q",
    "ps --status running --status exited",
    "down -v -t 3 web",
    "logs -f --tail 20 -t --no-log-prefix api",
    "logs -ft -n5",
    "-f x.yaml logs -f",
    "exec -T web ls -la --color",
    "exec -e A=1 -eB -w / --index 2 db sh -c true",
    "exec -T db -- echo -n",
    "agent status --format json",
    "--root /tmp/x agent stop --all",
    "--ansi never up --ansi always",
    "-v version --short",
    "events --json --since 10m -- db",
    "restart --no-deps db",
    "plan -o json",
    "completion bash",
]


@pytest.mark.parametrize("line", ORDINARY)
def test_both_parsers_understand_the_same(line: str) -> None:
    given = ordinary(line.split())
    assert given is not None
    assert app.read(line.split()) == given


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--help",
        "ps --help",
        "psx",
        "ps --unknown",
        "ps --format yaml",
        "ps --status odd",
        "up -t soon",
        "up --scale",
        "up --detach=yes",
        "exec db",
        "exec",
        "completion tcsh",
        "version more words",
        "agent",
        "agent fly",
        "--version",
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_click(line: str) -> None:
    assert ordinary(line.split()) is None


def test_after_the_command_word_its_own_short_options_win() -> None:
    given = ordinary(["-f", "a.yaml", "-v", "logs", "-f"])
    assert given is not None
    assert (given.file, given.follow, given.verbose) == (["a.yaml"], True, True)
    given = ordinary(["down", "-v"])
    assert given is not None
    assert (given.volumes, given.verbose) == (True, False)


def test_an_option_that_a_command_does_not_have_is_an_error_of_ours() -> None:
    with pytest.raises(AttributeError, match="command 'ps' has no option 'follow'"):
        _ = Given("ps", {}).follow


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_examples(name: str) -> None:
    module = load(name)
    for command in getattr(module, "COMMANDS", {name: module}).values():
        assert command.HELP.strip().endswith(".")
        assert f"pyorch {name}" in command.EXAMPLES or "agent" in command.EXAMPLES
        assert all(option.help.endswith((".", "]")) for option in command.OPTIONS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_of_groups_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.read([name, "--help"]) == 0
    _, found, examples = capsys.readouterr().out.partition("\n  Examples:\n")
    assert found and f"pyorch {name}" in examples
