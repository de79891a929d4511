"""Healing on the real kernel: probes without a program in the image, drift, maintenance, and the answer to "why"."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from orchestrator.kernel import cgroups
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
SERVES = "mkdir /w; echo hi > /w/ready; sleep 0.3; echo listening on 8000; exec python3 -m http.server -d /w 8000"


def test_probes_need_no_program_in_the_container_and_ask_in_their_order(pyorch: Pyorch) -> None:
    pyorch.up(f"""
        name: probes
        services:
          web:
            image: host:/
            command: [sh, -c, "{SERVES}"]
            restart: always
            stop_grace_period: 1s
            stop_signal: SIGINT
            x-pyorch:
              probes:
                startup: {{log: "listening on", timeout: 20s}}
                ready: {{http: {{port: 8000, path: /ready}}, interval: 300ms}}
                live: {{tcp: {{port: 8000}}, interval: 1s, retries: 3}}
    """)
    health = lambda: pyorch.ps()["probes-web-1"]["Health"]  # noqa: E731
    assert health() == "healthy"
    pid = pyorch.pid("probes-web-1")
    pyorch.ok("exec", "web", "rm", "/w/ready")
    pyorch.until(lambda: health() == "unready")
    assert pyorch.pid("probes-web-1") == pid  # it serves nobody, and goes on
    pyorch.ok("exec", "web", "touch", "/w/ready")
    pyorch.until(lambda: health() == "healthy")
    os.kill(pid, signal.SIGSTOP)  # the port still takes connections into its queue: ready fails, live does not
    pyorch.until(lambda: health() == "unready")
    os.kill(pid, signal.SIGCONT)
    pyorch.until(lambda: health() == "healthy")


TLS = """
import http.server, os, ssl
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if os.path.exists("/tmp/well") else 503)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Answer)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/own/certificate")
server.socket = context.wrap_socket(server.socket, server_side=True)
open("/tmp/well", "w").close()
server.serve_forever()
"""


def test_a_probe_over_tls_takes_the_certificate_that_the_service_made_itself(pyorch: Pyorch) -> None:
    own = pyorch.directory / "own"
    own.mkdir()
    (own / "serve.py").write_text(TLS)
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=somebody", "-days", "1", "-keyout", str(own / "key"), "-out", str(own / "cert")]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    (own / "certificate").write_text((own / "key").read_text() + (own / "cert").read_text())
    pyorch.up("""
        name: tls
        services:
          web:
            image: host:/
            command: [python3, /own/serve.py]
            volumes: [./own:/own:ro]
            tmpfs: [/tmp]
            stop_grace_period: 1s
            stop_signal: SIGKILL
            x-pyorch: {probes: {ready: {http: {port: 8443, scheme: https}, interval: 200ms}}}
    """)
    health = lambda: pyorch.ps()["tls-web-1"]["Health"]  # noqa: E731
    assert health() == "healthy"
    pyorch.ok("exec", "web", "rm", "/tmp/well")
    pyorch.until(lambda: health() == "unready")
    told = pyorch.run("status")
    assert told.returncode == 1
    assert "tls-web-1: unready: " in told.stdout and "HTTP status 503" in told.stdout


def test_a_startup_that_takes_too_long_is_restarted(pyorch: Pyorch) -> None:
    pyorch.write(f"""
        name: slow
        services:
          web:
            image: host:/
            command: {WAITS}
            restart: always
            stop_grace_period: 1s
            x-pyorch: {{probes: {{startup: {{file: /ok, timeout: 1s}}}}}}
    """)
    tried = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert tried.returncode == 1
    assert "file /ok: /ok does not exist" in tried.stderr


def test_an_edited_limit_is_put_right_and_not_for_ever(pyorch: Pyorch) -> None:
    pyorch.up(f"""
        name: drift
        services:
          web: {{image: "host:/", command: {WAITS}, deploy: {{resources: {{limits: {{pids: 50}}}}}}}}
          told: {{image: "host:/", command: {WAITS}, deploy: {{resources: {{limits: {{pids: 50}}}}}},
            x-pyorch: {{drift: report}}}}
    """)

    def file(container: str) -> Path:
        group = cgroups.Group(f"/{pyorch.root.cgroup}/{pyorch.bundle(container).name}")
        return Path(group.directories.get("unified") or group.directories["pids"]) / "pids.max"

    edited, told = file("drift-web-1"), file("drift-told-1")
    for _ in range(3):
        edited.write_text("7")
        pyorch.until(lambda: edited.read_text().strip() == "50")
    edited.write_text("7")
    told.write_text("7")
    standing = lambda: json.loads(pyorch.run("status", "--format", "json").stdout)  # noqa: E731
    pyorch.until(lambda: [row["Sync"] for row in standing()["Services"]] == ["drifted", "drifted"])
    assert edited.read_text().strip() == "7"
    assert "left alone until the next 'up'" in pyorch.run("status").stdout
    pyorch.ok("up", "-d", "stack.yaml")
    pyorch.until(lambda: edited.read_text().strip() == "50")
    assert told.read_text().strip() == "7"


def test_a_limit_is_looked_after_in_every_run(pyorch: Pyorch) -> None:
    restarted = "deploy: {resources: {limits: {pids: 50}}, restart_policy: {condition: any, delay: 0s}}"
    pyorch.up(f"""
        name: runs
        services:
          web: {{image: "host:/", command: {WAITS}, {restarted}}}
    """)
    group = cgroups.Group(f"/{pyorch.root.cgroup}/{pyorch.bundle('runs-web-1').name}")
    file = Path(group.directories.get("unified") or group.directories["pids"]) / "pids.max"
    first = json.loads((pyorch.bundle("runs-web-1") / "state.json").read_text())["pid"]
    os.kill(first, signal.SIGKILL)
    pyorch.until(lambda: _running(pyorch.bundle("runs-web-1")) not in (None, first))
    for _ in range(2):  # the second one after the new run was certainly looked at
        file.write_text("7")
        pyorch.until(lambda: file.read_text().strip() == "50", seconds=5)


def _running(bundle: Path) -> int | None:
    try:
        state = json.loads((bundle / "state.json").read_text())
    except FileNotFoundError:
        return None
    return int(state["pid"]) if state["status"] == "running" else None


def test_a_suspended_service_is_left_alone_until_its_time_is_over(pyorch: Pyorch) -> None:
    pyorch.up(f"""
        name: rest
        services: {{web: {{image: "host:/", command: {WAITS}, restart: always}}}}
    """)
    pyorch.ok("suspend", "web", "--for", "1h", "--reason", "looking")
    os.kill(pyorch.pid("rest-web-1"), signal.SIGKILL)
    pyorch.until(lambda: pyorch.ps()["rest-web-1"]["State"] != "running")
    pyorch.ok("agent", "stop")
    pyorch.ok("agent", "start")
    assert "suspended for 35" in pyorch.run("status").stdout
    pyorch.ok("resume")
    pyorch.until(lambda: pyorch.ps()["rest-web-1"]["State"] == "running")
    pyorch.ok("suspend", "--for", "1s")
    os.kill(pyorch.pid("rest-web-1"), signal.SIGKILL)
    pyorch.until(lambda: pyorch.ps()["rest-web-1"]["State"] == "running")


def test_why_leads_from_the_symptom_to_the_root_and_to_what_changed(pyorch: Pyorch) -> None:
    def stack(mode: str) -> str:
        return f"""
            name: cause
            services:
              db:
                image: host:/
                command: [sh, -c, "[ $$MODE = good ] || echo cannot open the store; [ $$MODE = good ] || exit 3; sleep 1000"]
                environment: {{MODE: {mode}}}
                stop_grace_period: 1s
                x-pyorch: {{probes: {{ready: {{command: "true"}}}}}}
              web:
                image: host:/
                command: {WAITS}
                environment: {{MODE: {mode}}}
                depends_on: {{db: {{condition: service_healthy}}}}
        """

    pyorch.up(stack("good"))
    pyorch.until(lambda: pyorch.lines("history", "--format", "json")[0]["Outcome"] == "good")
    pyorch.write(stack("bad"))
    tried = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert tried.returncode == 1
    assert "log      cannot open the store" in tried.stderr
    assert "changed  environment.MODE: good → bad (stack.yaml:" in tried.stderr
    told = json.loads(pyorch.run("why", "web", "--format", "json").stdout)
    assert [link["service"] for link in told["chain"]] == ["web", "db"]
    assert told["root"] == "db"
    assert told["chain"][-1]["why"].startswith("exited 3")
    assert told["changed"][0].startswith("environment.MODE: good → bad")
    assert told["next"].startswith("nothing by itself")
    events = pyorch.lines("events", "--since", "0", "--no-follow", "--format", "json")
    numbers = {event["number"] for event in events}
    starts = [event for event in events if event["action"] in ("start", "stop", "destroy") and event["stack"]]
    assert starts and all(event["cause"] in numbers for event in starts)


def test_a_changed_config_is_reloaded_in_the_living_container_or_restarts_it_or_does_nothing(pyorch: Pyorch) -> None:
    def stack(answer: str) -> str:
        return f"""
            name: conf
            services:
              web:
                image: host:/
                command: [sh, -c, "trap 'cat /etc/app.conf' HUP; cat /etc/app.conf; while :; do sleep 3600 & wait; done"]
                stop_grace_period: 1s
                stop_signal: SIGKILL
                configs: [{{source: app, target: /etc/app.conf}}]
                x-pyorch: {{on_change: {{config: {answer}}}}}
            configs: {{app: {{file: ./app.conf}}}}
        """

    def log() -> list[str]:
        return pyorch.ok("logs", "--no-log-prefix", "web").split()

    (pyorch.directory / "app.conf").write_text("first\n")
    pyorch.up(stack("reload"))
    identity, pid = pyorch.ps()["conf-web-1"]["ID"], pyorch.pid("conf-web-1")
    pyorch.until(lambda: log() == ["first"])
    (pyorch.directory / "app.conf").write_text("a longer second\n")
    planned = pyorch.run("plan", "stack.yaml")
    assert planned.returncode == 2
    assert "~ web: reload" in planned.stdout
    pyorch.ok("up", "-d", "--wait", "stack.yaml")
    pyorch.until(lambda: log() == ["first", "a", "longer", "second"])
    assert (pyorch.ps()["conf-web-1"]["ID"], pyorch.pid("conf-web-1")) == (identity, pid)
    (pyorch.directory / "app.conf").write_text("3\n")
    pyorch.up(stack("restart"))
    pyorch.until(lambda: log()[-1] == "3")
    assert pyorch.ps()["conf-web-1"]["ID"] == identity
    (pyorch.directory / "app.conf").write_text("4\n")
    pyorch.up(stack("none"))
    assert pyorch.run("plan", "stack.yaml").returncode == 0
    assert pyorch.ps()["conf-web-1"]["ID"] == identity
    pyorch.up(stack("recreate"))
    pyorch.until(lambda: log()[-1] == "4")
    assert pyorch.ps()["conf-web-1"]["ID"] != identity
