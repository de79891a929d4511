"""Each rule of `pyorch lint`: a stack that breaks it, the line that is named, and how it is silenced."""

from __future__ import annotations

import contextlib
import io
import json
import pathlib
import textwrap
from dataclasses import dataclass

import pytest

from orchestrator.cli.main import main
from orchestrator.stack.lint.table import RULES

PROJECT = pathlib.Path(__file__).parents[2]

BROKEN = {
    "gate-without-check": """
        services:
          web: {image: "web:1", depends_on: {db: {condition: service_healthy}}}  # here
          db: {image: "db:1"}
    """,
    "inactive-dependency": """
        services:
          web: {image: "web:1", depends_on: {db: {condition: service_started, required: false}}}  # here
          db: {image: "db:1", profiles: [big]}
    """,
    "monitor-too-short": """
        services:
          web:
            image: web:1
            healthcheck: {test: [CMD, "true"], interval: 10s, retries: 3, start_period: 5s}
            deploy:
              update_config:
                monitor: 20s  # here
    """,
    "start-interval-without-period": """
        services:
          web:
            image: web:1
            healthcheck:
              test: [CMD, "true"]
              start_interval: 1s  # here
    """,
    "limit-below-reservation": """
        services:
          web:
            image: web:1
            deploy:
              resources:
                limits:
                  memory: 64M  # here
                reservations: {memory: 128M}
    """,
    "fixed-name-with-replicas": """
        services:
          web:
            image: web:1
            container_name: web  # here
            deploy: {update_config: {order: start-first}}
    """,
    "port-clash": """
        services:
          api: {image: "web:1", ports: ["8080:80"]}
          web:
            image: web:1
            ports:
              - "127.0.0.1:8080:81"  # here
    """,
    "ports-without-network": """
        services:
          web:
            image: web:1
            network_mode: host
            ports: ["80:80"]  # here
    """,
    "latest-tag": """
        services:
          web:
            image: registry.example.com:5000/web  # here
    """,
    "secret-in-environment": """
        services:
          web:
            image: web:1
            environment:
              POSTGRES_PASSWORD: hunter2  # here
              OTHER_PASSWORD: ${OTHER-}
              POSTGRES_PASSWORD_FILE: /run/secrets/password
    """,
    "privileged": """
        services:
          web:
            image: web:1
            privileged: true  # here
    """,
    "engine-socket": """
        services:
          web:
            image: web:1
            x-pyorch: {lint: {ignore: [missing-bind]}}
            volumes:
              - /var/run/docker.sock:/var/run/docker.sock:ro  # here
    """,
    "unused-volume": """
        services: {web: {image: "web:1", volumes: ["data:/data"]}}
        volumes:
          data:
          old:  # here
    """,
    "unused-network": """
        services: {web: {image: "web:1"}}
        networks:
          default: {internal: true}
          old: {}  # here
    """,
    "unused-config": """
        services: {web: {image: "web:1"}}
        configs:
          old: {content: x}  # here
    """,
    "unused-secret": """
        services: {web: {image: "web:1"}}
        secrets:
          old: {environment: OLD}  # here
    """,
    "not-obeyed": """
        services:
          web:
            image: web:1
            isolation: process
            storage_opt: {size: 1G}  # here
    """,
    "missing-bind": """
        services:
          web:
            image: web:1
            volumes:
              - .:/here
              - ./nowhere:/there  # here
    """,
}


@dataclass
class Ran:
    returncode: int
    stdout: str
    stderr: str


def lint(directory: pathlib.Path, text: str, *words: str) -> Ran:
    """The command, in this process: a new one for each case would cost minutes."""
    file = directory / "stack.yaml"
    file.write_text(textwrap.dedent(text).lstrip())
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["lint", "-f", str(file), *words])
    return Ran(code, out.getvalue(), err.getvalue())


def _beside(rule: str) -> tuple[str, ...]:
    """What is not obeyed changes with every version and is no matter of the other rules."""
    return () if rule == "not-obeyed" else ("--ignore", "not-obeyed")


def line_of(text: str) -> int:
    lines = textwrap.dedent(text).lstrip().split("\n")
    return next(number for number, line in enumerate(lines, 1) if "# here" in line)


def test_every_rule_has_its_case() -> None:
    assert BROKEN.keys() == RULES.keys()


def test_every_rule_is_explained_and_documented() -> None:
    page = (PROJECT / "docs/stack-file.md").read_text(encoding="utf-8")
    assert [name for name, rule in RULES.items() if not rule.__doc__ or f"`{name}`" not in page] == []


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_finds_its_line_and_nothing_else_is_found(tmp_path: pathlib.Path, rule: str) -> None:
    ran = lint(tmp_path, BROKEN[rule], "--format", "json", *_beside(rule))
    assert ran.returncode == 1, ran.stderr
    assert [(row["rule"], row["line"]) for row in json.loads(ran.stdout)] == [(rule, line_of(BROKEN[rule]))]


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_is_silenced_by_its_name(tmp_path: pathlib.Path, rule: str) -> None:
    assert lint(tmp_path, BROKEN[rule], "--ignore", rule, *_beside(rule)).returncode == 0
    silenced = textwrap.dedent(BROKEN[rule]) + f"x-pyorch: {{lint: {{ignore: [{rule}]}}}}\n"
    assert lint(tmp_path, silenced, *_beside(rule)).returncode == 0


def test_a_service_silences_a_rule_for_itself_alone(tmp_path: pathlib.Path) -> None:
    text = """
        services:
          a: {image: a, x-pyorch: {lint: {ignore: [latest-tag]}}}
          b: {image: b}
    """
    found = json.loads(lint(tmp_path, text, "--format", "json").stdout)
    assert [(row["rule"], row["path"]) for row in found] == [("latest-tag", "services.b.image")]


def test_a_finding_shows_its_line_and_the_way_out(tmp_path: pathlib.Path) -> None:
    ran = lint(tmp_path, BROKEN["latest-tag"])
    assert ran.stdout == (
        "stack.yaml:3:12: services.web.image: 'registry.example.com:5000/web' has no tag: latest is meant;"
        " name a version, or a digest (`pyorch lock`) [latest-tag]\n"
        "      image: registry.example.com:5000/web  # here\n"
        "             ^\n"
    )
    assert ran.stderr == "pyorch: 1 finding; silence a rule with --ignore RULE\n"


def test_findings_are_annotations_for_github(tmp_path: pathlib.Path) -> None:
    ran = lint(tmp_path, BROKEN["privileged"], "--format", "github", "--ignore", "not-obeyed")
    assert ran.stdout.startswith(
        "::warning file=stack.yaml,line=4,col=5,title=pyorch privileged::services.web.privileged: "
    )


def test_a_wrong_file_is_no_finding(tmp_path: pathlib.Path) -> None:
    text = "services: {web: {imagee: x}}\n"
    assert lint(tmp_path, text).returncode == 2
    ran = lint(tmp_path, text, "--format", "github")
    assert ran.returncode == 2
    assert ran.stdout.startswith(
        "::error file=stack.yaml,line=1,col=18,title=pyorch mistake::services.web.imagee: unknown"
    )


def test_an_unknown_rule_is_told_of(tmp_path: pathlib.Path) -> None:
    good = "services: {web: {image: 'web:1'}}\n"
    assert "did you mean 'latest-tag'?" in lint(tmp_path, good, "--ignore", "latest-tags").stderr
    found = json.loads(lint(tmp_path, good + "x-pyorch: {lint: {ignore: [latest-tags]}}\n", "--format", "json").stdout)
    assert [(row["rule"], row["line"]) for row in found] == [("unknown-rule", 2)]


def test_a_good_stack_has_no_findings(tmp_path: pathlib.Path) -> None:
    text = """
        services:
          web: {image: "web:1@sha256:00", ports: ["80:80"], depends_on: {db: {condition: service_healthy}}}
          db: {image: "db:1", healthcheck: {test: [CMD, "true"]}, ports: ["127.0.0.1:81:80", "80:80/udp"]}
    """
    ran = lint(tmp_path, text)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
