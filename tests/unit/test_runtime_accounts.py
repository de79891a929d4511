"""Who the program runs as, from the image's own files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from orchestrator.runtime import accounts

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\nbroken line\n"
GROUP = "root:x:0:\nweb:x:102:\nlogs:x:7:web,other\n"


@pytest.fixture
def root(tmp_path: Path) -> int:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return os.open(tmp_path, os.O_PATH)


@pytest.mark.parametrize(
    ("user", "uid", "gid", "groups", "home"),
    [
        ({}, 0, 0, [0], "/root"),
        ({"uid": 0, "gid": 0, "username": ""}, 0, 0, [0], "/root"),
        ({"username": "web"}, 101, 102, [102, 7], "/srv/web"),
        ({"username": "101"}, 101, 102, [102, 7], "/srv/web"),
        ({"username": "web:logs"}, 101, 7, [7], "/srv/web"),
        ({"username": "web:55"}, 101, 55, [55], "/srv/web"),
        ({"username": "5000"}, 5000, 0, [0], "/"),
        ({"username": "5000:6000"}, 5000, 6000, [6000], "/"),
        ({"uid": 5000, "gid": 6000, "additionalGids": [9]}, 5000, 6000, [6000, 9], "/"),
    ],
)
def test_a_user_is_resolved(root: int, user: dict[str, Any], uid: int, gid: int, groups: list[int], home: str) -> None:
    found = accounts.resolve(user, root)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


def test_a_name_the_image_does_not_know_is_named(root: int) -> None:
    with pytest.raises(OSError, match="cannot run as user 'db': the image's /etc/passwd has no such user"):
        accounts.resolve({"username": "db"}, root)
    with pytest.raises(OSError, match="cannot run in group 'db': the image's /etc/group has no such group"):
        accounts.resolve({"username": "web:db"}, root)


def test_an_image_without_accounts_has_numbers_and_root(tmp_path: Path) -> None:
    none = os.open(tmp_path, os.O_PATH)
    assert accounts.resolve({"username": "1000"}, none).home == "/"
    assert accounts.resolve({}, none).uid == 0


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / "passwd")  # opening it would wait for a writer
    (tmp_path / "etc" / "group").symlink_to("/proc/self/fd/0")
    assert accounts.resolve({"username": "1000"}, os.open(tmp_path, os.O_PATH)).groups == [0]
