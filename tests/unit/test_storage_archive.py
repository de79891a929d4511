"""Volumes as archives and as copies: nothing gets lost, and nothing gets out."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from orchestrator.errors import Conflict, HostRefused, Mistake
from orchestrator.root import Root
from orchestrator.storage import archive, copying, keeping, volumes
from orchestrator.storage.prepared import EVERYONE, ids


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path / "root"))


def furnish(data: Path) -> None:
    """Something of every kind that needs no root rights."""
    (data / "sub").mkdir(mode=0o711)
    (data / "sub/file").write_bytes(b"content")
    os.chmod(data / "sub/file", 0o640)
    os.link(data / "sub/file", data / "twin")
    (data / "link").symlink_to("/nowhere/at all")
    os.mkfifo(data / "pipe")
    with open(data / "holes", "wb") as file:
        file.truncate(1 << 24)
        file.seek(1 << 22)
        file.write(b"x" * 5000)
    (data / ("long" * 50)).write_text("é")
    os.utime(data / "sub", ns=(1_500_000_000_123_456_789, 1_500_000_000_123_456_789))


def seen(data: Path) -> dict[str, object]:
    """All that must be the same in a copy."""
    found: dict[str, object] = {}
    for path in sorted(data.rglob("*")):
        known = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(known.st_mode) else ""
        target = os.readlink(path) if path.is_symlink() else ""
        when = round(known.st_mtime_ns, -3)
        found[str(path.relative_to(data))] = (known.st_mode, known.st_uid, known.st_nlink, content, target, when)
    return found


@pytest.mark.parametrize("end", ["tar", "tar.gz", "tar.zst"])
def test_an_archive_gives_back_what_was_in_the_volume(tmp_path: Path, root: Root, end: str) -> None:
    data = Path(volumes.make(root, "v", {}))
    furnish(data)
    keeping.backup(root, "v", str(tmp_path / f"v.{end}"))
    keeping.restore(root, "w", str(tmp_path / f"v.{end}"), force=False)
    assert seen(Path(volumes.path(root, "w"))) == seen(data)
    assert (Path(volumes.path(root, "w")) / "holes").stat().st_blocks * 512 < 1 << 20


def test_other_tars_read_our_archives(tmp_path: Path, root: Root) -> None:
    data = Path(volumes.make(root, "v", {}))
    furnish(data)
    keeping.backup(root, "v", str(tmp_path / "v.tar"))
    assert os.stat(tmp_path / "v.tar").st_size < 1 << 20, "holes are not written"
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xpf", str(tmp_path / "v.tar"), "-C", str(tmp_path / "out")], check=True)
    assert seen(tmp_path / "out") == seen(data)


def test_a_copy_is_the_same(tmp_path: Path, root: Root) -> None:
    data = Path(volumes.make(root, "v", {"a": "b"}))
    furnish(data)
    keeping.clone(root, "v", "w", {})
    assert seen(Path(volumes.path(root, "w"))) == seen(data)
    assert (Path(volumes.path(root, "w")) / "holes").stat().st_blocks * 512 < 1 << 20
    with pytest.raises(Conflict, match="there is one already"):
        keeping.clone(root, "v", "w", {})


def test_a_volume_with_something_in_it_is_replaced_by_force_only(tmp_path: Path, root: Root) -> None:
    Path(volumes.make(root, "v", {}), "new").write_text("1")
    keeping.backup(root, "v", str(tmp_path / "v.tar"))
    old = Path(volumes.make(root, "w", {}), "old")
    old.write_text("2")
    with pytest.raises(Conflict, match="it is not empty; --force replaces what it holds"):
        keeping.restore(root, "w", str(tmp_path / "v.tar"), force=False)
    assert old.exists()
    keeping.restore(root, "w", str(tmp_path / "v.tar"), force=True)
    assert os.listdir(volumes.data(root, "w")) == ["new"]


def hostile(path: Path, *members: tuple[str, bytes, str]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 1 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"x") if info.size else None)
    return str(path)


@pytest.mark.parametrize(
    "members",
    [
        [("../out", tarfile.REGTYPE, "")],
        [("/out", tarfile.REGTYPE, "")],
        [("a/../../out", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, "/tmp"), ("link/out", tarfile.REGTYPE, "")],
        [("link", tarfile.SYMTYPE, ".."), ("link/out", tarfile.REGTYPE, "")],
        [("hard", tarfile.LNKTYPE, "../precious")],
    ],
)
def test_no_name_in_an_archive_leads_out(tmp_path: Path, root: Root, members: list[tuple[str, bytes, str]]) -> None:
    with pytest.raises(Mistake, match="cannot restore: the archive"):
        keeping.restore(root, "v", hostile(tmp_path / "bad.tar", *members), force=False)
    assert volumes.listing(root) == {}
    assert os.listdir(root.volumes) == [], "and nothing of it is left"


def test_half_an_archive_changes_nothing(tmp_path: Path, root: Root) -> None:
    data = Path(volumes.make(root, "v", {}))
    furnish(data)
    keeping.backup(root, "v", str(tmp_path / "v.tar.gz"))
    whole = (tmp_path / "v.tar.gz").read_bytes()
    (tmp_path / "half.tar.gz").write_bytes(whole[: len(whole) // 2])
    before = seen(data)
    with pytest.raises(Mistake, match="it is no whole tar archive"):
        keeping.restore(root, "v", str(tmp_path / "half.tar.gz"), force=True)
    assert seen(data) == before


def test_what_a_killed_agent_was_making_is_no_volume_and_goes(root: Root) -> None:
    volumes.make(root, "v", {})
    half = Path(root.volumes, ".new-w-1234")
    (half / "_data").mkdir(parents=True)
    volumes.describe(str(half), "w", {})
    assert [*volumes.listing(root)] == ["v"]
    keeping.forget_unfinished(root)
    assert os.listdir(root.volumes) == ["v"]


def test_holes_are_told_from_data(tmp_path: Path) -> None:
    with open(tmp_path / "f", "wb") as file:
        file.truncate(1 << 20)
    with open(tmp_path / "f", "rb") as file:
        assert list(copying.pieces(file.fileno(), 1 << 20)) == []


@pytest.mark.parametrize(
    ("owner", "shown", "expected"),
    [
        (0, 0, [(0, 0, EVERYONE)]),
        (1000, 0, [(1000, 0, 1), (1, 1, 999), (1001, 1001, EVERYONE - 1001)]),
        (5, 7, [(5, 7, 1), (0, 0, 5), (6, 6, 1), (8, 8, EVERYONE - 8)]),
    ],
)
def test_an_owner_is_shown_as_another_and_all_others_as_themselves(
    owner: int, shown: int, expected: list[tuple[int, int, int]]
) -> None:
    assert ids(owner, shown) == expected


def test_an_archive_without_a_known_end_is_refused(tmp_path: Path, root: Root) -> None:
    volumes.make(root, "v", {})
    with pytest.raises(Mistake, match=r"the name must end in \.tar, \.tar\.gz or \.tar\.zst"):
        archive.write(volumes.path(root, "v"), str(tmp_path / "v.zip"))


@pytest.mark.parametrize(
    ("end", "damage"),
    [(end, damage) for end in ("tar.gz", "tar.zst") for damage in ("none at all", "cut short", "rotten")]
    + [("tar", "none at all"), ("tar", "cut short")],
)
def test_what_is_no_whole_archive_is_said_and_nothing_is_made(
    tmp_path: Path, root: Root, end: str, damage: str
) -> None:
    path = tmp_path / f"v.{end}"
    Path(volumes.make(root, "v", {}), "noise").write_bytes(os.urandom(500_000))
    keeping.backup(root, "v", str(path))
    whole = path.read_bytes()
    spoilt = {"none at all": b"none", "cut short": whole[:-9000], "rotten": whole[:600] + b"rot" + whole[603:]}
    path.write_bytes(spoilt[damage])
    with pytest.raises((Mistake, HostRefused), match=f"v.{end}"):
        keeping.restore(root, "new", str(path), force=False)
    assert list(volumes.listing(root)) == ["v"]
    assert os.listdir(root.volumes) == ["v"]
