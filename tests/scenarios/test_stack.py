"""What must be true of the machine after a command: obligations, on the real kernel.

Services are programs of this machine (`host:/`), so nothing has to be pulled or built.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
SERVES = "[python3, -m, http.server, '8000']"

TWO = f"""
    name: two
    services:
      db:
        image: host:/
        command: {WAITS}
      web:
        image: host:/
        command: {WAITS}
        environment: {{COLOUR: red}}
        depends_on: [db]
"""


def started(pyorch: Pyorch) -> dict[str, tuple[str, int]]:
    """Container → (id, pid): the same pair is the same run."""
    return {name: (row["ID"], row["Pid"]) for name, row in pyorch.ps().items()}


def test_up_twice_changes_nothing(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    before = started(pyorch)
    assert set(before) == {"two-db-1", "two-web-1"}
    assert pyorch.run("plan", "stack.yaml").returncode == 0
    pyorch.up(TWO)
    assert started(pyorch) == before


def test_only_the_changed_service_is_replaced_and_the_plan_says_why(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    before = started(pyorch)
    pyorch.write(TWO.replace("COLOUR: red", "COLOUR: blue"))
    plan = pyorch.run("plan", "stack.yaml")
    assert plan.returncode == 2
    assert "environment.COLOUR changed (stack.yaml:10)" in plan.stdout
    assert started(pyorch) == before, "a plan changes nothing"
    pyorch.ok("up", "-d", "stack.yaml")
    after = started(pyorch)
    assert after["two-db-1"] == before["two-db-1"]
    assert after["two-web-1"][0] != before["two-web-1"][0]
    assert "COLOUR=blue" in pyorch.ok("exec", "-T", "web", "env")


def test_who_is_not_named_stays_as_it_was_made(pyorch: Pyorch) -> None:
    three = f"""
        name: three
        services:
          db: {{image: "host:/", command: {WAITS}, environment: {{V: "1"}}, networks: [old]}}
          api: {{image: "host:/", command: {WAITS}, environment: {{V: "1"}}, depends_on: [db], networks: [old]}}
          web: {{image: "host:/", command: {WAITS}, environment: {{V: "1"}}, networks: [old], configs: [motd]}}
        networks: {{old: {{}}}}
        configs: {{motd: {{content: "day 1"}}}}
    """
    pyorch.up(three)
    before = started(pyorch)
    changed = three.replace('V: "1"', 'V: "2"').replace("old", "new").replace("day 1", "day 2")
    pyorch.write(changed)
    plan = json.loads(pyorch.run("plan", "-o", "json", "--no-deps", "stack.yaml", "api").stdout)
    assert [change["service"] for change in plan["services"]] == ["api"], plan["text"]
    said = pyorch.run("up", "-d", "--wait", "--no-deps", "stack.yaml", "api").stderr
    assert "the file says something else of db, web now: left as made (not named)" in said
    after = started(pyorch)
    assert [name for name in before if after[name] != before[name]] == ["three-api-1"]
    pyorch.ok("up", "-d", "--wait", "stack.yaml", "api")  # and what it needs
    assert started(pyorch)["three-db-1"] != before["three-db-1"]
    assert started(pyorch)["three-web-1"] == before["three-web-1"]
    os.kill(before["three-web-1"][1], signal.SIGKILL)
    pyorch.ok("restart", "web")
    assert "day 1" in pyorch.ok("exec", "-T", "web", "cat", "/motd")
    pyorch.up(changed)
    assert "day 2" in pyorch.ok("exec", "-T", "web", "cat", "/motd")
    assert pyorch.run("plan", "stack.yaml").returncode == 0


def test_what_would_wait_for_one_another_is_refused(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    before = started(pyorch)
    turned = TWO.replace("depends_on: [db]", "labels: {turned: y}").replace("image: host:/", "image: 'host:/'", 1)
    pyorch.write(turned.replace("image: 'host:/'", "image: 'host:/'\n        depends_on: [web]", 1))
    refused = pyorch.run("up", "-d", "--no-deps", "stack.yaml", "db")
    assert refused.returncode == 1
    assert "would wait for one another; name them all" in refused.stderr
    assert started(pyorch) == before
    pyorch.ok("up", "-d", "stack.yaml")


def test_a_moved_line_or_a_comment_is_no_change(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    before = started(pyorch)
    pyorch.up("\n    # a comment\n" + TWO)
    assert started(pyorch) == before


def test_scaling_touches_only_the_surplus(pyorch: Pyorch) -> None:
    stack = f"name: s\nservices:\n  a:\n    image: host:/\n    command: {WAITS}\n    deploy: {{replicas: 3}}\n"
    pyorch.up(stack)
    before = started(pyorch)
    assert set(before) == {"s-a-1", "s-a-2", "s-a-3"}
    pyorch.up(stack.replace("replicas: 3", "replicas: 1"))
    assert started(pyorch) == {"s-a-1": before["s-a-1"]}


def test_a_dependent_starts_after_its_dependency_is_healthy_and_a_job_is_done(pyorch: Pyorch) -> None:
    pyorch.up(
        """
        name: order
        services:
          web:
            image: host:/
            command: [sh, -c, "test -e /data/migrated || exit 9; trap 'exit 0' TERM; sleep 1000 & wait"]
            volumes: [data:/data]
            depends_on:
              migrate: {condition: service_completed_successfully}
          migrate:
            image: host:/
            command: [sh, -c, "test -e /data/ready && touch /data/migrated"]
            volumes: [data:/data]
            depends_on:
              db: {condition: service_healthy}
          db:
            image: host:/
            command: [sh, -c, "touch /data/ready; trap 'exit 0' TERM; sleep 1000 & wait"]
            volumes: [data:/data]
            healthcheck: {test: [CMD, test, -e, /data/ready], interval: 1s}
        volumes: {data: {}}
        """
    )
    rows = pyorch.ps()
    assert rows["order-migrate-1"]["State"] == "exited"
    assert rows["order-migrate-1"]["ExitCode"] == 0
    assert rows["order-web-1"]["State"] == "running"
    assert rows["order-db-1"]["Health"] == "healthy"


def test_a_dependency_that_fails_fails_the_up_and_says_so(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: fails
        services:
          migrate: {{image: "host:/", command: [sh, -c, "exit 3"]}}
          web:
            image: host:/
            command: {WAITS}
            depends_on: {{migrate: {{condition: service_completed_successfully}}}}
        """
    )
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode == 1
    assert "fails-web-1" in done.stdout + done.stderr
    assert "exited 3" in done.stdout + done.stderr
    assert "fails-web-1" in pyorch.ps(), "held services are shown with their reason"
    assert "migrate" in pyorch.ps()["fails-web-1"]["Reason"]


def test_what_is_killed_runs_again_in_the_same_container_with_the_same_address(pyorch: Pyorch) -> None:
    pyorch.up(f"name: k\nservices:\n  a:\n    image: host:/\n    command: {WAITS}\n    restart: always\n")
    before = pyorch.ps()["k-a-1"]
    os.kill(pyorch.pid("k-a-1"), signal.SIGKILL)
    after = pyorch.until(lambda: (row := pyorch.ps()["k-a-1"])["Pid"] not in (0, before["Pid"]) and row)
    assert after["ID"] == before["ID"]
    assert after["Addresses"] == before["Addresses"]
    assert after["Restarts"] == 1


def test_a_crash_loop_backs_off_and_ps_says_until_when(pyorch: Pyorch) -> None:
    pyorch.write("name: c\nservices:\n  a: {image: 'host:/', command: [sh, -c, 'exit 4'], restart: always}\n")
    pyorch.ok("up", "-d", "stack.yaml")
    row = pyorch.until(lambda: (r := pyorch.ps()["c-a-1"])["State"] == "restarting" and r["Restarts"] >= 2 and r)
    assert "exited" in row["Reason"]
    assert row["ExitCode"] == 4


def test_what_fails_its_health_check_is_restarted(pyorch: Pyorch) -> None:
    pyorch.up(
        """
        name: h
        services:
          a:
            image: host:/
            command: [sh, -c, "touch /tmp/well; trap 'exit 0' TERM; sleep 1000 & wait"]
            restart: always
            healthcheck: {test: [CMD, test, -e, /tmp/well], interval: 100ms, retries: 2, timeout: 2s}
        """
    )
    before = pyorch.ps()["h-a-1"]["Pid"]
    pyorch.ok("exec", "-T", "a", "rm", "/tmp/well")
    pyorch.until(lambda: (r := pyorch.ps()["h-a-1"])["Pid"] not in (0, before) and r["Health"] == "healthy")
    assert "unhealthy" in pyorch.ok("events", "--no-follow")


def test_with_restart_no_an_unhealthy_service_is_left_alone(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: h
        services:
          a:
            image: host:/
            command: {WAITS}
            restart: "no"
            healthcheck: {{test: [CMD, "false"], interval: 50ms, retries: 2}}
        """
    )
    done = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert done.returncode == 1
    row = pyorch.ps()["h-a-1"]
    assert (row["State"], row["Health"], row["Restarts"]) == ("running", "unhealthy", 0)
    assert "unhealthy" in row["Reason"]


def test_what_does_not_fit_is_held_with_the_figures_and_starts_when_room_frees(pyorch: Pyorch) -> None:
    cores = os.cpu_count() or 1
    stack = f"""
        name: room
        services:
          big:
            image: host:/
            command: {WAITS}
            deploy: {{resources: {{reservations: {{cpus: "{cores - 0.5}"}}}}}}
          more:
            image: host:/
            command: {WAITS}
            depends_on: [big]
            deploy: {{resources: {{reservations: {{cpus: "{cores - 0.5}"}}}}}}
    """
    pyorch.write(stack)
    pyorch.ok("up", "-d", "stack.yaml")
    reason = pyorch.ps()["room-more-1"]["Reason"]
    assert "0.5" in reason and "cpus" in reason, reason
    pyorch.up(
        stack.replace(
            f'big:\n            image: host:/\n            command: {WAITS}\n            deploy: {{resources: {{reservations: {{cpus: "{cores - 0.5}"',
            f'big:\n            image: host:/\n            command: {WAITS}\n            deploy: {{resources: {{reservations: {{cpus: "0.1"',
        )
    )
    assert pyorch.ps()["room-more-1"]["State"] == "running"


def test_stop_keeps_and_start_goes_on_in_the_same_container(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    before = pyorch.ps()
    pyorch.ok("exec", "-T", "web", "sh", "-c", "echo kept > /tmp/file")
    pyorch.ok("stop")
    assert {row["State"] for row in pyorch.ps().values()} == {"exited"}
    pyorch.ok("start")
    after = pyorch.ps()
    assert {name: row["ID"] for name, row in after.items()} == {name: row["ID"] for name, row in before.items()}
    assert {row["State"] for row in after.values()} == {"running"}
    assert pyorch.ok("exec", "-T", "web", "cat", "/tmp/file") == "kept\n"
    pyorch.ok("restart", "web")
    assert pyorch.ps()["two-web-1"]["Pid"] != after["two-web-1"]["Pid"]
    assert pyorch.ps()["two-db-1"]["Pid"] == after["two-db-1"]["Pid"]


def test_a_service_the_file_no_longer_has_is_kept_until_asked(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    alone = TWO.partition("      web:")[0]
    pyorch.write(alone)
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode == 0
    assert "--remove-orphans" in done.stdout + done.stderr
    assert pyorch.ps()["two-web-1"]["State"] == "running"
    pyorch.ok("up", "-d", "--remove-orphans", "stack.yaml")
    assert set(pyorch.ps()) == {"two-db-1"}


def test_names_lead_to_services_and_only_within_a_common_network(pyorch: Pyorch) -> None:
    pyorch.up(
        f"""
        name: n
        services:
          front: {{image: "host:/", command: {WAITS}, networks: [one]}}
          both:
            image: host:/
            command: {SERVES}
            deploy: {{replicas: 2}}
            networks: {{one: {{aliases: [middle]}}, two: {{}}}}
            healthcheck: {{test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 8000))"]}}
          back: {{image: "host:/", command: {SERVES}, networks: [two]}}
        networks: {{one: {{}}, two: {{}}}}
        """
    )
    rows = pyorch.ps()
    one = {rows[f"n-both-{slot}"]["Addresses"]["n_one"] for slot in (1, 2)}
    for name in ("both", "middle", "BOTH"):
        found = pyorch.ok("exec", "-T", "front", "getent", "ahostsv4", name)
        assert {line.split()[0] for line in found.splitlines()} == one
    assert pyorch.run("exec", "-T", "front", "getent", "hosts", "back").returncode != 0
    assert pyorch.run("exec", "-T", "both", "getent", "hosts", "back").returncode == 0
    address = rows["n-back-1"]["Addresses"]["n_two"]
    reach = f"import socket; socket.create_connection(('{address}', 8000), timeout=1)"
    assert pyorch.run("exec", "-T", "both", "python3", "-c", reach).returncode == 0
    assert pyorch.run("exec", "-T", "front", "python3", "-c", reach).returncode != 0


def test_a_published_port_leads_to_every_replica_and_a_taken_one_names_its_owner(pyorch: Pyorch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        stack = f"""
            name: p
            services:
              web:
                image: host:/
                command: [sh, -c, "hostname > /tmp/index.html; exec python3 -m http.server -d /tmp 8000"]
                deploy: {{replicas: 2}}
                ports: ["{port}:8000"]
                healthcheck: {{test: [CMD, python3, -c, "import socket; socket.create_connection(('127.0.0.1', 8000))"]}}
        """
        pyorch.write(stack)
        done = pyorch.run("up", "-d", "stack.yaml")
        assert done.returncode == 1
        assert f"cannot publish 127.0.0.1:{port}/tcp" in done.stdout + done.stderr
        assert str(os.getpid()) in done.stdout + done.stderr
    pyorch.up(stack)
    script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/').read().decode().strip())"
    answers = {subprocess.check_output(["python3", "-c", script], text=True) for _ in range(12)}
    assert len(answers) == 2, "both replicas answer"
    (publisher,) = pyorch.ps()["p-web-1"]["Publishers"]
    assert publisher == {"URL": "127.0.0.1", "TargetPort": 8000, "PublishedPort": port, "Protocol": "tcp"}


def test_logs_tell_streams_times_and_tails(pyorch: Pyorch) -> None:
    pyorch.up(
        """
        name: l
        services:
          a:
            image: host:/
            command: [sh, -c, "for i in 1 2 3 4 5; do echo out $$i; done; echo err >&2; trap 'exit 0' TERM; sleep 1000 & wait"]
        """
    )
    pyorch.until(lambda: "err" in pyorch.run("logs", "--no-log-prefix").stderr)
    tail = pyorch.run("logs", "--tail", "3", "--no-log-prefix")  # two streams: which came first is not for us to say
    assert len((tail.stdout + tail.stderr).splitlines()) == 3 and tail.stdout.endswith("out 4\nout 5\n")
    assert "a-1  | out 3" in pyorch.ok("logs", "--no-color")
    stamped = pyorch.ok("logs", "-t", "--no-log-prefix").splitlines()
    assert all(line[:4].isdigit() and "T" in line.split()[0] for line in stamped)
    assert len(stamped) == 5


def test_exec_passes_streams_exit_code_user_and_directory(pyorch: Pyorch) -> None:
    pyorch.up(TWO)
    assert pyorch.run("exec", "-T", "db", "sh", "-c", "exit 42").returncode == 42
    done = pyorch.run("exec", "-T", "db", "sh", "-c", "cat; echo err >&2", input="to stdin")
    assert (done.stdout, done.stderr) == ("to stdin", "err\n")
    assert pyorch.ok(
        "exec", "-T", "-u", "65534", "-w", "/tmp", "-e", "A=b", "db", "sh", "-c", "id -u; pwd; echo $A"
    ) == ("65534\n/tmp\nb\n")
    missing = pyorch.run("exec", "-T", "db", "no-such-program")
    assert missing.returncode != 0
    assert "no-such-program" in missing.stderr


def test_down_leaves_nothing_and_volumes_only_go_when_asked(pyorch: Pyorch) -> None:
    stack = f"""
        name: d
        services:
          a: {{image: "host:/", command: {WAITS}, volumes: [data:/data], ports: ["0:80"]}}
        volumes: {{data: {{}}}}
    """.replace('ports: ["0:80"]', 'ports: ["80"]')
    pyorch.up(stack)
    pyorch.ok("exec", "-T", "a", "sh", "-c", "echo kept > /data/file")
    pyorch.ok("down")
    assert not list(Path(pyorch.root.bundles).iterdir())
    assert pyorch.lines("ls", "--format", "json") in ([], [[]])
    pyorch.up(stack)
    assert pyorch.ok("exec", "-T", "a", "cat", "/data/file") == "kept\n"
    done = pyorch.run("down", "-v")
    assert done.returncode == 0
    assert "d_data" in done.stdout + done.stderr
    assert not list(Path(pyorch.root.volumes).iterdir())


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ('{image: "nginx:1.27", command: [x]}', "cannot pull image"),
        ('{image: "host:/", command: [no-such-program]}', "no-such-program"),
        ('{image: "dir:/no/such/directory", command: [x]}', "/no/such/directory"),
        ('{image: "host:/"}', "command"),
    ],
)
def test_what_cannot_start_says_why_and_leaves_nothing(pyorch: Pyorch, service: str, sentence: str) -> None:
    pyorch.write(f"name: bad\nservices:\n  a: {service}\n")
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode in (1, 2)
    said = done.stdout + done.stderr
    assert sentence in said
    assert "Traceback" not in said
    assert not list(Path(pyorch.root.containers).glob("*")) or "a" not in json.dumps(list(pyorch.ps().values()))


def test_a_missing_bind_source_is_never_created(pyorch: Pyorch) -> None:
    pyorch.write("name: b\nservices:\n  a: {image: 'host:/', command: [sleep, '9'], volumes: ['./missing:/x']}\n")
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode == 2
    assert "stack.yaml:3:" in done.stderr
    assert not (pyorch.directory / "missing").exists()
