"""Commands against an agent that says what the test wants: what is asked, what is printed, how it exits."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_agent import FakeAgent, Json, Stream, container, error, ndjson

DONE = {"type": "done", "ok": True, "failures": [], "seconds": 0.25}
FAILED = {"type": "done", "ok": False, "failures": [{"subject": "shop-db-1", "why": "exit code 1"}], "seconds": 1}


def test_ps_shows_docker_s_columns_and_the_reason_of_what_is_not_as_wanted(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        rows = [
            container("shop-db-1", "db", Status="Up 2 minutes (healthy)"),
            container("shop-web-1", "web", Status="Held", State="created", Reason="needs db\nhealthy\x1b[2J"),
        ]
        agent.replies["/v1/containers"] = lambda _: Json(rows)
        ran = agent.pyorch("ps", "-p", "shop", "web", "db")
        assert agent.requests[0].query == {"stack": "shop", "all": "0", "services": "web,db"}
    assert (ran.returncode, ran.stderr) == (0, "")
    head, db, web = ran.stdout.splitlines()
    assert head.split() == ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS", "REASON"]
    assert db.split()[:5] == ["shop-db-1", "host:/", '"python3', "-m", 'http.s…"']
    assert web.endswith("needs db healthy\\x1b[2J")


def test_ps_in_json_is_an_object_a_line_and_status_filters(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        rows = [container("shop-db-1", "db"), container("shop-job-1", "job", State="exited", ExitCode=3)]
        agent.replies["/v1/containers"] = lambda _: Json(rows)
        ran = agent.pyorch("ps", "-p", "shop", "-a", "--format", "json", "--status", "exited")
        assert [json.loads(line) for line in ran.stdout.splitlines()] == [rows[1]]
        assert agent.pyorch("ps", "-p", "shop", "--services").stdout == "db\njob\n"
        assert agent.pyorch("ps", "-p", "shop", "-q").stdout == "0123456789ab\n" * 2


def test_the_agent_names_the_stack_of_a_file_that_we_never_read(tmp_path: Path) -> None:
    file = tmp_path / "deep/stack.yaml"
    file.parent.mkdir()
    file.write_text("\t not yaml {{{")
    (file.parent / "below").mkdir()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/resolve"] = lambda _: Json({"name": "shop"})
        agent.replies["/v1/stacks/shop/stop"] = lambda _: ndjson(DONE)
        ran = agent.pyorch("stop", "-t", "1.5", "web", cwd=file.parent / "below")
        assert agent.asked("/v1/resolve").query["file"] == str(file)
        assert agent.asked("/v1/stacks/shop/stop").body == {"services": ["web"], "grace": 1.5, "no_deps": False}
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.parametrize(
    ("words", "environment", "expected"),
    [
        (["-p", "a", "ps"], {"COMPOSE_PROJECT_NAME": "b"}, {"stack": "a"}),
        (["ps"], {"COMPOSE_PROJECT_NAME": "b", "COMPOSE_FILE": "x.yaml"}, {"stack": "b"}),
        (["ps"], {"COMPOSE_FILE": "x.yaml:stack.yaml"}, {"file": "x.yaml"}),
        (["-f", "x.yaml", "ps"], {"COMPOSE_FILE": "stack.yaml"}, {"file": "x.yaml"}),
        (["ps"], {}, {"file": "stack.yaml"}),
    ],
)
def test_which_stack_is_meant(
    tmp_path: Path, words: list[str], environment: dict[str, str], expected: dict[str, str]
) -> None:
    for name in ("x.yaml", "stack.yaml"):
        (tmp_path / name).touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/containers"] = lambda _: Json([])
        agent.pyorch(*words, cwd=tmp_path, env=agent.environment(**environment))
        asked = agent.asked("/v1/containers").query
    wanted = {key: str(tmp_path / value) if key == "file" else value for key, value in expected.items()}
    assert {key: value for key, value in asked.items() if key != "all"} == wanted


def test_up_sends_files_services_and_the_caller_s_environment(tmp_path: Path) -> None:
    (tmp_path / "my.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        accepted = {"type": "accepted", "stack": "shop", "revision": 1, "warnings": ["db: odd"], "services": 2}
        state = {"type": "state", "subject": "shop-db-1", "service": "db", "state": "running", "health": "", "why": ""}
        agent.replies["/v1/up"] = lambda _: ndjson(
            accepted,
            {"type": "action", "verb": "start", "subject": "shop-db-1", "why": "missing", "text": ""},
            state,
            {"type": "hold", "subject": "shop-web-1", "why": "needs db healthy"},
            {"type": "hold", "subject": "shop-web-1", "why": "needs db healthy"},
            {**state, "health": "healthy"},
            DONE,
        )
        words = ["up", "my.yaml", "web", "--wait", "--wait-timeout", "9", "--scale", "web=3", "--profile", "p"]
        ran = agent.pyorch(*words, cwd=tmp_path, env=agent.environment(COLOUR="blue"))
        body = agent.asked("/v1/up").body
    assert ran.returncode == 0
    assert ran.stdout == ""
    assert ran.stderr.splitlines() == [
        "pyorch: warning: db: odd",
        "shop-db-1  starting: missing",
        "shop-db-1  started",
        "shop-web-1  held: needs db healthy",
        "shop-db-1  healthy",
        "shop: done in 0.25 s",
    ]
    assert body["files"] == [str(tmp_path / "my.yaml")]
    assert body["directory"] == str(tmp_path)
    assert body["environment"]["COLOUR"] == "blue"
    assert (body["services"], body["goal"], body["timeout"], body["scale"]) == (["web"], "ready", 9.0, {"web": 3})
    assert (body["profiles"], body["name"], body["grace"]) == (["p"], None, None)


def test_a_failed_up_names_each_failure(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/up"] = lambda _: ndjson(FAILED)
        ran = agent.pyorch("up", "-d", cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr == "pyorch: shop-db-1 failed: exit code 1\n"


@pytest.mark.parametrize(
    ("plan", "code", "text"),
    [
        ({"stack": "shop", "changes": False, "summary": "", "text": ""}, 0, "shop: nothing to do\n"),
        (
            {"stack": "shop", "changes": True, "summary": "+ db: start", "text": "start shop-db-1 on n: missing"},
            2,
            "+ db: start\n\nstart shop-db-1 on n: missing\n",
        ),
    ],
)
def test_plan_says_by_its_exit_code_whether_there_is_something_to_do(
    tmp_path: Path, plan: dict[str, object], code: int, text: str | None
) -> None:
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/plan"] = lambda _: Json(plan)
        ran = agent.pyorch("plan", cwd=tmp_path)
        assert (ran.returncode, ran.stdout) == (code, text or f"{plan['text']}\n")
        assert json.loads(agent.pyorch("plan", "-o", "json", cwd=tmp_path).stdout) == plan


def test_the_mistakes_of_a_file_are_printed_as_they_are_and_counted(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        complaints = ["stack.yaml:3:5: unknown key 'imagee'\n    imagee: x\n    ^", "stack.yaml:9:1: no services"]
        agent.replies["/v1/up"] = agent.replies["/v1/plan"] = lambda _: error("mistake", "two", complaints)
        ran = agent.pyorch("up", "-d", cwd=tmp_path)
        assert ran.returncode == 2
        assert ran.stderr == "\n".join(complaints) + "\npyorch: 2 mistakes found; nothing was done\n"
        assert agent.pyorch("plan", cwd=tmp_path).returncode == 1, "2 means changes there"


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["pss"], 2, "pyorch: no such command 'pss'; did you mean 'ps'?"),
        (["ps", "--alll"], 2, "pyorch: no such option '--alll'"),
        (["up", "nowhere.yaml"], 2, "pyorch: cannot read stack file 'nowhere.yaml': there is no such file"),
        (["-f", "there.yaml", "up", "-d", "--scale", "web"], 2, "pyorch: cannot scale 'web': write SERVICE=N"),
        (["ps"], 2, "pyorch: cannot find a stack file in"),
        (["logs", "-p", "shop", "--tail", "many"], 2, "pyorch: cannot show the last 'many' lines"),
        (["-p", "gone", "down"], 1, "pyorch: cannot find /v1/stacks/gone/down"),
        (["--root", "/tmp/pyorch-nobody-is-here", "-p", "x", "ps"], 3, "pyorch: cannot reach the agent at"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_an_exit_code(
    tmp_path: Path, words: list[str], code: int, sentence: str
) -> None:
    (tmp_path / "there.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        ran = agent.pyorch(*words, cwd=tmp_path)
    assert ran.returncode == code, ran.stderr
    assert ran.stderr.startswith(sentence)
    assert "Traceback" not in ran.stderr


def test_an_unforeseen_error_keeps_its_traceback_for_those_who_ask(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/containers"] = lambda _: Json([{"no": "fields"}])
        ran = agent.pyorch("ps", "-p", "shop")
        assert (ran.returncode, ran.stderr) == (1, "pyorch: cannot go on: KeyError: 'Command' (-v shows where)\n")
        assert "Traceback" in agent.pyorch("-v", "ps", "-p", "shop").stderr


def test_an_agent_that_dies_while_it_works_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/up"] = lambda _: Stream([])
        ran = agent.pyorch("up", "-d", cwd=tmp_path)
    assert ran.returncode == 3
    assert ran.stderr.startswith("pyorch: cannot say how it ended")


def test_the_agent_s_status_is_told_with_and_without_it(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        info = {"version": "1", "pid": 7, "launcher": {"pid": 8}, "dns": {"pid": 9}, "root": "/r", "cgroup": "v1"}
        agent.replies["/v1/info"] = lambda _: Json({**info, "stacks": 1, "containers": 2})
        ran = agent.pyorch("agent", "status", "--format", "json")
        status = json.loads(ran.stdout)
        assert (status["running"], status["agent"]["pid"], status["launcher"]["pid"]) == (True, 7, 8)
        assert "runs (pid 9)" in agent.pyorch("agent", "status").stdout
    ran = agent.pyorch("agent", "status", "--format", "json")
    assert ran.returncode == 3
    assert json.loads(ran.stdout)["running"] is False


def test_events_are_sentences_or_json(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        event = {
            "time": "2026-01-01T00:00:00+00:00",
            "timeNano": 1,
            "type": "container",
            "action": "start",
            "stack": "shop",
            "service": "db",
            "subject": "shop-db-1",
            "why": "missing",
        }
        agent.replies["/v1/events"] = lambda _: ndjson(event, {**event, "service": "web"})
        agent.replies["/v1/containers"] = lambda _: Json([])
        ran = agent.pyorch("events", "-p", "shop", "--no-follow", "db")
        assert ran.stdout == "2026-01-01T00:00:00+00:00 container start shop-db-1: missing\n"
        assert len(agent.pyorch("events", "-p", "shop", "--json").stdout.splitlines()) == 2


def test_version_and_completion_need_no_agent(tmp_path: Path) -> None:
    agent = FakeAgent(tmp_path)
    assert agent.pyorch("version", "--short").stdout.count(".") == 2
    assert json.loads(agent.pyorch("version", "--format", "json").stdout)["version"]
    for shell in ("bash", "zsh", "fish"):
        assert "_PYORCH_COMPLETE" in agent.pyorch("completion", shell).stdout


def test_completion_offers_the_services_that_run(tmp_path: Path) -> None:
    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/containers"] = lambda _: Json([container("a", "web"), container("b", "worker")])
        asking = agent.environment(_PYORCH_COMPLETE="bash_complete", COMP_WORDS="pyorch -p shop logs w", COMP_CWORD="4")
        ran = agent.pyorch(env=asking)
    assert ran.stdout.split() == ["plain,web", "plain,worker"]


def test_an_interrupted_up_leaves_what_is_applied_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").touch()
    go_on = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield json.dumps({"type": "accepted", "stack": "shop", "warnings": ["it begins"]}).encode() + b"\n"
        go_on.wait(30)

    with FakeAgent(tmp_path) as agent:
        agent.replies["/v1/up"] = lambda _: Stream(slowly())
        process = subprocess.Popen(
            agent.command("up", "-d"), cwd=tmp_path, env=agent.environment(), stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        assert process.stderr.readline() == "pyorch: warning: it begins\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        go_on.set()
        assert process.wait() == 130
    assert said == (
        "pyorch: no longer watching: the agent goes on; 'pyorch -p shop ps' shows how far, "
        "'pyorch -p shop down' ends it\n"
    )


def test_a_locale_that_python_chose_is_no_variable_of_the_callers(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text("services: {web: {image: 'x:${LC_CTYPE:-none}'}}\n")
    said = []
    with FakeAgent(tmp_path) as agent:
        bare = {"PYTHONPATH": agent.environment()["PYTHONPATH"]}
        for own in ({}, {"LC_CTYPE": "C.UTF-8"}):
            ran = agent.pyorch("-f", "stack.yaml", "config", "--images", cwd=tmp_path, env={**bare, **own})
            said.append(ran.stdout)
    assert said == ["x:none\n", "x:C.UTF-8\n"]
