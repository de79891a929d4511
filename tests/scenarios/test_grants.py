"""Configs and secrets inside real containers: their place, owner, mode and content, and what a new content does."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.scenarios.conftest import Pyorch

STACK = """
    name: shop
    services:
      web:
        image: host:/
        init: true
        command: [sleep, infinity]
        configs: [motd, {source: script, target: /opt/run.sh, mode: 0755}]
        secrets:
          - db_password
          - {source: token, target: tok, uid: "1000", gid: "1001", mode: "0400"}
          - {source: kept, target: /abs/kept}
    configs: {motd: {file: ./motd}, script: {content: "#!/bin/sh\\necho ran\\n"}}
    secrets: {db_password: {file: ./pw}, token: {environment: TOKEN}, kept: {external: true}}
"""
TOKEN = "t0ken-nobody-else-has"


def inside(pyorch: Pyorch, script: str) -> str:
    return pyorch.ok("exec", "-T", "web", "sh", "-c", script)


def start(pyorch: Pyorch, password: str = "first", token: str = TOKEN) -> None:
    (pyorch.directory / "motd").write_text("hello\n")
    (pyorch.directory / "pw").write_text(password)
    pyorch.up(STACK, env=pyorch.environment | {"TOKEN": token})


def test_configs_and_secrets_are_read_only_files_in_memory_as_asked_for(pyorch: Pyorch) -> None:
    pyorch.ok("secret", "create", "kept", "-", input="kept content")
    start(pyorch)
    listed = inside(pyorch, "stat -c '%a %u %g %n' /motd /opt/run.sh /run/secrets/* /abs/kept; cat /run/secrets/tok")
    assert listed.splitlines() == [
        *("444 0 0 /motd", "755 0 0 /opt/run.sh", "444 0 0 /run/secrets/db_password"),
        *("400 1000 1001 /run/secrets/tok", "444 0 0 /abs/kept", TOKEN),
    ]
    assert inside(pyorch, "cat /motd /run/secrets/db_password /abs/kept") == "hello\nfirstkept content"
    assert inside(
        pyorch, "awk '$2 ~ /secrets|motd|run.sh|kept/ {print $3, substr($4, 1, 2)}' /proc/mounts | sort -u"
    ) == ("tmpfs ro\n")
    assert inside(pyorch, "/opt/run.sh") == "ran\n"
    assert inside(pyorch, "echo x 2>&- > /motd || echo refused") == "refused\n"


def test_a_new_content_is_a_change_and_says_whose(pyorch: Pyorch) -> None:
    pyorch.ok("secret", "create", "kept", "-", input="x")
    start(pyorch)
    (pyorch.directory / "pw").write_text("second")
    changed = pyorch.environment | {"TOKEN": TOKEN}
    said = pyorch.run("plan", env=changed).stdout
    assert "\nstop  shop-web-1: secret db_password changed (stack.yaml:" in said
    assert inside(pyorch, "cat /run/secrets/db_password") == "first"
    pyorch.ok("up", "-d", "--wait", env=changed)
    assert inside(pyorch, "cat /run/secrets/db_password") == "second"
    assert pyorch.run("plan", env=changed).returncode == 0


def test_a_secret_is_nowhere_but_in_files_of_root_alone(pyorch: Pyorch) -> None:
    pyorch.ok("secret", "create", "kept", "-", input="x")
    start(pyorch)
    (pyorch.directory / "pw").write_text("second")
    start(pyorch, token="another-t0ken")
    pyorch.ok("agent", "stop")
    state = Path(pyorch.root.state)
    dump = "\n".join(sqlite3.connect(state / "pyorch.db").iterdump())
    for secret in (TOKEN, "another-t0ken"):
        assert secret not in dump
        for file in (file for place in {state, Path(pyorch.root.run)} for file in place.rglob("*") if file.is_file()):
            if secret in file.read_text(errors="replace"):
                assert "materials" in file.parts
                assert any(parent.stat().st_mode & 0o077 == 0 for parent in file.parents)
    assert TOKEN not in pyorch.ok("config", env=pyorch.environment | {"TOKEN": TOKEN})


def test_a_container_made_anew_later_has_what_its_up_had(pyorch: Pyorch) -> None:
    """Neither the variable nor the file's present content matter any more: what is wanted is what was asked for."""
    pyorch.ok("secret", "create", "kept", "-", input="x")
    start(pyorch)
    (pyorch.directory / "pw").write_text("second")
    pyorch.ok("agent", "stop", "--all")  # as after a reboot: RUN is gone
    (pyorch.directory / "pw").write_text("first")
    pyorch.ok("agent", "start")
    pyorch.ok("start")
    pyorch.until(lambda: pyorch.ps()["shop-web-1"]["State"] == "running")
    assert inside(pyorch, "cat /run/secrets/db_password /run/secrets/tok") == f"first{TOKEN}"


def test_what_a_stack_uses_is_not_removed_and_what_is_forgotten_leaves_no_content(pyorch: Pyorch) -> None:
    pyorch.ok("secret", "create", "kept", "-", input="x")
    done = pyorch.run("secret", "create", "kept", "-", input="y")
    assert (done.returncode, "there is one already" in done.stderr) == (1, True)
    start(pyorch)
    assert "stack shop uses it" in pyorch.run("secret", "rm", "kept").stderr
    assert json.loads(pyorch.ok("secret", "ls", "--format", "json"))["Stacks"] == ["shop"]
    pyorch.ok("down")
    pyorch.until(lambda: not list(Path(pyorch.root.state, "materials").iterdir()))
    assert not list(Path(pyorch.root.run, "materials").iterdir())
    assert pyorch.ok("secret", "rm", "kept") == "kept\n"
    done = pyorch.run("up", "-d", env=pyorch.environment | {"TOKEN": "x"})
    assert (done.returncode, "there is none called 'kept' here" in done.stderr) == (2, True)
