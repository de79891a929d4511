"""Volumes: made once, kept, dropped without reaching out of their place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator.errors import HostRefused, Mistake
from orchestrator.root import Root
from orchestrator.storage import volumes


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(str(tmp_path / "root"))


def test_a_volume_keeps_its_data_when_made_again(root: Root) -> None:
    data = Path(volumes.make(root, "shop_data", {"a": "b"}))
    (data / "orders").write_text("1")
    assert volumes.make(root, "shop_data", {}) == str(data) == volumes.path(root, "shop_data")
    assert (data / "orders").read_text() == "1"
    assert volumes.listing(root) == {"shop_data": {"name": "shop_data", "labels": {"a": "b"}}}


def test_the_way_to_the_data_is_closed_to_others(root: Root) -> None:
    data = volumes.make(root, "v", {})
    assert os.stat(root.volumes).st_mode & 0o777 == 0o700
    assert os.stat(os.path.dirname(data)).st_mode & 0o777 == 0o700
    assert os.stat(data).st_mode & 0o777 == 0o755


def test_a_dropped_volume_is_gone_and_may_be_dropped_again(root: Root) -> None:
    volumes.make(root, "v", {})
    volumes.drop(root, "v")
    volumes.drop(root, "v")
    assert volumes.listing(root) == {}


def test_dropping_does_not_follow_links_out_of_the_volume(root: Root, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    data = volumes.make(root, "v", {})
    os.symlink(tmp_path, os.path.join(data, "out"))
    volumes.drop(root, "v")
    assert (tmp_path / "precious").read_text() == "kept"


def test_a_link_in_place_of_a_volume_is_not_followed(root: Root, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("kept")
    os.makedirs(root.volumes)
    os.symlink(tmp_path / "elsewhere", os.path.join(root.volumes, "v"))
    with pytest.raises(HostRefused, match="cannot drop volume 'v'"):
        volumes.drop(root, "v")
    assert (tmp_path / "elsewhere" / "precious").read_text() == "kept"


def test_a_half_made_volume_is_not_listed_and_is_completed(root: Root) -> None:
    os.makedirs(os.path.join(root.volumes, "v", "_data"))
    assert volumes.listing(root) == {}
    volumes.make(root, "v", {})
    assert list(volumes.listing(root)) == ["v"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-v", ".hidden", "a b", "x" * 300])
def test_a_name_that_could_point_elsewhere_is_refused(root: Root, name: str) -> None:
    with pytest.raises(Mistake, match="cannot use volume name"):
        volumes.make(root, name, {})
