"""What a container sees of the machine through `host:/` and `dir:/path`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch

SLEEPER = """
    name: seen
    services:
      host:
        image: host:/
        init: true
        command: [sleep, infinity]
"""


def inside(pyorch: Pyorch, script: str) -> str:
    return pyorch.ok("exec", "-T", "host", "sh", "-c", script)


def test_programs_of_the_machine_run_and_its_secrets_are_not_there(pyorch: Pyorch) -> None:
    pyorch.up(SLEEPER)
    assert inside(pyorch, "python3 -c 'print(6 * 7)'") == "42\n"
    assert inside(pyorch, "cat /etc/passwd") == Path("/etc/passwd").read_text()
    for secret in ("/etc/shadow", "/etc/gshadow", "/etc/ssl/private", "/boot", "/lost+found"):
        assert inside(pyorch, f"test -e {secret} || echo hidden") == "hidden\n", secret
    for empty in ("/root", "/home", "/srv", "/opt", "/mnt", "/media", "/var/lib", "/var/log"):
        assert inside(pyorch, f"ls -A {empty}") == "", empty


def test_what_a_container_writes_stays_in_its_layer(pyorch: Pyorch) -> None:
    pyorch.up(SLEEPER)
    inside(pyorch, "echo mine > /usr/made-by-a-container && echo mine > /etc/made-by-a-container && rm /usr/bin/env")
    assert inside(pyorch, "cat /usr/made-by-a-container /etc/made-by-a-container") == "mine\nmine\n"
    assert inside(pyorch, "test -e /usr/bin/env || echo gone") == "gone\n"
    assert os.path.exists("/usr/bin/env")
    assert not os.path.exists("/usr/made-by-a-container")
    assert not os.path.exists("/etc/made-by-a-container")


def test_a_file_that_appears_on_the_host_later_does_not_appear_inside(pyorch: Pyorch) -> None:
    pyorch.up(SLEEPER)
    later = Path("/etc") / f"later-{pyorch.root.instance}"
    later.write_text("new")
    try:
        assert inside(pyorch, f"test -e {later} || echo hidden") == "hidden\n"
    finally:
        later.unlink()


def test_old_masks_go_with_the_last_container_and_the_newest_waits_for_the_next(pyorch: Pyorch) -> None:
    pyorch.up(SLEEPER)
    masks = Path(pyorch.root.run, "masks")
    (newest,) = masks.glob("host-*")
    (masks / "host-0123456789abcdef").mkdir()
    pyorch.ok("down", "-t", "0")
    pyorch.until(lambda: list(masks.glob("host-*")) == [newest])
    pyorch.ok("agent", "stop")
    assert not Path(pyorch.root.run).exists()


def test_an_old_mask_goes_with_the_last_container_that_has_it_though_others_live(pyorch: Pyorch) -> None:
    pyorch.up(SLEEPER)
    masks = Path(pyorch.root.run, "masks")
    (old,) = masks.glob("host-*")
    changed = Path("/etc") / f"changed-{pyorch.root.instance}"
    changed.write_text("the machine is another one")
    try:
        pyorch.up(SLEEPER.replace("name: ", "name: other-"))
        (new,) = set(masks.glob("host-*")) - {old}
        pyorch.write(SLEEPER)
        pyorch.ok("restart", "-t", "0")
        assert old.is_dir(), "a restarted container is the same one"
        pyorch.ok("down", "-t", "0")
        pyorch.until(lambda: list(masks.glob("host-*")) == [new])
    finally:
        changed.unlink()


def test_an_agent_in_a_chroot_has_containers_that_see_nothing_above_it(pyorch: Pyorch) -> None:
    """pivot_root(2) from a chroot leaves what lies above it in reach of whoever enters the mount namespace: an exec."""
    pyorch.write(SLEEPER)
    above = pyorch.directory / "above"
    above.mkdir()
    steps = [
        ["up", "-d", "--wait", "stack.yaml"],
        ["exec", "-T", "host", "sh", "-c", "cat /etc/hostname; ls -d /etc/shadow /boot"],
        ["down", "-t", "0"],
        ["agent", "stop", "--all"],
    ]
    commands = "; ".join(shlex.join(pyorch.command(*step)) for step in steps)
    script = f"mount --rbind / {above} && exec chroot {above} sh -c {shlex.quote(f'cd {pyorch.directory}; {commands}')}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], env=pyorch.environment, capture_output=True, text=True, timeout=60
    )
    first, *rest = done.stdout.splitlines()
    assert re.fullmatch("[0-9a-f]{12}", first), done
    assert not rest or not rest[0].startswith("/"), done


@pytest.mark.skipif(not shutil.which("busybox"), reason="needs a static busybox (Debian: busybox-static)")
def test_a_directory_is_a_root(pyorch: Pyorch) -> None:
    root = pyorch.directory / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    pyorch.up(f"""
        name: own
        services:
          box:
            image: dir:{root}
            init: true
            command: [/bin/sh, -c, "echo inside > /mark; exec /bin/busybox sleep 1000"]
    """)
    assert pyorch.ok("exec", "-T", "box", "/bin/busybox", "cat", "/mark") == "inside\n"
    assert not (root / "mark").exists()


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (
            "Nginx:1.27",
            "cannot use image 'Nginx:1.27': 'library/Nginx' is no repository's name; a repository's name is",
        ),
        (
            "127.0.0.1:1/nginx",
            "cannot pull image '127.0.0.1:1/nginx': 127.0.0.1:1 cannot be reached: Connection refused",
        ),
        ("dir:/no/such", "cannot use image 'dir:/no/such': there is no such directory"),
    ],
)
def test_what_is_no_image_is_said_and_nothing_is_made(pyorch: Pyorch, image: str, sentence: str) -> None:
    pyorch.write(f"name: none\nservices: {{x: {{image: '{image}', command: [x]}}}}\n")
    done = pyorch.run("up", "-d", "--wait", "stack.yaml")
    assert done.returncode == 1
    assert sentence in done.stdout + done.stderr
