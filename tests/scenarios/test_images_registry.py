"""Images of a real registry: what others pushed runs, is fetched once, and is what its digest says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry import Registry, busybox_image, needs_registry, registry, tar_of
from tests.scenarios.conftest import Pyorch

pytestmark = needs_registry


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def test_an_image_that_skopeo_pushed_runs_as_it_says(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    config = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo $GREETING $(id -un) $(pwd) $(cat /data/file); sleep 1000"],
        "User": "web",
        "WorkingDir": "/work",
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 100_000_000},
    }
    reference = hub.push(busybox_image(tmp_path, [tar_of({"data/file": b"two layers"})], config).path, "runs:1")
    pyorch.up(f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n")
    pyorch.until(lambda: "hello web /work two layers" in pyorch.ok("logs", "a"))
    assert pyorch.ps()["seen-a-1"]["Health"] == "healthy"


def test_a_moved_tag_replaces_containers_only_where_the_policy_asks(
    pyorch: Pyorch, hub: Registry, tmp_path: Path
) -> None:
    reference = hub.push(busybox_image(tmp_path / "1").path, "moves:1")
    stack = f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n"
    pyorch.up(stack)
    first = pyorch.ps()["seen-a-1"]["ID"]
    hub.push(busybox_image(tmp_path / "2", [tar_of({"new": b"er"})]).path, "moves:1")
    pyorch.up(stack)
    assert pyorch.ps()["seen-a-1"]["ID"] == first
    told = pyorch.run("up", "-d", "--wait", "--pull", "always").stderr
    assert "image.digest changed" in told
    assert pyorch.ok("exec", "-T", "a", "cat", "/new") == "er"


def test_what_cannot_be_pulled_changes_nothing(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    reference = hub.push(busybox_image(tmp_path).path, "stays:1")
    pyorch.up(f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n")
    before = {name: row["ID"] for name, row in pyorch.ps().items()}
    pyorch.write(f"name: seen\nservices: {{a: {{image: '{hub.host}/none:1'}}, b: {{image: '{reference}'}}}}\n")
    done = pyorch.run("up", "-d")
    assert done.returncode == 1
    assert f"cannot pull image '{hub.host}/none:1': there is no such image in {hub.host}" in done.stderr
    assert {name: row["ID"] for name, row in pyorch.ps().items()} == before
