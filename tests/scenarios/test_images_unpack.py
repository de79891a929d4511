"""A layer's tar becomes a directory that means the same to overlayfs; a hostile one touches nothing outside."""

from __future__ import annotations

import contextlib
import copy
import gzip
import io
import json
import os
import random
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.images import stream, tar
from orchestrator.images.complete import complete
from orchestrator.images.unpack import Limits, Refused, Unpacked, unpack
from tests.registry import tar_of


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def layer(directory: Path, *entries: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo) -> Unpacked:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            one, content = entry if isinstance(entry, tuple) else (entry, b"")
            one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
    made.seek(0)
    return unpack(made.read, str(directory))


def link(name: str, target: str) -> tarfile.TarInfo:
    return info(name, tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tarfile.TarInfo:
    return info(name, tarfile.LNKTYPE, linkname=target)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A file that no layer may touch, beside the layer's own directory."""
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    before = os.stat(canary)
    yield canary
    assert canary.read_text() == "untouched"
    assert os.stat(canary) == before or os.stat(canary).st_nlink == before.st_nlink
    assert sorted(os.listdir(tmp_path)) in (["canary"], ["canary", "layer"])


HOSTILE: dict[str, list[Any]] = {
    "dots": [(info("../canary"), b"x")],
    "dots inside": [(info("a/../../canary"), b"x")],
    "symlink up": [link("up", ".."), (info("up/canary"), b"x")],
    "absolute symlink": [link("root", "/"), (info("root/etc/pyorch-canary"), b"x")],
    "symlink to the file": [link("c", "../canary"), (info("c"), b"x")],
    "hard link out": [hard("c", "../canary"), (info("c"), b"x")],
    "hard link through a symlink": [link("up", ".."), hard("c", "up/canary"), (info("c"), b"x")],
    "whiteout of ..": [info(".wh...")],
    "whiteout of nothing": [info(".wh.")],
    "whiteout through a symlink": [link("up", ".."), info("up/.wh.canary")],
    "opaque through a symlink": [link("up", ".."), info("up/.wh..wh..opq")],
    "symlinks in a circle": [link("a", "b"), link("b", "a"), (info("a/x"), b"x")],
    "directory over a symlink": [link("up", ".."), info("up", tarfile.DIRTYPE, mode=0o777), (info("up/canary"), b"x")],
    "overlay's own whiteout": [info("x", tarfile.CHRTYPE, devmajor=0, devminor=0)],
    "a file as directory": [(info("f"), b""), (info("f/x"), b"x")],
    "very deep": [(info("/".join("d" * 400)), b"x")],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_layer_touches_nothing_outside(tmp_path: Path, outside: Path, entries: list[Any]) -> None:
    copies = [(copy.copy(entry[0]), entry[1]) if isinstance(entry, tuple) else copy.copy(entry) for entry in entries]
    try:
        layer(tmp_path / "layer", *copies)
    except Refused as refused:
        assert str(refused)
    assert not os.path.exists("/etc/pyorch-canary")


NAMES = ("a", "b", "a/b", "a/b/c", "../a", "/a", "a/../b", "./a", "a//b", "..", "a/..", "b/../../canary", "canary",
         ".wh.a", "a/.wh.b", ".wh..wh..opq", ".wh...", "a/.wh..", "\udcff", "n" * 255)  # fmt: skip
KINDS = (tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_hostile_tar_says_stays_inside(tmp_path: Path, outside: Path, seed: int) -> None:
    """Names, links and kinds at random, each tar built to lead an unpacker astray by what came before in it."""
    chance = random.Random(seed)
    for _ in range(40):
        entries: list[Any] = []
        for _ in range(chance.randint(2, 12)):
            targets = (*NAMES, str(outside), str(tmp_path), "../../canary", "/proc/self/root" + str(outside))
            one = info(chance.choice(NAMES), chance.choice(KINDS), mode=chance.choice((0, 0o777, 0o4755)))
            one.linkname = chance.choice(targets) if one.type in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            entries.append((one, b"x" * chance.randint(0, 9)) if one.type == tarfile.REGTYPE else one)
        with contextlib.suppress(Refused, tar.Malformed):
            layer(tmp_path / "layer", *entries)
        assert os.stat(outside).st_nlink == 1
        shutil.rmtree(tmp_path / "layer", ignore_errors=True)


def test_absolute_names_and_symlinks_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    layer(root, (info("/etc/x"), b"1"), link("lib", "/usr/lib"), (info("lib/y"), b"2"))
    assert (root / "etc/x").read_bytes() == b"1"
    assert (root / "usr/lib/y").read_bytes() == b"2"
    assert os.readlink(root / "lib") == "/usr/lib"


def test_owners_modes_times_links_devices_and_attributes_are_kept(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    xattrs = {"SCHILY.xattr.user.note": "hi", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}
    file = info("d/f", mode=0o4755, uid=1234567, gid=5, mtime=1234567890.25, pax_headers=xattrs)
    directory = info("d", tarfile.DIRTYPE, mode=0o1777, uid=7, mtime=86400)
    pipe, device = (
        info("pipe", tarfile.FIFOTYPE, mode=0o600),
        info("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666),
    )
    layer(root, directory, (file, b"content"), hard("hard", "d/f"), pipe, device)
    known = os.stat(root / "d/f")
    assert (known.st_uid, known.st_gid, stat.S_IMODE(known.st_mode)) == (1234567, 5, 0o4755)
    assert known.st_mtime_ns == 1234567890_250000000
    assert os.stat(root / "hard").st_ino == known.st_ino
    assert (os.stat(root / "d").st_mtime, stat.S_IMODE(os.stat(root / "d").st_mode)) == (86400, 0o1777)
    assert os.stat(root / "null").st_rdev == os.makedev(1, 3)
    assert stat.S_ISFIFO(os.stat(root / "pipe").st_mode)
    assert os.listxattr(root / "d/f") == ["user.note"], "overlayfs' own words are nobody else's to write"
    raw = tar_with_attribute("f", "SCHILY.xattr.security.capability", capability)
    unpack(io.BytesIO(raw).read, str(tmp_path / "second"))
    assert os.getxattr(tmp_path / "second/f", "security.capability") == capability


def tar_with_attribute(name: str, key: str, value: bytes) -> bytes:
    """tarfile writes pax values as text only; this one is bytes."""
    record = b" " + key.encode() + b"=" + value + b"\n"
    length = len(record) + 2
    record = str(length + (length >= 98)).encode() + record
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    body = record + b"\0" * (-len(record) % 512)
    return header.tobuf(tarfile.USTAR_FORMAT) + body + tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT) + b"\0" * 1024


def test_deletions_become_what_overlayfs_reads(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    entries = [
        info("gone/.wh.file"), info("new", tarfile.DIRTYPE), (info("new/kept"), b"k"), info(".wh.new"),
        info("opaque", tarfile.DIRTYPE), info("opaque/.wh..wh..opq"), info(".wh..wh.plnk"),
        info(".wh.again"), info("again", tarfile.DIRTYPE),
    ]  # fmt: skip
    layer(root, *entries)
    whiteout = os.stat(root / "gone/file")
    assert stat.S_ISCHR(whiteout.st_mode)
    assert whiteout.st_rdev == 0
    assert (root / "new/kept").read_bytes() == b"k"
    for name in ("new", "opaque", "again"):
        assert os.getxattr(root / name, "trusted.overlay.opaque") == b"y", name
    assert sorted(os.listdir(root)) == ["again", "gone", "new", "opaque"]


def test_the_later_of_two_entries_of_one_name_wins(tmp_path: Path) -> None:
    root = tmp_path / "layer"
    layer(
        root, (info("x"), b"1"), (info("x"), b"22"), info("y", tarfile.DIRTYPE), (info("y/z"), b""), (info("y"), b"3")
    )
    assert (root / "x").read_bytes() == b"22"
    assert (root / "y").read_bytes() == b"3"


@pytest.mark.parametrize("format", ["--format=gnu", "--format=posix --sparse-version=0.0", "--format=posix --sparse-version=0.1", "--format=posix --sparse-version=1.0"])  # fmt: skip
def test_sparse_files_of_gnu_tar_stay_sparse(tmp_path: Path, format: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        for place in (0, 1 << 20, 50 << 20):
            file.seek(place)
            file.write(b"data" * 1024)
        file.truncate(64 << 20)
    made = subprocess.run(["tar", "-C", source, "-S", *format.split(), "-c", "sparse"], capture_output=True, check=True)
    unpack(io.BytesIO(made.stdout).read, str(tmp_path / "layer"))
    found = tmp_path / "layer/sparse"
    assert subprocess.run(["cmp", source / "sparse", found], check=False).returncode == 0
    assert os.stat(found).st_blocks * 512 < 1 << 20


def test_a_real_tree_packed_by_gnu_tar_comes_out_the_same(tmp_path: Path) -> None:
    source = Path(json.__file__).parent.parent / "email"
    made = subprocess.run(["tar", "-C", source, "-c", "."], capture_output=True, check=True).stdout
    unpack(io.BytesIO(made).read, str(tmp_path / "layer"))
    same = subprocess.run(["diff", "-r", source, tmp_path / "layer"], capture_output=True, check=False)
    assert same.stdout == b""


@pytest.mark.parametrize(
    ("limits", "why"),
    [(Limits(bytes=1000), "more than 1000 bytes"), (Limits(entries=2), "more than 2 entries"), (Limits(ratio=2, free=100), "times as many")],
)  # fmt: skip
def test_a_bomb_is_stopped(tmp_path: Path, limits: Limits, why: str) -> None:
    raw = tar_of({f"f{number}": b"\0" * 900 for number in range(4)})
    packed = gzip.compress(raw)
    with pytest.raises(Refused, match=why):
        unpack(stream.Plain(io.BytesIO(packed).read).read, str(tmp_path / "layer"), limits, len(packed))


@pytest.mark.parametrize("cut", [100, 512, 700, 1400])
def test_a_tar_that_ends_too_early_is_no_layer(tmp_path: Path, cut: int) -> None:
    raw = tar_of({"a": b"x" * 600, "b": b"y" * 600})
    if cut == 512:  # whole headers, no data
        raw = raw[:512]
    with pytest.raises(ValueError, match="ends"):
        unpack(io.BytesIO(raw[:cut]).read, str(tmp_path / "layer"))
    with pytest.raises(ValueError, match=r"ends|damaged"):
        packed = gzip.compress(raw + b"\0" * 10240)
        unpack(stream.Plain(io.BytesIO(packed[:-9]).read).read, str(tmp_path / "other"))


def test_what_a_layer_does_not_say_it_takes_from_those_below(tmp_path: Path) -> None:
    below, above = tmp_path / "below", tmp_path / "layer"
    layer(below, info("t", tarfile.DIRTYPE, mode=0o1777, uid=9), link("bin", "usr/bin"), (info("usr/bin/old"), b"o"))
    found = layer(above, (info("t/new"), b"n"), (info("bin/new"), b"n"), hard("t/hard", "usr/bin/old"))
    assert sorted(found.implied) == ["bin", "t"]
    assert found.foreign == [("t/hard", "usr/bin/old")]
    complete(str(above), found, [str(below)])
    assert (os.stat(above / "t").st_uid, stat.S_IMODE(os.stat(above / "t").st_mode)) == (9, 0o1777)
    assert (above / "usr/bin/new").read_bytes() == b"n"
    assert not os.path.lexists(above / "bin")
    assert (above / "t/hard").read_bytes() == b"o"


def test_a_tar_reader_is_not_led_astray_by_headers(tmp_path: Path) -> None:
    for raw in (b"\xff" * 512, b"x" * 1024, tar_of({"a": b"1"})[:511]):
        with pytest.raises(tar.Malformed):
            list(tar.Reader(io.BytesIO(raw).read))
