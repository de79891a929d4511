"""pyorch volume: what it lists, refuses, removes, copies and brings back."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.scenarios.conftest import Pyorch

STACK = """
    name: shop
    services:
      web:
        image: host:/
        init: true
        command: [sleep, infinity]
        volumes: ["vol:/v", /anonymous]
    volumes: {vol: {labels: {a: b}, x-pyorch: {protect: true}}}
"""


def data(pyorch: Pyorch, name: str) -> Path:
    return Path(pyorch.root.volumes, name, "_data")


def test_volumes_are_listed_with_their_users_and_not_removed_while_used(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    (row,) = json.loads(pyorch.ok("volume", "inspect", "shop_vol", "--size"))
    assert (row["Name"], row["Driver"], row["Scope"], row["Labels"]["a"]) == ("shop_vol", "local", "local", "b")
    assert row["Mountpoint"] == str(data(pyorch, "shop_vol"))
    assert [user["Name"] for user in row["Users"]] == ["shop-web-1"]
    assert pyorch.ok("volumes", "-q").split() == pyorch.ok("volume", "ls", "-q").split()
    assert pyorch.ok("volume", "ls", "-q", "--filter", "label=a=b") == "shop_vol\n"
    done = pyorch.run("volume", "rm", "shop_vol")
    assert (done.returncode, "cannot remove volume 'shop_vol': shop-web-1 uses it" in done.stderr) == (1, True)
    pyorch.ok("down")
    assert "it is protected" in pyorch.run("volume", "rm", "shop_vol").stderr
    assert pyorch.ok("volume", "prune", "-af").splitlines()[-1].startswith("Total reclaimed space:")
    assert pyorch.ok("volume", "ls", "-q") == "shop_vol\n"
    assert pyorch.ok("volume", "rm", "-f", "shop_vol", "gone") == "shop_vol\ngone\n"
    assert os.listdir(pyorch.root.volumes) == []


def test_prune_takes_what_nobody_uses(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    pyorch.ok("volume", "create", "named")
    lone = pyorch.ok("volume", "create").strip()
    assert lone in pyorch.ok("volume", "prune", "-f")
    assert len(pyorch.ok("volume", "ls", "-q").split()) == 3, "those of the container and the named one stay"
    assert "named" in pyorch.ok("volume", "prune", "-af")
    assert len(pyorch.ok("volume", "ls", "-q").split()) == 2


def test_a_volume_is_backed_up_in_a_quiet_moment_and_restored(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    (data(pyorch, "shop_vol") / "file").write_text("first")
    os.chown(data(pyorch, "shop_vol") / "file", 12, 34)
    os.setxattr(data(pyorch, "shop_vol") / "file", "user.a", b"\xff")
    assert "shop-web-1 may write into it" in pyorch.run("volume", "backup", "shop_vol", "live.tar").stderr
    before = pyorch.ps()["shop-web-1"]
    pyorch.ok("volume", "backup", "--stop", "shop_vol")
    assert pyorch.ps()["shop-web-1"]["State"] == "running"
    assert pyorch.pid("shop-web-1") != before["Pid"], "it was stopped meanwhile"
    (data(pyorch, "shop_vol") / "file").write_text("second")
    done = pyorch.run("volume", "restore", "shop_vol", "shop_vol.tar.zst")
    assert "shop-web-1 uses it; stop them first" in done.stderr
    done = pyorch.run("volume", "restore", "--stop", "shop_vol", "shop_vol.tar.zst")
    assert "it is not empty; --force replaces what it holds" in done.stderr
    pyorch.ok("volume", "restore", "--stop", "--force", "shop_vol", "shop_vol.tar.zst")
    assert pyorch.ok("exec", "-T", "web", "sh", "-c", "cat /v/file; stat -c ' %u %g' /v/file") == "first 12 34\n"
    assert os.getxattr(data(pyorch, "shop_vol") / "file", "user.a") == b"\xff"


def test_a_clone_is_a_volume_of_its_own(pyorch: Pyorch) -> None:
    pyorch.up(STACK)
    (data(pyorch, "shop_vol") / "file").write_text("same")
    assert pyorch.ok("volume", "clone", "shop_vol", "before") == "before\n"
    (data(pyorch, "shop_vol") / "file").write_text("changed")
    assert (data(pyorch, "before") / "file").read_text() == "same"
    assert "there is one already" in pyorch.run("volume", "clone", "shop_vol", "before").stderr
