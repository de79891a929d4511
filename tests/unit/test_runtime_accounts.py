"""Who the program runs as, from the image's own files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.runtime import accounts

PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\nbroken line\n"
GROUP = "root:x:0:\nweb:x:102:\nlogs:x:7:web,other\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "group").write_text(GROUP)
    return str(tmp_path / "passwd"), str(tmp_path / "group")


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
def test_a_user_is_resolved(
    files: tuple[str, str], user: dict[str, Any], uid: int, gid: int, groups: list[int], home: str
) -> None:
    found = accounts.resolve(user, *files)
    assert (found.uid, found.gid, found.groups, found.home) == (uid, gid, groups, home)


def test_a_name_the_image_does_not_know_is_named(files: tuple[str, str]) -> None:
    with pytest.raises(OSError, match="cannot run as user 'db': the image's /etc/passwd has no such user"):
        accounts.resolve({"username": "db"}, *files)
    with pytest.raises(OSError, match="cannot run in group 'db': the image's /etc/group has no such group"):
        accounts.resolve({"username": "web:db"}, *files)


def test_an_image_without_accounts_has_numbers_and_root(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    assert accounts.resolve({"username": "1000"}, none, none).home == "/"
    assert accounts.resolve({}, none, none).uid == 0
