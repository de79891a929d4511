"""The local driver's options: what mount(2) is told."""

from __future__ import annotations

import pytest

from orchestrator.errors import HostRefused, Mistake
from orchestrator.kernel import binding
from orchestrator.storage import driver

RDONLY, NOSUID, NODEV, NOEXEC = 1, 2, 4, 8
HOSTS = {"nas": "192.0.2.7", "192.0.2.9": "192.0.2.9", "fd00::1": "fd00::1"}


@pytest.mark.parametrize(
    ("options", "source", "flags", "words"),
    [
        ({"type": "tmpfs", "o": "size=1m,uid=5,mode=0700"}, "tmpfs", 0, ["size=1m", "uid=5", "mode=0700"]),
        ({"type": "tmpfs", "device": "tmpfs", "o": " size=1m , noexec "}, "tmpfs", NOEXEC, ["size=1m"]),
        (
            {"type": "ext4", "device": "/dev/sdx1", "o": "ro,defaults,nofail,x-systemd.automount"},
            "/dev/sdx1",
            RDONLY,
            [],
        ),
        ({"type": "ext4", "device": "/dev/sdx1", "o": "ro,data=ordered,rw"}, "/dev/sdx1", 0, ["data=ordered"]),
        ({"type": "ext4", "device": "/dev/sdx1", "o": "users,exec"}, "/dev/sdx1", NOSUID | NODEV, []),
        (
            {"type": "ext4", "device": "/dev/sdx1", "o": 'context="u:r:t:s0:c1,c2",noexec'},
            *("/dev/sdx1", NOEXEC, ['context="u:r:t:s0:c1,c2"']),
        ),
        ({"type": "btrfs", "device": "/dev/sdx1", "o": "subvol=@data"}, "/dev/sdx1", 0, ["subvol=@data"]),
        (
            {"type": "nfs", "device": ":/export", "o": "addr=nas,nfsvers=4,rw,soft,_netdev"},
            *(":/export", 0, ["addr=192.0.2.7", "nfsvers=4", "soft"]),
        ),
        ({"type": "nfs4", "device": "nas:/export", "o": "nolock"}, "nas:/export", 0, ["nolock", "addr=192.0.2.7"]),
        ({"type": "nfs", "device": "[fd00::1]:/e", "o": ""}, "[fd00::1]:/e", 0, ["addr=fd00::1"]),
        (
            {"type": "cifs", "device": "//nas/share", "o": 'username=u,password="a,b",vers=3.0,uid=5'},
            *("//nas/share", 0, ["username=u", "password=a,,b", "vers=3.0", "uid=5", "ip=192.0.2.7"]),
        ),
        ({"type": "cifs", "device": "//nas/s", "o": "addr=192.0.2.9"}, "//nas/s", 0, ["addr=192.0.2.9"]),
    ],
)
def test_mount_is_told_what_mount_8_would_tell_it(
    options: dict[str, str], source: str, flags: int, words: list[str]
) -> None:
    told, given = driver.call("vol", driver.understood("vol", options), HOSTS.__getitem__)
    assert (told, *binding.sorted_options(given)) == (source, flags, words)


@pytest.mark.parametrize(
    ("options", "bind", "read_only", "attributes"),
    [
        ({"type": "none", "o": "bind", "device": "/srv"}, "bind", False, ()),
        ({"o": "rbind,ro,nosuid", "device": "/srv"}, "rbind", True, ("nosuid",)),
        ({"o": "bind,ro,rw,noexec", "device": "/srv"}, "bind", False, ("noexec",)),
    ],
)
def test_a_volume_may_be_a_directory_of_the_host(
    options: dict[str, str], bind: str, read_only: bool, attributes: tuple[str, ...]
) -> None:
    found = driver.understood("vol", options)
    assert (found.bind, found.read_only, found.attributes) == (bind, read_only, attributes)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"type": "ext4"}, "its option device is missing"),
        ({"device": "/dev/sdx"}, "its option type is missing"),
        ({"type": "tmpfs", "size": "1m"}, "expected the options type, o and device, but found 'size'"),
    ],
)
def test_options_that_describe_nothing_are_refused(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(Mistake, match=sentence):
        driver.understood("vol", options)


def test_a_server_without_a_name_and_one_that_is_nowhere() -> None:
    with pytest.raises(HostRefused, match="write host:/path, or addr="):
        driver.call("vol", driver.understood("vol", {"type": "nfs", "device": "/export"}), HOSTS.__getitem__)
    with pytest.raises(HostRefused, match=r"there is no host 'nobody\.invalid'"):
        driver.looked_up("vol")("nobody.invalid")
