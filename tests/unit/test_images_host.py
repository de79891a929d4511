"""What `host:/` shows of a machine, on a toy machine. No root needed: only what would be made is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.images import host, mask
from orchestrator.images.mask import Directory, Entry, File, Hidden, Link

PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    for name in (
        "usr/bin",
        "usr/local/etc",
        "etc/ssl/private",
        "etc/app",
        "etc/closed",
        "root",
        "home/ann",
        "boot",
        "backup",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    for name, text, mode in (
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644),
        ("etc/shadow", "root:!:1::::::\n", 0o644),  # readable by mistake: its name is enough
        ("etc/closed-file", "x", 0o640),
        ("etc/app/app.conf", "listen 80\n", 0o644),
        ("etc/app/deploy", PEM, 0o644),
        ("etc/app/users", "ann:$6$abcdefgh$0123456789\n", 0o644),
        ("etc/app/index", "url = https://ann:hunter2@packages.example\n", 0o644),
        ("etc/app/tls.key", "", 0o644),
        ("etc/closed/inside", "x", 0o644),
        ("etc/resolv.conf", "nameserver 192.0.2.1\n", 0o644),
        ("usr/local/etc/open", "x", 0o644),
        ("usr/local/etc/token", "x", 0o600),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    (tmp_path / "etc/closed").chmod(0o750)
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    return tmp_path


def seen(machine: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in host.survey(str(machine))}


def test_of_the_top_level_only_programs_show_through(machine: Path) -> None:
    entries = seen(machine)
    assert isinstance(entries["boot"], Hidden)
    assert isinstance(entries["backup"], Hidden)
    assert "bin" not in entries
    assert entries["home"] == Directory("home", opaque=True)
    assert entries["root"] == Directory("root", 0o700, opaque=True)


def test_etc_is_what_everyone_may_read(machine: Path) -> None:
    entries = seen(machine)
    assert entries["etc"] == Directory("etc", opaque=True)
    assert isinstance(entries["etc/passwd"], File)
    assert isinstance(entries["etc/app/app.conf"], File)
    assert entries["etc/localtime"] == Link("etc/localtime", "/usr/share/zoneinfo/UTC")


@pytest.mark.parametrize(
    "path",
    [
        *("etc/shadow", "etc/closed-file", "etc/closed", "etc/closed/inside", "etc/ssl/private"),
        *("etc/app/deploy", "etc/app/users", "etc/app/index", "etc/app/tls.key"),
    ],
)
def test_a_secret_does_not_get_in(machine: Path, path: str) -> None:
    assert path not in seen(machine)


def test_a_secret_setting_below_usr_is_hidden_and_its_neighbour_is_not(machine: Path) -> None:
    entries = seen(machine)
    assert entries["usr/local/etc/token"] == Hidden("usr/local/etc/token")
    assert not entries["usr/local"].opaque  # type: ignore[union-attr]
    assert "usr/local/etc/open" not in entries


def test_the_names_of_the_host_are_not_the_containers(machine: Path) -> None:
    assert seen(machine)["etc/resolv.conf"].content == b""  # type: ignore[union-attr]


def test_parents_come_before_their_children(machine: Path) -> None:
    made = {""}
    for entry in host.survey(str(machine)):
        assert entry.path.rpartition("/")[0] in made, entry.path
        made.add(entry.path)


def test_the_digest_is_of_the_meaning(machine: Path) -> None:
    before = mask.digest(host.survey(str(machine)))
    assert mask.digest(reversed(host.survey(str(machine)))) == before
    (machine / "etc/app/app.conf").write_text("listen 81\n")
    assert mask.digest(host.survey(str(machine))) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda machine: (machine / "etc/app/app.conf").chmod(0o600),
        lambda machine: (machine / "etc/app/app.conf").write_text("listen 82\n"),
        lambda machine: (machine / "srv").mkdir(),
        lambda machine: (machine / "usr/local/etc/token").chmod(0o644),
        lambda machine: ((machine / "etc/localtime").unlink(), (machine / "etc/localtime").symlink_to("/elsewhere")),
    ],
)
def test_a_changed_machine_has_a_changed_signature(machine: Path, change: object) -> None:
    before = host.signature(str(machine))
    assert host.signature(str(machine)) == before
    change(machine)  # type: ignore[operator]
    assert host.signature(str(machine)) != before


def test_file_systems_below_the_programs_are_bound_read_only() -> None:
    points = {"/", "/proc", "/usr/share/big disk", "/home", "/lib/modules"}
    mounts = list(host._program_mounts(points))
    assert [mount["destination"] for mount in mounts] == ["/lib/modules", "/usr/share/big disk"]
    assert all("ro" in mount["options"] for mount in mounts)
