"""Mount options, and looking a path up inside a root: a chroot's view without a chroot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.kernel import mounting, mounts, walker
from orchestrator.kernel.tape import Register, Tape

ROOT, FOUND = walker.FREE, walker.FREE + 1


def test_options_are_sorted_into_attributes_and_the_filesystems_own() -> None:
    assert mounts.sort(["rbind", "ro", "nosuid", "mode=755", "rprivate"]) == (
        mounts.RDONLY | mounts.NOSUID,
        ["mode=755"],
    )
    assert mounts.sort(["rbind", "rw", "rshared"]) == (0, [])


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (["rbind", "rro", "rprivate"], 0),
        (["slave"], mounts.SLAVE),
        (["rslave"], mounts.SLAVE),
        (["rshared"], mounts.SHARED),
        (["rshared", "rprivate"], 0),
    ],
)
def test_the_last_word_on_propagation_counts_and_private_asks_for_none(options: list[str], asked: int) -> None:
    assert mounts.propagation(options) == asked


@pytest.fixture
def root(tmp_path: Path) -> int:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "name").write_text("inside")
    (tmp_path / "up").symlink_to("../../../../etc")
    (tmp_path / "absolute").symlink_to("/etc")
    (tmp_path / "nowhere").symlink_to("/missing/place")
    return os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)


@pytest.mark.parametrize("path", ["etc/name", "/etc/name", "/up/name", "/absolute/name", "/../../etc/name"])
def test_every_way_ends_inside_the_root(root: int, path: str) -> None:
    with open(mounts.open_in(root, path, os.O_RDONLY)) as file:
        assert file.read() == "inside"


def test_a_symlink_is_refused_where_none_may_be(root: int) -> None:
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        mounts.open_in(root, "/absolute/name", links=False)


@pytest.fixture
def page() -> Iterator[walker.Page]:
    page = walker.take()
    mounting.prepare(page.registers, page.address)
    yield page
    walker.give_back(page)


def made(page: walker.Page, root: int, path: str, is_directory: bool | None) -> None:
    """Walk what finds or makes a place to mount on, in this process."""
    tape = Tape()
    page.registers[ROOT] = root
    if is_directory is None:
        mounting.look(tape, "look", ROOT)
    mounting.target_in(tape, f"make {path}", FOUND, ROOT, path, is_directory)
    tape.call("close", "close", Register(FOUND))
    tape.jump(0)
    walker.walk(page, tape.cut())


def test_what_is_missing_of_a_mounts_target_is_made_and_never_through_a_link_to_nowhere(
    page: walker.Page, root: int, tmp_path: Path
) -> None:
    made(page, root, "/a/b/c", True)
    made(page, root, "/a/b/c", True)
    made(page, root, "/absolute/file", False)
    made(page, root, "/like/root", None)
    assert (tmp_path / "a/b/c").is_dir() and (tmp_path / "like/root").is_dir()
    assert (tmp_path / "etc/file").is_file()
    with pytest.raises(FileNotFoundError, match="cannot make /nowhere: No such file"):
        made(page, root, "/nowhere", True)


def test_writing_beneath_a_directory_follows_no_link(page: walker.Page, root: int) -> None:
    tape = Tape()
    page.registers[ROOT] = root
    mounting.open_beneath(tape, "open it", FOUND, ROOT, "up/name", os.O_RDONLY)
    with pytest.raises(OSError, match="cannot open it: Too many levels"):
        walker.walk(page, tape.cut())
