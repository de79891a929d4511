"""What must stay true while parts of it die, lie or run full: obligations under faults, on the real kernel.

A fault hits one part; whoever it was not aimed at keeps process, identity and address. Moments of death are random but
seeded: a failing round can be run again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.network import bridges, firewall
from tests.scenarios.conftest import Pyorch

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
LISTENS = "socket.create_connection(('127.0.0.1', 8000))"


def shop(port: int, colour: str = "red") -> str:
    """Three services: a store that no round touches, two published replicas that it may change, a dependent worker."""
    return f"""
        name: shop
        services:
          db:
            image: host:/
            command: [sh, -c, "echo 1 > /data/ready; trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
            volumes: [data:/data]
            healthcheck: {{test: [CMD, test, -e, /data/ready], interval: 1s}}
            restart: always
          web:
            image: host:/
            command: [sh, -c, "mkdir /w; echo $$COLOUR > /w/index.html; exec python3 -m http.server -d /w 8000"]
            environment: {{COLOUR: {colour}}}
            deploy: {{replicas: 2}}
            ports: ["{port}:8000"]
            healthcheck: {{test: [CMD, python3, -c, "import socket; {LISTENS}"], interval: 5s}}
            restart: always
            stop_grace_period: 1s
            stop_signal: SIGINT
          worker:
            image: host:/
            command: {WAITS}
            depends_on: {{db: {{condition: service_healthy}}}}
            restart: always
        volumes: {{data: {{}}}}
    """


NAMES = {"shop-db-1", "shop-web-1", "shop-web-2", "shop-worker-1"}


def daemon_pid(pyorch: Pyorch, daemon: str) -> int:
    """Of "agent", "launcher" or "dns", from the lock that it holds."""
    directory = pyorch.root.state if daemon == "agent" else pyorch.root.run
    return int((Path(directory) / f"{daemon}.lock").read_text())


def kill(pyorch: Pyorch, daemon: str) -> int:
    """SIGKILL to "agent", "launcher" or "dns"; returns its pid once it is dead, 0 where it has not come so far yet."""
    try:
        pid = daemon_pid(pyorch, daemon)
    except (FileNotFoundError, ValueError):
        return 0
    with contextlib.suppress(ProcessLookupError):
        end = os.pidfd_open(pid)
        os.kill(pid, signal.SIGKILL)
        pyorch.until(lambda: dead(end))
        os.close(end)
    return pid


def dead(pidfd: int) -> bool:
    """A pidfd is readable once its process has ended."""
    import select

    return bool(select.select([pidfd], [], [], 0)[0])


def runs(pyorch: Pyorch) -> dict[str, tuple[str, int, str]]:
    """Container → (id, pid, addresses) as the files and the kernel know them, whoever of us lives."""
    found = {}
    for bundle in Path(pyorch.root.bundles).glob("*"):
        with contextlib.suppress(FileNotFoundError):
            identity = json.loads((bundle / "container.json").read_text())
            state = json.loads((bundle / "state.json").read_text())
            if state["status"] == "running" and Path(f"/proc/{state['pid']}").exists():
                found[identity["name"]] = (identity["id"], state["pid"], str(identity["addresses"]))
    return found


def groups(pyorch: Pyorch) -> set[str]:
    """The container ids that have a process, by the cgroups of all processes: a doubled one would show here."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.update(re.findall(rf"/{pyorch.root.cgroup}/([0-9a-f]{{12}})", (process / "cgroup").read_text()))
    return found


def fetch(port: int) -> str:
    """What the published port says."""
    script = (
        f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/', timeout=5).read().decode().strip())"
    )
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def during(pyorch: Pyorch, delay: float, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that has been under way for `delay` seconds, or is over sooner."""
    with subprocess.Popen(
        pyorch.command(*arguments), cwd=pyorch.directory, env=pyorch.environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        yield process
        process.communicate(timeout=60)


under_way = contextlib.contextmanager(during)


# the agent dies


@pytest.mark.parametrize("seed", [1, 2])
def test_an_agent_killed_at_any_moment_loses_and_doubles_nothing(pyorch: Pyorch, seed: int) -> None:
    chance = random.Random(seed)
    port = free_port()
    pyorch.up(shop(port))
    colour = "red"
    for number, deed in enumerate(("change", "up", "steady", "down", "up", "change")):
        before = runs(pyorch)
        moment = chance.uniform(0, 0.8)
        print(f"round {number}: {deed}, killed after {moment:.3f} s")
        if deed == "change":
            colour = f"colour{number}"
            pyorch.write(shop(port, colour))
        words = {"down": ("down", "-t", "1"), "steady": ("ps",)}.get(deed, ("up", "-d", "--wait", "stack.yaml"))
        with under_way(pyorch, moment, *words) as process:
            kill(pyorch, "agent")
        said = process.returncode
        assert said in (0, 1, 3), said
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        after = runs(pyorch)
        assert set(after) == NAMES
        assert groups(pyorch) == {id for id, _, _ in after.values()}
        assert fetch(port) == colour
        if deed != "down":
            untouched = {"shop-db-1", "shop-worker-1"} | (NAMES if deed == "steady" else set())
            for name in untouched & set(before):
                assert after[name] == before[name], f"{name} was touched by round {number} ({deed})"
            for name in set(before) & set(after):
                assert after[name][2] == before[name][2], f"{name} has another address after round {number} ({deed})"


def test_an_agent_killed_in_its_first_moments_has_a_successor(pyorch: Pyorch) -> None:
    chance = random.Random(5)
    pyorch.write(shop(free_port()))
    for _ in range(3):
        with under_way(pyorch, chance.uniform(0.2, 0.8), "up", "-d", "stack.yaml"):
            kill(pyorch, "agent")
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        after = runs(pyorch)
        assert set(after) == NAMES
        assert groups(pyorch) == {id for id, _, _ in after.values()}
        pyorch.ok("down", "-t", "1")
        pyorch.ok("agent", "stop", "--all")


def test_an_agent_killed_in_a_down_finishes_it_when_it_is_back(pyorch: Pyorch) -> None:
    pyorch.up(shop(free_port()))
    with under_way(pyorch, 0, "down", "-t", "1") as process:
        pyorch.until(lambda: len(runs(pyorch)) < 4)
        kill(pyorch, "agent")
    assert process.returncode in (0, 1, 3)
    pyorch.run("agent", "start")
    assert pyorch.run("-p", "shop", "down").returncode in (0, 1)
    assert not groups(pyorch)
    assert not list(Path(pyorch.root.bundles).iterdir())


def test_health_and_back_off_go_on_where_the_dead_agent_was(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: h
        services:
          loop: {{image: "host:/", command: [sh, -c, "exit 4"], restart: always}}
          ill:
            image: host:/
            command: {WAITS}
            restart: "no"
            healthcheck: {{test: [CMD, "false"], interval: 50ms, retries: 2}}
          well:
            image: host:/
            command: {WAITS}
            healthcheck: {{test: [CMD, "true"], interval: 1h}}
        """
    )
    pyorch.ok("up", "-d", "stack.yaml")

    def settled() -> Any:
        rows = pyorch.ps()
        healths = rows["h-ill-1"]["Health"], rows["h-well-1"]["Health"]
        return healths == ("unhealthy", "healthy") and rows["h-loop-1"]["Restarts"] >= 3 and rows

    before = pyorch.until(settled)
    kill(pyorch, "agent")
    pyorch.ok("agent", "start")
    after = pyorch.ps()
    assert (after["h-ill-1"]["Health"], after["h-well-1"]["Health"]) == ("unhealthy", "healthy")
    assert after["h-loop-1"]["Restarts"] >= before["h-loop-1"]["Restarts"]
    assert after["h-loop-1"]["ID"] == before["h-loop-1"]["ID"]


def test_a_published_port_answers_while_the_agent_is_dead_and_after(pyorch: Pyorch) -> None:
    port = free_port()
    pyorch.up(shop(port))
    kill(pyorch, "agent")
    assert fetch(port) == "red"
    pyorch.ok("agent", "start")
    assert fetch(port) == "red"
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


# the launcher, the name server

COUNTS = """
    name: c
    services:
      a:
        image: host:/
        command: [python3, -u, -c, "import itertools\\nfor n in itertools.count(): print(n, flush=n % 50 == 0)"]
        restart: always
      once:
        image: host:/
        command: [sh, -c, "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
        restart: "no"
"""


def lines(pyorch: Pyorch) -> list[int]:
    return [int(line) for line in pyorch.ok("logs", "--no-log-prefix", "a").split()]


@pytest.mark.parametrize("with_agent", [False, True], ids=["launcher", "launcher and agent"])
def test_a_dead_launcher_costs_no_container_no_line_and_no_restart(pyorch: Pyorch, with_agent: bool) -> None:
    # Slow enough for the log to keep all of it, quick enough for a line to be under way at any moment.
    pyorch.up(
        """
        name: c
        services:
          a:
            image: host:/
            command:
              - python3
              - -uc
              - |
                import itertools, time
                for n in itertools.count():
                    print(n)
                    time.sleep(0.0005)
            restart: always
          once: {image: "host:/", command: [sleep, "3600"], restart: "no"}
        """
    )
    before = runs(pyorch)
    for _ in range(3):
        seen = len(lines(pyorch))
        if with_agent:
            kill(pyorch, "agent")
        old = kill(pyorch, "launcher")
        if with_agent:
            pyorch.ok("agent", "start")
        pyorch.until(lambda old=old: pyorch.status()["launcher"]["pid"] != old)
        pyorch.until(lambda seen=seen: len(lines(pyorch)) > seen + 200)
    assert runs(pyorch) == before
    numbers = lines(pyorch)
    assert numbers == list(range(len(numbers))), "no line is lost or doubled"
    assert pyorch.ok("exec", "-T", "a", "echo", "well") == "well\n"
    os.kill(before["c-a-1"][1], signal.SIGKILL)
    again = pyorch.until(lambda: (row := pyorch.ps()["c-a-1"])["Pid"] not in (0, before["c-a-1"][1]) and row)
    assert again["ID"] == before["c-a-1"][0]
    os.kill(before["c-once-1"][1], signal.SIGKILL)
    pyorch.until(lambda: pyorch.ps()["c-once-1"]["State"] == "exited")


def test_what_ended_while_no_launcher_lived_is_restarted_as_its_policy_says(pyorch: Pyorch) -> None:
    pyorch.up(
        COUNTS.replace(
            '"import itertools\\nfor n in itertools.count(): print(n, flush=n % 50 == 0)"',
            '"import signal; signal.pause()"',
        )
    )
    before = runs(pyorch)
    agent, launcher = daemon_pid(pyorch, "agent"), daemon_pid(pyorch, "launcher")
    os.kill(agent, signal.SIGSTOP)  # so that no new launcher is there too soon
    try:
        kill(pyorch, "launcher")
        for name in before:
            os.kill(before[name][1], signal.SIGKILL)
    finally:
        os.kill(agent, signal.SIGCONT)
    again = pyorch.until(
        lambda: (row := pyorch.ps()["c-a-1"])["State"] == "running" and row["Pid"] != before["c-a-1"][1] and row
    )
    assert again["ID"] == before["c-a-1"][0]
    once = pyorch.ps()["c-once-1"]
    assert once["State"] == "exited"
    assert once["ExitCode"] != 0, "an end that nobody saw is no success"
    assert pyorch.status()["launcher"]["pid"] != launcher


def test_a_launcher_killed_during_up_leaves_nothing_half_made(pyorch: Pyorch) -> None:
    chance = random.Random(3)
    stack = f"name: l\nservices:\n  a: {{image: 'host:/', command: {WAITS}, deploy: {{replicas: 8}}}}\n"
    pyorch.write(stack)
    pyorch.ok("agent", "start")
    for _ in range(4):
        with under_way(pyorch, chance.uniform(0.05, 0.4), "up", "-d", "stack.yaml"):
            kill(pyorch, "launcher")
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        after = runs(pyorch)
        assert set(after) == {f"l-a-{slot}" for slot in range(1, 9)}
        assert groups(pyorch) == {id for id, _, _ in after.values()}
        pyorch.ok("down", "-t", "1")
        assert not groups(pyorch)


def test_names_are_answered_again_after_the_name_server_was_killed(pyorch: Pyorch) -> None:
    pyorch.up(shop(free_port()))
    old = kill(pyorch, "dns")
    pyorch.until(lambda: pyorch.run("exec", "-T", "worker", "getent", "hosts", "db").returncode == 0, seconds=2)
    assert pyorch.status()["dns"]["pid"] != old


# several at once, and interrupts


def begin(pyorch: Pyorch, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        pyorch.command(*arguments), cwd=pyorch.directory, env=pyorch.environment, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_two_ups_at_once_end_in_exactly_one_of_them(pyorch: Pyorch) -> None:
    for colour in ("red", "blue"):
        (pyorch.directory / colour).mkdir()
        text = f"""
            name: race
            services:
              a: {{image: "host:/", command: {WAITS}, environment: {{COLOUR: {colour}}}, deploy: {{replicas: 3}}}}
              {colour}: {{image: "host:/", command: {WAITS}}}
        """
        pyorch.write(text, f"{colour}/stack.yaml")
    pyorch.ok("agent", "start")
    for _ in range(2):
        both = [begin(pyorch, "up", "-d", "--remove-orphans", "-f", f"{c}/stack.yaml") for c in ("red", "blue")]
        said = [process.communicate(timeout=60)[0] for process in both]
        assert not any("Traceback" in text for text in said)
        state = pyorch.until(lambda: one_colour(pyorch))
        assert set(runs(pyorch)) == {"race-a-1", "race-a-2", "race-a-3", f"race-{state}-1"}
        assert groups(pyorch) == {id for id, _, _ in runs(pyorch).values()}


def one_colour(pyorch: Pyorch) -> str | None:
    """The colour of all replicas, once they agree and nothing of the other stack is left."""
    found = set()
    for name, (_, pid, _) in runs(pyorch).items():
        environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
        found |= {entry.partition("=")[2] for entry in environment if entry.startswith("COLOUR=")}
        found |= {name.split("-")[1]} - {"a"}
    return found.pop() if len(found) == 1 and len(runs(pyorch)) == 4 else None


def test_a_down_during_an_up_wins_and_an_up_during_a_down_waits(pyorch: Pyorch) -> None:
    slow = f"""
        name: s
        services:
          a:
            image: host:/
            command: [sh, -c, "trap 'sleep 0.5; exit 0' TERM; touch /up; while :; do sleep 3600 & wait; done"]
            healthcheck: {{test: [CMD, test, -e, /never], interval: 1s, start_period: 1h}}
          b: {{image: "host:/", command: {WAITS}, depends_on: {{a: {{condition: service_healthy}}}}}}
    """
    pyorch.write(slow)
    up = begin(pyorch, "up", "-d", "stack.yaml")
    pyorch.until(lambda: runs(pyorch))
    pyorch.ok("down")
    said, _ = up.communicate(timeout=60)
    assert up.returncode == 1
    assert "taken down" in said
    assert not groups(pyorch)
    pyorch.write(slow.replace("/never", "/up"))
    pyorch.ok("up", "-d", "stack.yaml")
    before = runs(pyorch)
    down = begin(pyorch, "down")
    pyorch.until(lambda: len(runs(pyorch)) < 2)
    pyorch.ok("up", "-d", "--wait", "stack.yaml")
    down.communicate(timeout=60)
    assert down.returncode == 0
    assert set(runs(pyorch)) == set(before)
    assert not {id for id, _, _ in before.values()} & {id for id, _, _ in runs(pyorch).values()}


def test_ctrl_c_of_a_detached_up_only_stops_watching(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: i
        services:
          a:
            image: host:/
            command: {WAITS}
            healthcheck: {{test: [CMD, test, -e, /tmp/go], interval: 100ms, start_period: 1h}}
          b: {{image: "host:/", command: {WAITS}, depends_on: {{a: {{condition: service_healthy}}}}}}
        """
    )
    up = begin(pyorch, "up", "-d", "stack.yaml")
    pyorch.until(lambda: "i-a-1" in runs(pyorch))
    up.send_signal(signal.SIGINT)
    said, _ = up.communicate(timeout=30)
    assert up.returncode == 130, said
    assert "Traceback" not in said
    pyorch.ok("exec", "-T", "a", "touch", "/tmp/go")
    pyorch.until(lambda: "i-b-1" in runs(pyorch))


def test_ctrl_c_of_an_attached_up_stops_in_order(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: i
        services:
          db: {{image: "host:/", command: {WAITS}}}
          web:
            image: host:/
            command: [sh, -c, "trap 'echo bye; exit 0' TERM; echo well; while :; do sleep 3600 & wait; done"]
            depends_on: [db]
        """
    )
    up = begin(pyorch, "up", "stack.yaml")
    pyorch.until(lambda: "well" in pyorch.run("logs").stdout)
    up.send_signal(signal.SIGINT)
    said, _ = up.communicate(timeout=30)
    assert up.returncode == 130, said
    assert "bye" in said
    rows = pyorch.ps()
    assert {row["State"] for row in rows.values()} == {"exited"}
    ends = [e["subject"] for e in pyorch.lines("events", "--no-follow", "--format", "json") if e["action"] == "die"]
    assert [subject for subject in ends if subject.startswith("i-")] == ["i-web-1", "i-db-1"]


# the pool of addresses


def test_what_finds_no_address_says_so_and_the_rest_runs(pyorch: Pyorch) -> None:
    text = f"""
        name: p
        services:
          a: {{image: "host:/", command: {WAITS}, deploy: {{replicas: 7}}}}
        networks: {{default: {{ipam: {{config: [{{subnet: 10.199.77.0/29}}]}}}}}}
    """
    pyorch.write(text)
    done = pyorch.run("up", "-d", "stack.yaml")
    assert done.returncode == 1
    assert "address pool exhausted" in done.stderr
    assert "10.199.77.0/29" in done.stderr
    before = runs(pyorch)
    assert len(before) == 5
    assert all("address pool" in row["Reason"] for name, row in pyorch.ps().items() if name not in before)
    fewer = text.replace("replicas: 7", "replicas: 2")
    pyorch.up(fewer)
    more = f"b: {{image: 'host:/', command: {WAITS}, deploy: {{replicas: 3}}}}\n          a: {{"
    pyorch.up(fewer.replace("a: {", more, 1))
    after = runs(pyorch)
    assert set(after) == {"p-a-1", "p-a-2", "p-b-1", "p-b-2", "p-b-3"}
    assert len({addresses for _, _, addresses in after.values()}) == 5


# the disk, the database, the host's rules


def test_a_damaged_or_lost_database_costs_no_container(pyorch: Pyorch) -> None:
    port = free_port()
    pyorch.up(shop(port))
    before = runs(pyorch)
    database = Path(pyorch.root.state) / "pyorch.db"
    half = database.stat().st_size // 2
    damages: list[Callable[[], object]] = [
        lambda: os.truncate(database, 0),
        lambda: os.truncate(database, half),
        lambda: database.write_bytes(b"garbage" * 4000),
        lambda: database.unlink(),
    ]
    for number, damage in enumerate(damages):
        pyorch.ok("agent", "stop")  # in good order, so that the journal is in the file
        damage()
        pyorch.ok("agent", "start")
        assert runs(pyorch) == before, number
        assert set(pyorch.ps()) == NAMES
        assert fetch(port) == "red"
        assert pyorch.run("plan", "stack.yaml").returncode == 0, "what is wanted is known as well"
        assert "pyorch.db" in pyorch.ok("events", "--no-follow"), "and the damage is told"
    os.kill(before["shop-web-1"][1], signal.SIGKILL)
    pyorch.until(lambda: runs(pyorch).get("shop-web-1", before["shop-web-1"]) != before["shop-web-1"])
    pyorch.ok("down", "-v")
    assert not groups(pyorch)


def test_containers_of_a_forgotten_stack_are_left_alone_until_their_user_takes_them_down(pyorch: Pyorch) -> None:
    pyorch.up(shop(free_port()))
    before = runs(pyorch)
    pyorch.ok("agent", "stop")
    (Path(pyorch.root.state) / "pyorch.db").unlink()
    (Path(pyorch.root.run) / "wanted.json").unlink()
    pyorch.ok("agent", "start")
    assert runs(pyorch) == before
    rows = {row["Name"]: row for row in pyorch.lines("-p", "shop", "ps", "-a", "--format", "json")}
    assert set(rows) == NAMES
    assert all("pyorch -p shop down" in row["Reason"] for row in rows.values())
    pyorch.ok("-p", "shop", "down", "-t", "1")
    assert not groups(pyorch)
    assert not list(Path(pyorch.root.bundles).iterdir())
    pyorch.ok("agent", "stop")  # the bridge that nobody knew has nothing on it any more
    pyorch.ok("agent", "start")


def test_what_was_asked_before_the_agent_died_is_done_by_the_next(pyorch: Pyorch) -> None:
    pyorch.up(f"name: w\nservices:\n  a: {{image: 'host:/', command: {WAITS}}}\n")
    kill(pyorch, "agent")
    db = sqlite3.connect(Path(pyorch.root.state) / "pyorch.db")
    db.execute("UPDATE stacks SET wishes = json_set(wishes, '$.scale.a', 2)")
    db.commit()
    db.close()
    pyorch.ok("agent", "start")
    pyorch.until(lambda: set(runs(pyorch)) == {"w-a-1", "w-a-2"})


def test_what_another_boot_left_in_run_is_nobody(pyorch: Pyorch) -> None:
    pyorch.up(f"name: w\nservices:\n  a: {{image: 'host:/', command: {WAITS}, restart: always}}\n")
    bundle, old = pyorch.bundle("w-a-1"), runs(pyorch)["w-a-1"]
    kill(pyorch, "agent")
    state = json.loads((bundle / "state.json").read_text())
    os.kill(old[1], signal.SIGKILL)
    pyorch.until(lambda: (bundle / "exit.json").exists() and not (bundle / "state.json").exists())
    kill(pyorch, "launcher")
    kill(pyorch, "dns")
    with subprocess.Popen(["sleep", "3600"]) as bystander:  # has got the pid of a container of the former boot
        try:
            (bundle / "exit.json").unlink()
            (bundle / "state.json").write_text(json.dumps({**state, "pid": bystander.pid}))
            (Path(pyorch.root.run) / "boot").write_text("another")
            pyorch.ok("agent", "start")
            new = pyorch.until(lambda: runs(pyorch).get("w-a-1"))
            assert new[0] != old[0]
            assert new[2] == old[2], "addresses are leased over a reboot"
            assert bystander.poll() is None
        finally:
            bystander.kill()


@contextlib.contextmanager
def small_disk(pyorch: Pyorch, size: str) -> Iterator[Path]:
    """STATE on a disk of its own; gives the file that fills it."""
    state = Path(pyorch.root.state)
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", str(state)], check=True)
    ballast = state / "ballast"
    try:
        yield ballast
    finally:
        ballast.unlink(missing_ok=True)
        pyorch.take_down()
        pyorch.ok("agent", "stop", "--all")
        subprocess.run(["umount", str(state)], check=True)


def fill(ballast: Path) -> None:
    """To the last byte."""
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 6, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size):
                    pass


def test_a_full_disk_stops_nothing_that_runs_and_makes_nothing_by_halves(pyorch: Pyorch) -> None:
    with small_disk(pyorch, "24M") as ballast:
        text = """
            name: f
            services:
              a:
                image: host:/
                command: [python3, -uc, "import time\\nwhile True: print('x' * 999), time.sleep(0.001)"]
                restart: always
        """
        pyorch.up(text)
        before = runs(pyorch)
        kept = sorted(os.listdir(pyorch.root.containers))
        fill(ballast)
        written = progress(before["f-a-1"][1])
        pyorch.until(lambda: progress(before["f-a-1"][1]) > written + (1 << 17))  # more than a pipe holds
        pyorch.write(text.replace("services:", f"services:\n              b: {{image: 'host:/', command: {WAITS}}}"))
        done = pyorch.run("up", "-d", "stack.yaml")
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert "No space left" in said or "disk full" in said or "disk is full" in said
        assert "Traceback" not in said
        assert runs(pyorch) == before
        assert sorted(os.listdir(pyorch.root.containers)) == kept
        assert pyorch.ok("exec", "-T", "a", "echo", "well") == "well\n"
        kill(pyorch, "agent")
        started = pyorch.run("agent", "start")
        assert "Traceback" not in started.stderr
        assert runs(pyorch) == before
        ballast.unlink()
        pyorch.ok("up", "-d", "--wait", "stack.yaml")
        after = runs(pyorch)
        assert set(after) == {"f-a-1", "f-b-1"}
        assert after["f-a-1"] == before["f-a-1"]
        assert not list(Path(pyorch.root.state).glob("*.damaged"))
        newest = pyorch.ok("logs", "--tail", "1", "-t", "a")
        pyorch.until(lambda: pyorch.ok("logs", "--tail", "1", "-t", "a") != newest)
        fill(ballast)
        pyorch.ok("down", "-t", "1")  # what makes room must be possible when there is none
        assert not groups(pyorch)


def progress(pid: int) -> int:
    """Bytes that a process has written so far, of whatever kind; proc(5)."""
    found = re.search(r"wchar: (\d+)", Path(f"/proc/{pid}/io").read_text())
    assert found
    return int(found[1])


def test_flushed_rules_come_back(pyorch: Pyorch) -> None:
    port = free_port()
    pyorch.up(shop(port))
    firewall.remove(pyorch.root.table)
    pyorch.until(lambda: firewall.present(pyorch.root.table), seconds=3)
    assert fetch(port) == "red"


def test_a_bridge_that_somebody_removed_comes_back_with_all_that_hung_on_it(pyorch: Pyorch) -> None:
    port = free_port()
    pyorch.up(shop(port))
    before = runs(pyorch)
    for bridge in bridges.listing(pyorch.root.bridge(0)):
        bridges.drop(bridge)
    pyorch.until(lambda: fetch(port) == "red", seconds=5)
    assert runs(pyorch) == before
    assert pyorch.run("exec", "-T", "worker", "getent", "hosts", "db").returncode == 0


# those who ask


def commands(pyorch: Pyorch, word: str) -> set[int]:
    """Pids of the containers' processes whose command line has this word in it."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if pyorch.root.cgroup in (process / "cgroup").read_text() and word in (process / "cmdline").read_text():
                found.add(int(process.name))
    return found


def test_a_check_that_hangs_ends_at_its_timeout_with_its_children(pyorch: Pyorch) -> None:
    hangs = "trap '' TERM; sleep 98765 & sleep 98765 & wait"
    pyorch.write(
        f"""
        name: h
        services:
          a:
            image: host:/
            command: {WAITS}
            restart: "no"
            healthcheck: {{test: [CMD-SHELL, "{hangs}"], interval: 50ms, timeout: 300ms, retries: 2}}
        """
    )
    pyorch.ok("up", "-d", "stack.yaml")
    first = pyorch.until(lambda: commands(pyorch, "98765"))
    pyorch.until(lambda: not first & commands(pyorch, "98765"))
    pyorch.until(lambda: pyorch.ps()["h-a-1"]["Health"] == "unhealthy")
    assert len(commands(pyorch, "98765")) <= 3, "one check at a time"
    assert pyorch.ps()["h-a-1"]["State"] == "running"


def test_a_check_that_prints_a_gigabyte_harms_nobody(pyorch: Pyorch) -> None:
    pyorch.write(
        f"""
        name: g
        services:
          a:
            image: host:/
            command: {WAITS}
            healthcheck: {{test: [CMD-SHELL, "head -c 1G /dev/zero"], interval: 1h, timeout: 60s}}
        """
    )
    pyorch.ok("up", "-d", "stack.yaml")
    assert pyorch.ok("exec", "-T", "a", "echo", "well") == "well\n"
    pyorch.until(lambda: pyorch.ps()["g-a-1"]["Health"] == "healthy", seconds=50)
    for daemon in ("agent", "launcher"):
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{daemon_pid(pyorch, daemon)}/status").read_text())
        assert int(peak) < 120_000


def test_the_command_of_a_client_that_was_killed_ends(pyorch: Pyorch) -> None:
    pyorch.up(f"name: e\nservices:\n  a: {{image: 'host:/', command: {WAITS}}}\n")
    client = begin(pyorch, "exec", "-T", "a", "sleep", "87654")
    pyorch.until(lambda: commands(pyorch, "87654"))
    client.kill()
    client.communicate()
    pyorch.until(lambda: not commands(pyorch, "87654"))


def test_idle_and_slow_clients_do_not_keep_others_from_being_served(pyorch: Pyorch) -> None:
    pyorch.up(f"name: s\nservices:\n  a: {{image: 'host:/', command: {WAITS}}}\n")
    with contextlib.ExitStack() as held:
        for number in range(300):
            client = held.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(pyorch.root.api_socket)
            if number % 2:
                client.sendall(b"POST /v1/up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"[: 20 + number % 40])
        assert pyorch.ps()["s-a-1"]["State"] == "running"
    pyorch.until(lambda: len(os.listdir(f"/proc/{daemon_pid(pyorch, 'agent')}/fd")) < 100)
