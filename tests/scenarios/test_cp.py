"""`cp`: docker's rules about what goes where, and no way out of a container's root."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch, agent_of_its_own

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        pyorch.up("name: cp\nservices: {a: {image: 'host:/', command: [sleep, '1000'], stop_signal: KILL, scale: 2}}\n")
        yield pyorch


def inside(stack: Pyorch, command: str) -> str:
    return stack.ok("-f", "stack.yaml", "exec", "-T", "a", "sh", "-c", command)


def test_a_file_goes_in_and_comes_back_with_its_rights_and_its_bytes(stack: Pyorch) -> None:
    blob = os.urandom(3_000_000)
    (stack.directory / "blob").write_bytes(blob)
    (stack.directory / "blob").chmod(0o640)
    stack.ok("cp", "blob", "a:/srv/there")
    assert inside(stack, "stat -c '%a %u %s' /srv/there") == "640 0 3000000\n"
    stack.ok("cp", "a:/srv/there", "back")
    assert (stack.directory / "back").read_bytes() == blob
    stack.ok("cp", "blob", "a:/srv")
    assert inside(stack, "ls /srv").split() == ["blob", "there"], "into a directory that is there"


def test_a_directory_becomes_or_joins_the_one_that_is_written(stack: Pyorch) -> None:
    site = stack.directory / "site"
    (site / "deep").mkdir(parents=True)
    (site / "index").write_text("hello")
    (site / "deep/link").symlink_to("../index")
    stack.ok("cp", "site", "a:/tmp/new")
    assert inside(stack, "cat /tmp/new/deep/link") == "hello"
    stack.ok("cp", "site", "a:/tmp/new")
    assert inside(stack, "cat /tmp/new/site/index") == "hello"
    stack.ok("cp", "site/.", "a:/tmp")
    assert inside(stack, "cat /tmp/index") == "hello"
    stack.ok("cp", "a:/tmp/new", "fetched")
    assert (stack.directory / "fetched/deep/link").readlink() == Path("../index")
    stack.ok("cp", "a:/tmp/new/.", "fetched")
    (stack.directory / "empty").mkdir()
    stack.ok("cp", "a:/tmp/new", "empty")
    assert (stack.directory / "empty/new/index").read_text() == "hello"


def test_a_tar_on_stdin_and_stdout(stack: Pyorch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo("one/two")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"abc"))
    command, where = stack.command("cp", "-", "a:/mnt"), {"cwd": stack.directory, "env": stack.environment}
    subprocess.run(command, input=packed.getvalue(), check=True, **where)  # type: ignore[call-overload]
    assert inside(stack, "cat /mnt/one/two") == "abc"
    out = subprocess.run(stack.command("cp", "a:/mnt/one", "-"), capture_output=True, check=True, **where)  # type: ignore[call-overload]
    with tarfile.open(fileobj=io.BytesIO(out.stdout)) as archive:
        assert archive.getnames() == ["one", "one/two"]


def test_links_of_the_container_end_in_its_own_root(stack: Pyorch) -> None:
    secret = stack.directory / "secret"
    secret.write_text("the host's")
    inside(stack, f"ln -sf {secret} /tmp/lure; ln -sfn / /tmp/up; ln -sfn {stack.directory} /tmp/out")
    assert stack.run("cp", "-L", "a:/tmp/lure", "got").returncode == 1
    assert not (stack.directory / "got").exists()
    refused = stack.run("cp", "secret", "a:/tmp/out/secret2")
    assert not (stack.directory / "secret2").exists()
    assert refused.returncode == 1 or inside(stack, f"ls {stack.directory}").split() == ["secret2"]
    stack.ok("cp", "secret", "a:/tmp/up/from-root")
    assert inside(stack, "cat /from-root") == "the host's"


def test_a_tar_cannot_lead_out_of_its_directory(stack: Pyorch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../over"))
    done = subprocess.run(
        stack.command("cp", "-", "a:/mnt"), input=packed.getvalue(), cwd=stack.directory, env=stack.environment,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"leads out of the directory" in done.stderr


def test_all_means_every_replica_and_mistakes_are_said(stack: Pyorch) -> None:
    (stack.directory / "note").write_text("x")
    stack.ok("cp", "--all", "note", "a:/opt/note")
    for index in ("1", "2"):
        assert stack.ok("exec", "-T", "--index", index, "a", "cat", "/opt/note") == "x"
    assert "there is no /none" in stack.run("cp", "a:/none", ".").stderr
    assert "there is no such file" in stack.run("cp", "none", "a:/tmp/").stderr
    assert "one side must be" in stack.run("cp", "none", "other").stderr
    assert "no such service" in stack.run("cp", "b:/x", ".").stderr
