"""References: what is an image, and the sentence for what is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator import images
from orchestrator.errors import Missing
from orchestrator.root import Root


def test_a_directory_is_its_own_layer(tmp_path: Path) -> None:
    image = images.prepare(f"dir:{tmp_path}", Root(str(tmp_path)))
    assert image.layers == (str(tmp_path.resolve()),)
    assert image.environment["PATH"].startswith("/usr/local/sbin:")


def test_a_link_to_a_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "link").symlink_to("root")
    image = images.prepare(f"dir:{tmp_path}/link", Root(str(tmp_path)))
    assert image.layers == (str(tmp_path.resolve() / "root"),)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("nginx", "cannot use image 'nginx': it is not here; pull it"),
        ("nginx:1.27", "cannot use image 'nginx:1.27': it is not here; pull it"),
        (
            "NGINX",
            "cannot use image 'NGINX': 'library/NGINX' is no repository's name; a repository's name is written "
            "in lower case",
        ),
        ("host:/usr", "cannot use image 'host:/usr': the machine's own programs are 'host:/', and no part of it"),
        ("dir:rootfs", "cannot use image 'dir:rootfs': the path must be absolute, as in dir:/srv/roots/debian"),
        ("dir:/no/such", "cannot use image 'dir:/no/such': there is no such directory"),
        ("dir:/etc/passwd", "cannot use image 'dir:/etc/passwd': it is not a directory"),
        ("dir:/", "cannot use image 'dir:/': that is the whole machine with all its secrets; use host:/"),
    ],
)
def test_what_is_no_image_is_refused_with_the_way_out(tmp_path: Path, reference: str, sentence: str) -> None:
    with pytest.raises(Missing, match=f"^{re.escape(sentence)}$"):
        images.prepare(reference, Root(str(tmp_path)))


def test_a_path_that_would_be_read_as_two_layers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    with pytest.raises(Missing, match="which parts the layers of a root"):
        images.prepare(f"dir:{tmp_path}/a:b", Root(str(tmp_path)))
