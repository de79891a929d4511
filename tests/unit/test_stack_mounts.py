"""Mounts of a service and the stack's volumes: what each form means, and what the engine makes of it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.root import Root
from orchestrator.stack.load import load
from orchestrator.stack.model import Mount, Stack, Volume, VolumesFrom
from orchestrator.storage import mounts, volumes

Given = Callable[..., Stack]


def part(subpath: str) -> str:
    return f"volumes: [{{type: volume, source: vol, target: /d, volume: {{subpath: {subpath}}}}}]"


@pytest.fixture
def given(tmp_path: pathlib.Path) -> Given:
    (tmp_path / "src").mkdir()

    def read(words: str, more: str = "volumes: {vol: }", services: str = "", **environment: str) -> Stack:
        text = f"name: shop\nservices:\n  web: {{image: host:/, {words}}}\n{services}{more}\n"
        (tmp_path / "stack.yaml").write_text(text)
        return load(["stack.yaml"], directory=str(tmp_path), environment=environment)

    return read


@pytest.mark.parametrize(
    ("words", "mount"),
    [
        ("volumes: ['vol:/d:ro,nocopy']", Mount("volume", "/d", "vol", True, options=("nocopy",))),
        (part("a/./b"), Mount("volume", "/d", "vol", subpath="a/b")),
        (part("."), Mount("volume", "/d", "vol")),
        ("tmpfs: '/t:size=1m,uid=5,exec'", Mount("tmpfs", "/t", size=1 << 20, options=("uid=5", "exec"))),
    ],
)
def test_a_mount_is_read_from_its_form(given: Given, words: str, mount: Mount) -> None:
    assert given(words).services["web"].mounts == (mount,)


def test_a_bind_may_leave_its_submounts_out_and_map_its_owner(given: Given, tmp_path: pathlib.Path) -> None:
    words = "volumes: [{type: bind, source: ./src, target: /s, bind: {recursive: disabled}}], x-pyorch: {idmap: caller}"
    (mount,) = given(words, SUDO_UID="1000", SUDO_GID="100").services["web"].mounts
    assert mount == Mount("bind", "/s", str(tmp_path / "src"), recursive="disabled", idmap="1000:100")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (part("../x"), "expected a path inside of the volume, but found '../x'"),
        (part("/x"), "expected a path inside of the volume"),
        ("volumes: ['vol:/d:rshared']", "'bind' says nothing about a mount of type volume"),
        ("volumes_from: [nobody]", "depends on 'nobody', which is no service"),
        ("volumes_from: ['web:rw:x']", "expected SERVICE or container:NAME, with :ro or :rw"),
        ("volumes: [{type: npipe, source: x, target: /d}]", "'type: npipe' is part of the Compose Specification"),
        ("volumes: [{type: image, source: x, target: /d}]", "'type: image' is part of the Compose Specification"),
    ],
)
def test_what_cannot_be_mounted_is_said(given: Given, words: str, sentence: str) -> None:
    with pytest.raises(Mistake, match=sentence):
        given(words)


@pytest.mark.parametrize(
    ("words", "volume"),
    [
        ("type: tmpfs, device: tmpfs, o: size=1m", {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}),
        ("type: nfs, device: ':/x', o: 'addr=10.0.0.1'", {"type": "nfs", "device": ":/x", "o": "addr=10.0.0.1"}),
    ],
)
def test_driver_options_are_kept_as_text(given: Given, words: str, volume: dict[str, str]) -> None:
    assert (
        given("volumes: ['vol:/d']", f"volumes: {{vol: {{driver_opts: {{{words}}}}}}}").volumes["vol"].options == volume
    )


def test_a_device_to_bind_is_found_from_the_projects_folder(given: Given, tmp_path: pathlib.Path) -> None:
    stack = given("volumes: ['vol:/d']", "volumes: {vol: {driver_opts: {type: none, o: bind, device: ./src}}}")
    assert stack.volumes["vol"] == Volume(
        "vol", "shop_vol", options={"type": "none", "o": "bind", "device": str(tmp_path / "src")}
    )


def test_volumes_are_taken_over_with_their_lender_started_first(given: Given) -> None:
    services = "  near: {image: host:/, volumes_from: ['web:ro'], volumes: ['wol:/own', 'vol:/a']}\n"
    stack = given("volumes: ['vol:/a', 'wol:/b', /c], tmpfs: /t", "volumes: {vol: , wol: }", services)
    near = stack.services["near"]
    assert near.volumes_from == (VolumesFrom("web", read_only=True),)
    assert [*near.depends_on] == ["web"]
    assert near.mounts == (
        Mount("volume", "/own", "wol"),
        Mount("volume", "/a", "vol"),
        Mount("volume", "/b", "wol", True),
        Mount("volume", "/c", None, True, service="web"),
    )


def test_who_takes_volumes_from_whom_cannot_be_a_circle(given: Given) -> None:
    with pytest.raises(Mistake, match="wait for each other in a circle"):
        given("volumes_from: [b]", services="  b: {image: host:/, volumes_from: [web]}\n")


# what the engine makes of them


def test_an_image_s_volumes_are_anonymous_ones_unless_something_is_mounted_there(
    given: Given, tmp_path: pathlib.Path
) -> None:
    stack, root = given("volumes: ['vol:/data']"), Root(str(tmp_path / "root"))
    place = mounts.Place(stack.services["web"], stack, 2, ("/data", "/cache"))
    volumes.make(root, "shop_vol", {})
    volumes.make(root, name := volumes.anonymous("shop", "web", 2, "/cache"), {})
    made = mounts.oci(root, place, "c1")
    assert [(mount["destination"], mount["volume"]) for mount in made] == [("/data", "shop_vol"), ("/cache", name)]


def test_a_tmpfs_has_dockers_options_unless_others_are_written(given: Given, tmp_path: pathlib.Path) -> None:
    stack = given("tmpfs: [/a, '/b:exec,dev,mode=0700']")
    made = mounts.oci(Root(str(tmp_path / "root")), mounts.Place(stack.services["web"], stack, 1), "c1")
    assert [mount["options"] for mount in made] == [
        ["noexec", "nosuid", "nodev", "rw", "mode=1777"],
        ["nosuid", "rw", "mode=700", "exec", "dev"],
    ]


def test_a_volume_that_is_another_one_or_none_is_refused(given: Given, tmp_path: pathlib.Path) -> None:
    root = Root(str(tmp_path / "root"))
    with pytest.raises(Missing, match="there is none; 'pyorch volume create gone' makes one"):
        volumes.data(root, "gone")
    volumes.make(root, "shop_vol", {})
    stack = given("volumes: ['vol:/d']", "volumes: {vol: {driver_opts: {type: tmpfs}}}")
    with pytest.raises(Conflict, match="it was made with other driver_opts"):
        mounts.ground(root, mounts.Place(stack.services["web"], stack, 1))
