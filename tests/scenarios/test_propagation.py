"""Mounts that come later: whether they pass between the host and a container, and that the host keeps its own.

The host of these tests is a mount namespace of their own, with one directory whose mounts are shared.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.conftest import Pyorch, agent_of_its_own


class Host(Pyorch):
    """An agent that lives in the mount namespace of `keeper`, and commands run in there."""

    keeper: subprocess.Popen[bytes]

    @property
    def enter(self) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt", f"--wdns={self.directory}"]

    def within(self, *arguments: str) -> str:
        done = subprocess.run([*self.enter, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        return [*self.enter, *super().command(*arguments)]

    def pid(self, container: str) -> int:
        rows = self.lines("ps", "-a", "--format", "json")
        return next(int(row["Pid"]) for row in rows if row["Name"] == container)

    def mounted(self) -> list[str]:
        """Where something is mounted below the test's directory, RUN's own apart."""
        points = [line.split()[4] for line in self.within("cat", "/proc/self/mountinfo").splitlines()]
        here = [point for point in points if point.startswith(str(self.directory))]
        return sorted(point for point in here if not point.startswith(self.root.directory))

    def seen(self, container: str) -> list[str]:
        """Where a container has something mounted."""
        return [line.split()[4] for line in Path(f"/proc/{self.pid(container)}/mountinfo").read_text().splitlines()]


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if shutil.which("busybox") is None:
        pytest.skip("needs a static busybox (Debian: busybox-static)")
    keeper = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
    )
    try:
        assert keeper.stdout is not None
        keeper.stdout.readline()
        report = lambda name, text: request.node.add_report_section("teardown", name, text)  # noqa: E731
        with agent_of_its_own(report, lambda directory: _host(directory, keeper)) as mine:
            assert isinstance(mine, Host)
            (mine.directory / "shared").mkdir()
            shared = str(mine.directory / "shared")
            mine.within("sh", "-c", f"mount -t tmpfs outer {shared} && mount --make-shared {shared}")
            mine.within("mkdir", f"{shared}/early", f"{shared}/late", f"{shared}/given", f"{shared}/below")
            mine.within("mount", "-t", "tmpfs", "early", f"{shared}/early")
            yield mine
    finally:
        keeper.kill()
        keeper.wait()


def _host(directory: Path, keeper: subprocess.Popen[bytes]) -> Host:
    host = Host(directory)
    host.keeper = keeper
    return host


def up(host: Host, mount: str, more: str = "") -> None:
    host.up(f"""
        name: shop
        services:
          web:
            image: host:/
            command: [sleep, "100000"]
            cap_add: [SYS_ADMIN]
            security_opt: [seccomp=unconfined]
            volumes: [{mount}]
            {more}
        """)


LONG = "{{type: bind, source: ./shared, target: /srv, bind: {{propagation: {}}}}}"


@pytest.mark.parametrize("words", [LONG.format("rslave"), "'./shared:/srv:slave'"])
def test_what_is_mounted_on_the_host_later_appears_inside_and_not_the_other_way_round(host: Host, words: str) -> None:
    up(host, words)
    assert "/srv/early" in host.seen("shop-web-1")
    host.within("mount", "-t", "tmpfs", "late", f"{host.directory}/shared/late")
    assert "/srv/late" in host.seen("shop-web-1")
    before = host.mounted()
    host.ok("exec", "-T", "web", "mount", "-t", "tmpfs", "own", "/srv/given")
    assert "/srv/given" in host.seen("shop-web-1")
    assert host.mounted() == before
    host.within("umount", f"{host.directory}/shared/late")
    assert "/srv/late" not in host.seen("shop-web-1")


def test_what_a_container_mounts_below_a_shared_bind_appears_on_the_host_and_stays(host: Host) -> None:
    up(host, LONG.format("rshared"))
    host.ok("exec", "-T", "web", "mount", "-t", "tmpfs", "own", "/srv/given")
    assert f"{host.directory}/shared/given" in host.mounted()
    host.within("mount", "-t", "tmpfs", "late", f"{host.directory}/shared/late")
    assert "/srv/late" in host.seen("shop-web-1")
    host.ok("exec", "-T", "web", "umount", "/srv/late")
    assert f"{host.directory}/shared/late" not in host.mounted()
    host.ok("down")
    assert f"{host.directory}/shared/given" in host.mounted(), "it is the host's now"
    host.within("umount", f"{host.directory}/shared/given")


@pytest.mark.parametrize("propagation", ["rprivate", "private", "rslave", "rshared"])
def test_the_mounts_of_the_host_are_after_down_what_they_were(host: Host, propagation: str) -> None:
    before = host.mounted()
    up(host, LONG.format(propagation))
    if "private" in propagation:
        host.within("mount", "-t", "tmpfs", "late", f"{host.directory}/shared/late")
        assert "/srv/late" not in host.seen("shop-web-1")
        host.within("umount", f"{host.directory}/shared/late")
    assert host.mounted() == before
    host.ok("restart", "web", "-t", "1")
    host.ok("down", "-v", "-t", "1")
    assert host.mounted() == before


@pytest.mark.parametrize("propagation", ["rslave", "rprivate"])
def test_what_was_prepared_of_shared_mounts_takes_none_of_the_hosts_along_when_it_goes(
    host: Host, propagation: str
) -> None:
    """With its owner mapped, a bind is a copy of the host's mounts that is unmounted afterwards."""
    before = host.mounted()
    up(host, LONG.format(propagation), "init: true\n            x-pyorch: {idmap: caller}\n            user: '7:7'")
    host.within("mount", "-t", "tmpfs", "late", f"{host.directory}/shared/late")
    assert ("/srv/late" in host.seen("shop-web-1")) == (propagation == "rslave")
    host.within("umount", f"{host.directory}/shared/late")
    host.ok("down")
    assert host.mounted() == before


def test_a_source_that_does_not_pass_on_is_refused_with_its_mount(host: Host) -> None:
    (host.directory / "plain").mkdir()
    host.write("""
        services:
          web: {image: "host:/", command: [sleep, "9"], volumes: ["./plain:/srv:rshared"], restart: "no"}
        """)
    done = host.run("up", "-d", "--wait")
    assert done.returncode != 0
    assert "it lies on the mount /, which is not shared; 'mount --make-rshared /' makes it so" in done.stderr


@pytest.mark.parametrize(
    ("recursive", "top", "below"),
    [("writable", False, True), ("readonly", False, False), ("enabled", False, False), ("disabled", False, None)],
)
def test_read_only_reaches_as_far_as_it_says(host: Host, recursive: str, top: bool, below: bool | None) -> None:
    words = f"{{type: bind, source: ./shared, target: /srv, read_only: true, bind: {{recursive: {recursive}}}}}"
    up(host, words)

    def writable(path: str) -> bool:
        return host.run("exec", "-T", "web", "touch", path).returncode == 0

    assert writable("/srv/file") == top
    if below is None:
        assert "/srv/early" not in host.seen("shop-web-1")
    else:
        assert writable("/srv/early/file") == below
