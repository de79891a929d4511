"""The native runtime on the real kernel, cgroup v1 or v2: what a container can do, and what is left of it."""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.kernel import capabilities, cgroups, mounts, parents, pidfd
from orchestrator.root import Root
from orchestrator.runtime import native
from orchestrator.runtime.births import NETWORKED
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Limits, Sandbox, Service

BUSYBOX = shutil.which("busybox")
pytestmark = pytest.mark.skipif(BUSYBOX is None, reason="needs busybox-static: `make test` installs it")


@dataclass(frozen=True)
class Directory:
    """An image that is one directory."""

    layers: tuple[str, ...]
    reference: str = "dir:/image"
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: None = None
    command: None = None
    working_dir: None = None
    user: None = None
    mounts: tuple[()] = ()


@dataclass
class Ended:
    code: int
    output: str
    report: str


class Host:
    """Plays the launcher: bears containers one at a time, collects what they wrote, buries them."""

    def __init__(self, directory: Path) -> None:
        self.root = Root(str(directory / "root"))
        self.image = directory / "image"
        for name in ("bin", "etc", "proc", "sys", "dev", "tmp"):
            (self.image / name).mkdir(parents=True)
        assert BUSYBOX is not None
        shutil.copy(BUSYBOX, self.image / "bin" / "busybox")
        for name in ("sh", "cat", "ls", "id", "sleep", "mknod", "grep", "dd", "kill", "hostname", "touch", "ps"):
            (self.image / "bin" / name).symlink_to("busybox")
        (self.image / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\n")
        (self.image / "etc" / "group").write_text("root:x:0:\nweb:x:102:\nlogs:x:7:web\n")
        self.count = 0

    def spec(
        self, *command: str, mounts: tuple[dict[str, Any], ...] = (), **service: Any
    ) -> tuple[str, dict[str, Any]]:
        self.count += 1
        container = f"{self.count:012x}"
        os.makedirs(self.root.bundle(container))
        os.makedirs(self.root.container(container))
        whole = container_spec(
            service=Service(name="t", image="dir:/image", command=command, **service),
            image=Directory((str(self.image),)),
            container=container, root=self.root, hostname="box", mounts=mounts,
        )  # fmt: skip
        return self.root.bundle(container), json.loads(json.dumps(whole))

    def create(self, bundle: str, spec: dict[str, Any]) -> tuple[native.Born, int, bytes]:
        """→ (what was born, the read end of its output, what it first reported)."""
        read, write = os.pipe()
        born = native.create(bundle, spec, write, write)
        os.close(write)
        return born, read, heard(born)

    def start(self, bundle: str, spec: dict[str, Any]) -> tuple[native.Born, int]:
        born, output, report = self.create(bundle, spec)
        assert report == b"1", report
        born.release()
        assert heard(born) == b""
        return born, output

    def run(self, *command: str, **options: Any) -> Ended:
        """From birth to burial."""
        return self.live(*self.spec(*command, **options))

    def live(self, bundle: str, spec: dict[str, Any]) -> Ended:
        born, output, report = self.create(bundle, spec)
        if report == b"1":
            try:
                born.release()
                report = heard(born)
            except OSError as error:
                report = str(error.strerror).encode()
                pidfd.signal(born.pidfd, signal.SIGKILL)
        return Ended(self.bury(born), drained(output), report.decode())

    def bury(self, born: native.Born) -> int:
        code = os.waitstatus_to_exitcode(os.waitpid(born.pid, 0)[1])
        born.cgroup.kill()
        while not born.cgroup.remove():
            pass
        for descriptor in (born.pidfd, born.gate, born.report):
            if descriptor is not None:
                os.close(descriptor)
        return code


def heard(born: native.Born) -> bytes:
    """What comes after the news that its network namespace is there."""
    assert born.report is not None
    said = NETWORKED
    while said == NETWORKED:
        assert select.select([born.report], [], [], 20)[0], "the child says nothing"
        said = os.read(born.report, 65536) or born.settle().encode()
    return said.removeprefix(NETWORKED)


def drained(descriptor: int) -> str:
    with open(descriptor, encoding="utf-8", errors="replace") as file:
        return file.read()


def traces(root: Root) -> list[str]:
    """Mounts and groups of this root that the host can see."""
    whole = Path("/proc/self/mountinfo").read_text()
    groups = [path for path in cgroups.hierarchy().directories(f"/{root.cgroup}").values() if os.path.exists(path)]
    return [line for line in whole.splitlines() if root.directory in line] + groups


@pytest.fixture(params=[True, False], ids=["shared memory", "forked"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """Either road from clone to exec: whoever comes along it must find the same world."""
    directory = Path(tempfile.mkdtemp(prefix="po-"))
    native.warm(share_memory=request.param)
    gc.unfreeze()  # this process is no launcher
    gc.enable()
    host = Host(directory)
    yield host
    parents.forget(f"/{host.root.cgroup}")
    assert traces(host.root) == []
    shutil.rmtree(directory)


def test_a_container_sees_a_world_of_its_own(host: Host) -> None:
    counted = "ls /proc > /tmp/seen; grep -c '^[0-9]' /tmp/seen"
    ended = host.run("sh", "-c", f"hostname; echo pid $$; ls /dev; {counted}; pwd; echo $HOME $PATH")
    assert ended.code == 0
    devices = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert " ".join(ended.output.split()) == (
        f"box pid 1 {devices} 2 / /root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )


def test_a_container_has_dockers_capabilities_and_no_way_to_more(host: Host) -> None:
    status = host.run("grep", "-E", "^(Cap|NoNewPrivs|Seccomp:|Groups|SigIgn|SigBlk)", "/proc/self/status").output
    found = dict(line.split(":", 1) for line in status.splitlines())
    assert {name: value.strip() for name, value in found.items()} == {
        "CapInh": "0000000000000000",
        "CapPrm": "00000000a80425fb",
        "CapEff": "00000000a80425fb",
        "CapBnd": "00000000a80425fb",
        "CapAmb": "0000000000000000",
        "Groups": "0",
        "NoNewPrivs": "1",
        "Seccomp": "2",
        "SigBlk": "0000000000000000",
        "SigIgn": "0000000000000000",
    }


def test_a_named_user_has_its_groups_its_home_and_no_capability(host: Host) -> None:
    lines = host.run("sh", "-c", "id; echo $HOME; grep CapEff /proc/self/status", user="web").output.splitlines()
    assert lines == ["uid=101(web) gid=102(web) groups=7(logs),102(web)", "/srv/web", "CapEff:\t0000000000000000"]


def test_a_missing_working_directory_is_made_and_one_outside_the_root_is_refused(host: Host) -> None:
    assert host.run("sh", "-c", "pwd; ls -d /new/place", working_dir="/new/place").output == "/new/place\n/new/place\n"
    for descriptor in range(3, 16):
        ended = host.run("ls", working_dir=f"/proc/self/fd/{descriptor}")
        assert ended.report.startswith("cannot use working directory"), descriptor
        assert ended.code in (126, 127)


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("nonesuch",), "cannot start: command 'nonesuch' not found in the image (PATH="),
        (("/bin/nonesuch",), "cannot start: command '/bin/nonesuch' not found in the image"),
        (("/etc/passwd",), "cannot start: command '/etc/passwd' cannot be executed: Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run_is_named(host: Host, command: tuple[str, ...], sentence: str) -> None:
    assert host.run(*command).report[: len(sentence)] == sentence


def test_an_unknown_user_and_a_missing_bind_source_are_named(host: Host) -> None:
    assert host.run("ls", user="nobody").report == (
        "cannot run as user 'nobody': the image's /etc/passwd has no such user"
    )
    bind = {"destination": "/data", "type": "bind", "source": "/nonesuch", "options": ["rbind"]}
    assert host.run("ls", mounts=(bind,)).report == (
        "cannot mount '/nonesuch' on '/data': there is no such file or directory on the host"
    )
    assert not os.path.exists("/nonesuch")


def test_binds_appear_with_what_is_missing_of_their_target_and_obey_read_only(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello\n")
    binds = (
        {
            "destination": "/deep/down/file",
            "type": "bind",
            "source": str(tmp_path / "file"),
            "options": ["rbind", "ro"],
        },
        {"destination": "/data", "type": "bind", "source": str(tmp_path), "options": ["rbind"]},
    )
    script = "cat /deep/down/file; echo x > /deep/down/file || echo refused; echo y > /data/new"
    assert host.run("sh", "-c", script, mounts=binds).output.splitlines()[::2] == ["hello", "refused"]
    assert (tmp_path / "new").read_text() == "y\n"


def test_a_symlink_in_the_image_leads_no_mount_out_of_the_root(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (host.image / "data").symlink_to(outside)
    bind = {"destination": "/data/sub", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
    assert host.run("ls", mounts=(bind,)).report.startswith("cannot mount")
    assert list(outside.iterdir()) == []
    (host.image / "proc").rmdir()
    (host.image / "proc").symlink_to("/etc")
    assert host.run("ls").report.startswith("cannot mount 'proc' on '/proc': Too many levels of symbolic links")


def test_nothing_is_laid_over_the_kernels_own_filesystems(host: Host, tmp_path: Path) -> None:
    (host.image / "data").symlink_to("/proc")
    for destination in ("/proc", "/proc/sys", "/sys", "/data", "/data/bus"):
        bind = {"destination": destination, "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
        assert host.run("ls", mounts=(bind,)).report == (
            f"cannot mount '{tmp_path}' on '{destination}': that place is the kernel's"
        )


def test_an_exec_with_a_terminal_has_it_as_its_controlling_terminal(host: Host) -> None:
    bundle, spec = host.spec("sleep", "60")
    born, output = host.start(bundle, spec)
    master, slave = os.openpty()
    process = {"args": ["sh", "-c", "echo hello > /dev/tty"], "env": ["PATH=/bin"], "cwd": "/", "user": {}}
    entrance = native.prepare(born.pid, spec, process, True, born.cgroup)
    inside = native.enter(born.pidfd, entrance, slave, slave, slave, born.cgroup)
    os.close(slave)
    assert heard(inside) == b""
    said = b""
    while not said.endswith(b"\n"):  # a terminal hands out what it has, which may be half a line
        said += os.read(master, 100)
    assert said == b"hello\r\n"
    os.waitpid(inside.pid, 0)
    born.cgroup.kill()
    host.bury(born)
    for descriptor in (master, output, inside.pidfd, inside.report):
        assert descriptor is not None
        os.close(descriptor)


def test_every_capability_means_every_one_the_host_has(host: Host) -> None:
    status = host.run("grep", "CapEff", "/proc/self/status", cap_add=("ALL",)).output.split()[1]
    assert int(status, 16) == capabilities.bounding() & ((1 << len(capabilities.NAMES)) - 1)


def test_a_fork_bomb_ends_at_the_pids_limit(host: Host) -> None:
    script = "i=0; while [ $i -lt 40 ]; do sleep 5 & i=$((i+1)); done; echo all"
    assert "all" not in host.run("sh", "-c", script, limits=Limits(pids=16)).output.split()


def test_a_memory_hog_is_killed_and_the_reason_is_counted(host: Host) -> None:
    born, output = host.start(
        *host.spec("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", limits=Limits(memory=32 << 20))
    )
    os.waitid(os.P_PID, born.pid, os.WEXITED | os.WNOWAIT)
    assert born.cgroup.oom_kills() == 1
    assert host.bury(born) == -signal.SIGKILL
    os.close(output)


def test_only_the_usual_devices_can_be_opened(host: Host) -> None:
    script = "mknod /tmp/mem c 1 1 && mknod /tmp/nul c 1 3 && cat /tmp/nul && cat /tmp/mem"
    ended = host.run("sh", "-c", script)
    assert (ended.code, "Operation not permitted" in ended.output) == (1, True)


def test_a_read_only_root_cannot_be_written(host: Host) -> None:
    assert "Read-only file system" in host.run("touch", "/x", read_only=True).output


def test_the_kernels_settings_and_secrets_are_out_of_reach(host: Host) -> None:
    settings = "/proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper"
    script = f"for f in {settings}; do echo x > $f && echo $f; done; cat /proc/keys /proc/timer_list; ls /sys/firmware"
    ended = host.run("sh", "-c", script)
    assert [
        line for line in ended.output.splitlines() if "can't create" not in line and "nonexistent" not in line
    ] == []


def test_init_reaps_orphans_hands_signals_on_and_ends_with_the_programs_code(host: Host) -> None:
    orphan = "sh -c 'sleep 0.2 & exit'"
    buried = "while ps -o comm | grep -q sleep; do :; done; exit 7"  # a zombie is listed too
    script = f'trap "{buried}" TERM; {orphan}; echo up; while :; do cat /proc/uptime > /dev/null; done'
    born, output = host.start(*host.spec("sh", "-c", script, init=True))
    assert os.read(output, 3) == b"up\n"
    assert pidfd.signal(born.pidfd, signal.SIGTERM)
    assert host.bury(born) == 7
    os.close(output)
    assert host.run("sh", "-c", "kill -9 $$", init=True).code == 128 + signal.SIGKILL
    assert host.run("nonesuch", init=True).report.startswith("cannot start: command 'nonesuch' not found")


def test_our_own_pid_1_is_as_confined_as_the_program(host: Host) -> None:
    status = host.run("grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/1/status", init=True).output
    assert status.split() == ["CapEff:", "00000000a80425fb", "NoNewPrivs:", "1", "Seccomp:", "2"]


def test_an_exec_is_inside_and_as_confined_as_the_container(host: Host) -> None:
    bundle, spec = host.spec("sleep", "60")
    born, output = host.start(bundle, spec)
    names = ("pid", "mnt", "net", "uts", "ipc", "cgroup")
    script = "hostname; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; sleep 60"
    read, write = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    process = {"args": ["sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/tmp", "user": {"username": "root"}}
    entrance = native.prepare(born.pid, spec, process, False, born.cgroup)
    inside = native.enter(born.pidfd, entrance, null, write, write, born.cgroup)
    os.close(write)
    assert heard(inside) == b""
    text = os.read(read, 4096).decode()
    while text.count("\n") < 4:
        text += os.read(read, 4096).decode()
    assert text.split() == ["box", "CapEff:", "00000000a80425fb", "NoNewPrivs:", "1", "Seccomp:", "2"]
    for name in names:
        assert os.readlink(f"/proc/{inside.pid}/ns/{name}") == os.readlink(f"/proc/{born.pid}/ns/{name}")
    assert inside.pid in born.cgroup.processes()
    assert os.readlink("/proc/self/ns/pid_for_children") == os.readlink("/proc/self/ns/pid")
    born.cgroup.kill()
    os.waitpid(inside.pid, 0)
    assert host.bury(born) == -signal.SIGKILL
    for descriptor in (read, null, output, inside.pidfd, inside.report):
        assert descriptor is not None
        os.close(descriptor)


def test_closing_the_gate_ends_a_container_that_was_never_started(host: Host) -> None:
    born, output, report = host.create(*host.spec("touch", "/ran"))
    assert (report, born.gate is not None) == (b"1", True)
    os.close(born.gate)  # type: ignore[arg-type]
    born.gate = None
    assert host.bury(born) == 0
    assert drained(output) == ""


def test_a_container_is_adopted_by_pid_and_start_time_and_by_nothing_less(host: Host) -> None:
    bundle, spec = host.spec("sleep", "60")
    born, output = host.start(bundle, spec)
    adopted = native.adopt(bundle, spec, {"pid": born.pid, "start_time": born.start_time})
    assert adopted.cgroup.populated()
    with pytest.raises(ProcessLookupError):
        native.adopt(bundle, spec, {"pid": born.pid, "start_time": born.start_time + 1})
    assert pidfd.signal(adopted.pidfd, signal.SIGKILL)
    assert host.bury(born) == -signal.SIGKILL
    os.close(adopted.pidfd)
    os.close(output)


def test_the_hosts_root_serves_as_a_layer_under_a_mask(host: Host, tmp_path: Path) -> None:
    """The mask lies in a file system of its own: overlayfs refuses a lower layer inside another (ELOOP)."""
    place = tmp_path / "masks"
    place.mkdir()
    mounts.attach(mounts.make("tmpfs"), os.open(place, os.O_PATH))
    try:
        mask = place / "mask"
        mask.mkdir()
        for name in ("home", "root", "var"):
            os.mknod(mask / name, stat.S_IFCHR, os.makedev(0, 0))
        for name in ("proc", "sys", "dev", "etc", "tmp"):
            (mask / name).mkdir(mode=0o755)
            os.setxattr(mask / name, "trusted.overlay.opaque", b"y")
        bundle, spec = host.spec(
            "/bin/sh", "-c", "test -d /usr/bin && test ! -e /home && test ! -e /etc/shadow && echo ok"
        )
        spec["annotations"]["org.pyorch.layers"] = f"{mask}:/"
        assert host.live(bundle, spec) == Ended(0, "ok\n", "")
    finally:
        mounts.detach(str(place))


def test_execs_beside_a_tracer_are_not_made_in_the_launcher_s_memory(host: Host) -> None:
    """Whose pid namespace a container with SYS_PTRACE has joined, could be looked into while its exec is on its way."""
    bundle, spec = host.spec("sleep", "100")
    born, output = host.start(bundle, spec)
    process = {"args": ["sleep", "1"], "env": [], "cwd": "/", "user": {}}
    usually = native.prepare(born.pid, spec, process, False, born.cgroup).shared
    sidecar, traced = host.spec("sleep", "100", cap_add=("SYS_PTRACE",), sandbox=Sandbox(pid="container:other"))
    for namespace in traced["linux"]["namespaces"]:
        if namespace["type"] == "pid":
            namespace["path"] = f"/proc/{born.pid}/ns/pid"
    assert native.looks_into_others(traced)
    assert not native.looks_into_others(spec)
    tracer, told = host.start(sidecar, traced)
    assert os.readlink(f"/proc/{tracer.pid}/ns/pid") == os.readlink(f"/proc/{born.pid}/ns/pid")
    assert usually == native._memory_may_be_shared
    assert not native.prepare(born.pid, spec, process, False, born.cgroup).shared
    for one, pipe in ((tracer, told), (born, output)):
        pidfd.signal(one.pidfd, signal.SIGKILL)
        host.bury(one)
        os.close(pipe)
