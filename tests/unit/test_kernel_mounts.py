"""Mount options, and looking a path up inside a root: a chroot's view without a chroot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.kernel import mounts


def test_options_are_sorted_into_attributes_and_the_filesystems_own() -> None:
    assert mounts.sort(["rbind", "ro", "nosuid", "mode=755", "rprivate"]) == (
        mounts.RDONLY | mounts.NOSUID,
        ["mode=755"],
    )
    with pytest.raises(OSError, match="cannot mount with propagation 'rshared'"):
        mounts.sort(["rshared"])


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


def test_what_is_missing_of_a_mounts_target_is_made_and_never_through_a_link_to_nowhere(
    root: int, tmp_path: Path
) -> None:
    os.close(mounts.target_in(root, "/a/b/c", is_directory=True))
    os.close(mounts.target_in(root, "/absolute/file", is_directory=False))
    assert (tmp_path / "a/b/c").is_dir()
    assert (tmp_path / "etc/file").is_file()
    with pytest.raises(FileNotFoundError):
        mounts.target_in(root, "/nowhere", is_directory=True)


def test_writing_beneath_a_directory_follows_no_link(root: int) -> None:
    with pytest.raises(OSError, match="cannot open 'up/name'"):
        mounts.open_beneath(root, "up/name", os.O_RDONLY)


def test_a_tree_is_removed_with_all_in_it_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "file").write_text("")
    (tree / "link").symlink_to(outside)
    mounts.remove_tree(str(tree))
    assert not tree.exists() and outside.is_dir()
    mounts.remove_tree(str(tree))
