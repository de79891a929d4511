"""Volumes, binds and tmpfs inside real containers: what is mounted, whose it is, and what remains."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import HostRefused
from orchestrator.kernel import binding
from orchestrator.root import Root
from orchestrator.storage import archive, filling, keeping, volumes
from tests.scenarios.conftest import Pyorch


@pytest.fixture
def image(pyorch: Pyorch) -> Iterator[Path]:
    """A root directory of busybox, with something at /seed."""
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    root = pyorch.directory / "rootfs"
    for path in ("bin", "seed/sub", "empty"):
        (root / path).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    for name in ("sh", "sleep", "cat", "stat", "ls", "touch", "grep", "echo", "rm", "mkdir", "ln", "id", "dd"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "seed/file").write_text("from the image")
    os.chown(root / "seed", 12, 34)
    os.chmod(root / "seed", 0o750)
    os.chown(root / "seed/file", 1000, 1001)
    os.chmod(root / "seed/file", 0o4711)
    os.setxattr(root / "seed/file", "user.note", b"kept")
    (root / "seed/link").symlink_to("../nowhere")
    os.link(root / "seed/file", root / "seed/sub/twin")
    with open(root / "seed/holes", "wb") as file:
        file.truncate(1 << 24)
        file.seek(1 << 23)
        file.write(b"x")
    yield root


def stack(image: Path, words: str, more: str = "") -> str:
    return (
        f"name: shop\nservices:\n  web:\n    image: dir:{image}\n    init: true\n    command: [sleep, '100000']\n"
        + "".join(f"    {line}\n" for line in words.splitlines())
        + more
    )


def up(pyorch: Pyorch, image: Path, words: str, more: str = "") -> None:
    (pyorch.directory / "stack.yaml").write_text(stack(image, words, more))
    pyorch.ok("up", "-d", "--wait", "stack.yaml")


def inside(pyorch: Pyorch, script: str, service: str = "web") -> str:
    return pyorch.ok("exec", "-T", service, "sh", "-c", script)


def data(pyorch: Pyorch, name: str) -> Path:
    return Path(pyorch.root.volumes, name, "_data")


def test_an_empty_volume_takes_over_what_the_image_has_there(pyorch: Pyorch, image: Path) -> None:
    up(
        pyorch,
        image,
        "volumes: ['vol:/seed', 'non:/empty', {type: volume, source: wol, target: /seed2}]",
        "volumes: {vol: , non: , wol: }\n",
    )
    assert inside(pyorch, "stat -c '%a %u %g %n' /seed /seed/file; cat /seed/file").splitlines() == [
        *("750 12 34 /seed", "4711 1000 1001 /seed/file", "from the image")
    ]
    volume = data(pyorch, "shop_vol")
    assert os.getxattr(volume / "file", "user.note") == b"kept"
    assert os.readlink(volume / "link") == "../nowhere"
    assert (volume / "file").stat().st_ino == (volume / "sub/twin").stat().st_ino
    assert (volume / "holes").stat().st_blocks * 512 < 1 << 20
    assert not [name for name in os.listdir(volume) if name.startswith(".pyorch")]
    inside(pyorch, "rm /seed/file && echo mine > /seed/own")
    up(pyorch, image, "environment: {A: b}\nvolumes: ['vol:/seed']", "volumes: {vol: }\n")
    assert sorted(os.listdir(volume)) == ["holes", "link", "own", "sub"], "a volume with something in it is left alone"


def test_nocopy_leaves_a_volume_empty(pyorch: Pyorch, image: Path) -> None:
    up(pyorch, image, "volumes: ['vol:/seed:nocopy']", "volumes: {vol: }\n")
    assert inside(pyorch, "ls -A /seed") == ""


def test_a_filling_that_was_cut_short_is_begun_anew_or_finished(pyorch: Pyorch, image: Path) -> None:
    up(pyorch, image, "volumes: ['vol:/seed:nocopy']", "volumes: {vol: }\n")
    pyorch.ok("down")
    volume = data(pyorch, "shop_vol")
    (volume / ".pyorch-filling").mkdir()
    (volume / ".pyorch-filling/half").write_text("of a file")
    up(pyorch, image, "volumes: ['vol:/seed']", "volumes: {vol: }\n")
    assert inside(pyorch, "ls -A /seed").split() == ["file", "holes", "link", "sub"]
    pyorch.ok("down")
    (volume / ".pyorch-filled").mkdir()
    (volume / "file").rename(volume / ".pyorch-filled/file")
    up(pyorch, image, "volumes: ['vol:/seed']", "volumes: {vol: }\n")
    assert inside(pyorch, "ls -A /seed").split() == ["file", "holes", "link", "sub"]


def test_an_anonymous_volume_waits_for_the_next_container_in_its_slot_and_goes_with_down_v(
    pyorch: Pyorch, image: Path
) -> None:
    up(pyorch, image, "volumes: ['/seed']")
    inside(pyorch, "echo kept > /seed/own")
    up(pyorch, image, "volumes: ['/seed']\nenvironment: {A: b}")
    assert inside(pyorch, "cat /seed/own") == "kept\n"
    pyorch.ok("down")
    assert len(os.listdir(pyorch.root.volumes)) == 1
    up(pyorch, image, "volumes: ['/seed']")
    assert inside(pyorch, "ls /seed").split() == ["file", "holes", "link", "sub"], "after down it begins anew"
    gone = pyorch.run("down", "-v").stderr
    assert "dropping volume: down, with its volumes; it has no name: /seed of " in gone
    assert len(os.listdir(pyorch.root.volumes)) == 1, "and that of the former time is for `volume prune`"


def test_with_renew_anon_volumes_a_container_that_is_replaced_begins_anew(pyorch: Pyorch, image: Path) -> None:
    words = "volumes: [{type: volume, target: /seed, volume: {labels: {for: trying}}}, 'vol:/v']"
    up(pyorch, image, words, "volumes: {vol: }\n")
    (made,) = [row for row in pyorch.lines("volume", "ls", "--format", "json") if "for=trying" in row["Labels"]]
    assert "com.docker.volume.anonymous" in made["Labels"]
    inside(pyorch, "echo kept > /seed/own; echo kept > /v/own")
    pyorch.ok("up", "-d", "--wait", "-V")
    assert inside(pyorch, "cat /seed/own") == "kept\n", "what is not replaced keeps its own"
    pyorch.ok("up", "-d", "--wait", "-V", "--force-recreate")
    assert inside(pyorch, "ls /seed /v").split() == ["/seed:", "file", "holes", "link", "sub", "/v:", "own"]
    inside(pyorch, "echo kept > /seed/own")
    pyorch.ok("up", "-d", "--wait", "--force-recreate")
    assert inside(pyorch, "cat /seed/own") == "kept\n", "-V counts for the up it was given to"


def test_a_folder_of_a_volume_is_mounted_and_no_link_leads_out_of_it(pyorch: Pyorch, image: Path) -> None:
    words = "volumes: ['vol:/all', {type: volume, source: vol, target: /part, volume: {subpath: %s}}]"
    up(pyorch, image, "volumes: ['vol:/all']", "volumes: {vol: }\n")
    inside(pyorch, "mkdir -p /all/a/b && echo deep > /all/a/b/file && ln -s /etc /all/out && ln -s a /all/in")
    up(pyorch, image, words % "in/b", "volumes: {vol: }\n")
    assert inside(pyorch, "cat /part/file") == "deep\n"
    (pyorch.directory / "stack.yaml").write_text(stack(image, words % "out/ssl", "volumes: {vol: }\n"))
    done = pyorch.run("up", "-d", "--wait", "--timeout", "5", "stack.yaml")
    assert "cannot mount out/ssl of volume 'shop_vol': there is no such directory in it" in done.stdout + done.stderr


def test_a_tmpfs_is_dockers_unless_written_otherwise(pyorch: Pyorch, image: Path) -> None:
    up(
        pyorch,
        image,
        "tmpfs: [/a, '/b:size=1m,mode=0700,uid=5,gid=6,exec']\n"
        "volumes: [{type: tmpfs, target: /c, tmpfs: {size: 2m, mode: 0711}}]",
    )
    assert inside(pyorch, "stat -c '%a %u %g' /a /b /c").splitlines() == ["1777 0 0", "700 5 6", "711 0 0"]
    lines = inside(pyorch, "grep -E ' /(a|b|c) ' /proc/mounts").splitlines()
    options = {line.split()[1]: set(line.split()[3].split(",")) for line in lines}
    assert options["/a"] >= {"noexec", "nosuid", "nodev"}
    assert "noexec" not in options["/b"] and {"size=1024k", "nosuid"} <= options["/b"]
    assert {"size=2048k", "noexec"} <= options["/c"]


def test_driver_options_bind_a_directory_or_mount_a_file_system_for_all_who_use_it(pyorch: Pyorch, image: Path) -> None:
    (pyorch.directory / "there").mkdir()
    (pyorch.directory / "there/file").write_text("of the host")
    more = (
        f"  other: {{image: 'dir:{image}', init: true, command: [sleep, '100000'], volumes: ['tmp:/t']}}\n"
        "volumes:\n"
        "  bind: {driver_opts: {type: none, o: bind, device: ./there}}\n"
        "  tmp: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: 'size=1m,uid=7'}}\n"
    )
    up(pyorch, image, "volumes: ['bind:/b', 'tmp:/t']", more)
    assert inside(pyorch, "cat /b/file && stat -c %u /t && echo shared > /t/file") == "of the host7\n"
    assert inside(pyorch, "cat /t/file", "other") == "shared\n"
    pyorch.ok("down")
    assert not os.path.ismount(data(pyorch, "shop_tmp"))
    pyorch.ok("up", "-d", "--wait")
    pyorch.ok("down", "-v")
    assert (pyorch.directory / "there/file").read_text() == "of the host", "what a volume stands for is not its own"


def test_another_kind_of_volume_under_the_same_name_is_refused(pyorch: Pyorch, image: Path) -> None:
    up(pyorch, image, "volumes: ['vol:/seed']", "volumes: {vol: }\n")
    pyorch.ok("down")
    more = "volumes: {vol: {driver_opts: {type: tmpfs, device: tmpfs}}}\n"
    (pyorch.directory / "stack.yaml").write_text(stack(image, "volumes: ['vol:/seed']", more))
    done = pyorch.run("up", "-d", "--wait", "--timeout", "5", "stack.yaml")
    assert "it was made with other driver_opts" in done.stdout + done.stderr


def test_volumes_are_taken_from_a_service_and_from_a_container(pyorch: Pyorch, image: Path) -> None:
    more = (
        f"  near: {{image: 'dir:{image}', init: true, command: [sleep, '100000'], volumes_from: ['web:ro']}}\n"
        f"  far: {{image: 'dir:{image}', init: true, command: [sleep, '100000'], depends_on: [web],"
        " volumes_from: ['container:shop-web-1']}\n"
        "volumes: {vol: }\n"
    )
    up(pyorch, image, "volumes: ['vol:/v', '/seed']", more)
    inside(pyorch, "echo named > /v/file; echo anonymous > /seed/own")
    for service in ("near", "far"):
        assert inside(pyorch, "cat /v/file /seed/own", service) == "named\nanonymous\n"
    assert inside(pyorch, "touch /v/x 2>&- || echo refused", "near") == "refused\n"
    assert inside(pyorch, "touch /v/x && echo done", "far") == "done\n"


def test_files_of_a_bind_belong_to_the_calling_user(pyorch: Pyorch, image: Path) -> None:
    source = pyorch.directory / "src"
    source.mkdir()
    os.chown(source, 1234, 1235)
    text = stack(image, "volumes: ['./src:/src']\nx-pyorch: {idmap: caller}")
    (pyorch.directory / "stack.yaml").write_text(text)
    caller = pyorch.environment | {"SUDO_UID": "1234", "SUDO_GID": "1235"}
    pyorch.ok("up", "-d", "--wait", "stack.yaml", env=caller)
    assert inside(pyorch, "echo x > /src/made && stat -c '%u %g' /src /src/made") == "0 0\n0 0\n"
    made = (source / "made").stat()
    assert (made.st_uid, made.st_gid) == (1234, 1235)
    pyorch.ok("down")
    assert (source / "made").exists()
    assert not list(Path(pyorch.root.run, "prepared").iterdir())


def test_a_bind_without_its_submounts_is_read_only_all_the_way(pyorch: Pyorch, image: Path) -> None:
    (pyorch.directory / "src").mkdir()
    up(
        pyorch,
        image,
        "volumes: [{type: bind, source: ./src, target: /src, read_only: true, bind: {recursive: disabled}}]",
    )
    assert inside(pyorch, "touch /src/x 2>&- || echo refused") == "refused\n"


def test_a_protected_volume_outlives_down_v(pyorch: Pyorch, image: Path) -> None:
    up(pyorch, image, "volumes: ['vol:/v', 'wol:/w']", "volumes: {vol: {x-pyorch: {protect: true}}, wol: }\n")
    done = pyorch.run("down", "-v")
    assert "volume shop_vol is protected and stays" in done.stdout + done.stderr
    assert os.listdir(pyorch.root.volumes) == ["shop_vol"]


def test_a_full_disk_leaves_a_volume_as_empty_as_it_was(tmp_path: Path, image: Path) -> None:
    small = Root(str(tmp_path / "root"))
    os.makedirs(small.run)
    os.makedirs(small.volumes)
    (image / "seed/large").write_bytes(os.urandom(1 << 21))
    binding.mount("tmpfs", small.volumes, "tmpfs", ["size=1m"])
    try:
        data = volumes.make(small, "v", {})
        with pytest.raises(HostRefused, match=r"cannot fill volume 'v' .* No space left on device"):
            filling.fill(small, "v", data, (str(image),), "/seed")
        assert os.listdir(data) == []
        with pytest.raises(HostRefused, match="No space left on device"):
            _restore_too_much(small, tmp_path)
        assert os.listdir(small.volumes) == ["v"]
    finally:
        binding.detach(small.volumes)


def _restore_too_much(small: Root, tmp_path: Path) -> None:
    (tmp_path / "much").mkdir()
    (tmp_path / "much/file").write_bytes(os.urandom(1 << 21))
    archive.write(str(tmp_path / "much"), str(tmp_path / "much.tar"))
    keeping.restore(small, "w", str(tmp_path / "much.tar"), force=False)


def test_an_agent_killed_over_a_filling_is_followed_by_one_that_fills_all(pyorch: Pyorch, image: Path) -> None:
    for number in range(4000):
        (image / f"seed/{number:04}").write_text("x" * 100)
    (pyorch.directory / "stack.yaml").write_text(stack(image, "volumes: ['vol:/seed']", "volumes: {vol: }\n"))
    pyorch.ok("agent", "start")
    agent = pyorch.status()["pid"]
    command = pyorch.command("up", "-d", "stack.yaml")
    asked = subprocess.Popen(command, env=pyorch.environment, cwd=pyorch.directory, stderr=subprocess.DEVNULL)
    filling_now = data(pyorch, "shop_vol") / ".pyorch-filling"
    pyorch.until(lambda: filling_now.is_dir() and len(os.listdir(filling_now)) > 100)
    os.kill(agent, signal.SIGKILL)
    asked.wait()
    pyorch.ok("up", "-d", "--wait")
    assert sorted(os.listdir(data(pyorch, "shop_vol"))) == sorted(os.listdir(image / "seed"))


@pytest.fixture
def silent(pyorch: Pyorch) -> Iterator[Path]:
    """A file system whose server never answers: whoever looks at it waits."""
    where = pyorch.directory / "silent"
    where.mkdir()
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        binding.mount("silent", str(where), "fuse", [f"fd={server}", "rootmode=40000", "user_id=0", "group_id=0"])
        yield where
    finally:
        os.close(server)
        binding.detach(str(where))


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="this kernel has no FUSE")
def test_a_file_server_that_does_not_answer_holds_nobody_else(pyorch: Pyorch, image: Path, silent: Path) -> None:
    bind = f"{{type: bind, source: {silent}, target: /bound, bind: {{create_host_path: true}}}}"
    more = (
        f"  bound: {{image: 'dir:{image}', command: [sleep, '100000'], volumes: [{bind}]}}\n"
        f"  other: {{image: 'dir:{image}', init: true, command: [sleep, '100000'], volumes: ['seen:/seen']}}\n"
        f"volumes:\n  seen: {{}}\n  far: {{driver_opts: {{type: none, o: bind, device: {silent}}}}}\n"
    )
    (pyorch.directory / "stack.yaml").write_text(stack(image, "volumes: ['far:/far']", more))
    (pyorch.directory / "short.yaml").write_text(stack(image, f"volumes: ['{silent}:/bound']"))
    looks = pyorch.command("-p", "short", "up", "-d", "short.yaml")  # whether there is such a directory
    with subprocess.Popen(looks, cwd=pyorch.directory, env=pyorch.environment) as waiting:
        done = pyorch.run("up", "-d", "stack.yaml")
        assert waiting.poll() is None
        waiting.kill()
    assert done.returncode == 1
    for service in ("web", "bound"):
        said = f"cannot mount {silent} for '{service}': its file system has not answered for 10 s; is its server there?"
        assert said in done.stderr
    assert inside(pyorch, "echo well", "other") == "well\n"
    assert {row["Name"] for row in pyorch.lines("volume", "ls", "--format", "json")} == {"shop_far", "shop_seen"}
    pyorch.ok("system", "df")
    pyorch.ok("down", "-v", "-t", "0")
    pyorch.ok("agent", "stop", "--all")
