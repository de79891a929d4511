"""What pyorch needs of this machine, and whether it is there: the rows of `pyorch doctor`. Looks, changes nothing."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from orchestrator.kernel import capabilities, cgroups, devices, namespaces, seccomp, syscalls

_OLDEST = (5, 13)  # overlayfs with its upper directory inside a lower one, mount_setattr (5.12)
_NEEDED = (
    "SYS_ADMIN", "NET_ADMIN", "SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "MKNOD", "CHOWN", "DAC_OVERRIDE",
    "FOWNER", "KILL", "SYS_PTRACE",
)  # fmt: skip
_NETLINK_NETFILTER = 12


class Feature(NamedTuple):
    """`found`: what is there, in words. `fix`: what to do about it; empty where `ok`."""

    name: str
    ok: bool
    found: str
    fix: str


def features() -> list[Feature]:
    """Every feature once, in the order in which a missing one would be met. Never raises for what is missing."""
    return [
        _kernel(),
        _root(),
        *_namespaces(),
        _filesystem("overlay", "load it: modprobe overlay"),
        _cgroups(),
        _device_filter(),
        _seccomp(),
        *_system_calls(),
        *_network(),
    ]


def _row(name: str, ok: bool, found: str, fix: str) -> Feature:
    return Feature(name, ok, found, "" if ok else fix)


def _kernel() -> Feature:
    release = os.uname().release
    numbers = tuple(int(part) for part in release.replace("-", ".").split(".")[:2])
    return _row("kernel", numbers >= _OLDEST, release, "run Linux 5.13 or newer")


def _root() -> Feature:
    if os.geteuid() != 0:
        return _row("root", False, f"user id {os.geteuid()}", "run pyorch as root, for instance with sudo")
    held = capabilities.bounding()
    lacking = [name for name in _NEEDED if not capabilities.mask([name]) & held]
    found = f"root without {', '.join(lacking)}" if lacking else "root with all capabilities needed"
    return _row("root", not lacking, found, "start pyorch outside of a container, or in a privileged one")


def _namespaces() -> Iterator[Feature]:
    for kind in ("pid", "mnt", "net", "uts", "ipc", "cgroup"):
        there = namespaces.available(kind)
        yield _row(f"{kind} namespace", there, "there" if there else "missing", f"use a kernel with {kind} namespaces")


def _filesystem(name: str, fix: str) -> Feature:
    with open("/proc/filesystems", encoding="ascii") as listing:
        there = any(line.split()[-1] == name for line in listing)
    return _row(f"{name} filesystem", there, "there" if there else "not known to the kernel", fix)


def _cgroups() -> Feature:
    fix = "mount it: mount -t cgroup2 cgroup2 /sys/fs/cgroup"
    try:
        found = cgroups.Hierarchy()
        names = sorted(found.v1) if found.version == 1 else cgroups.read(f"{found.unified}/cgroup.controllers").split()
    except OSError as error:
        return _row("cgroups", False, error.strerror or str(error), fix)
    missing = [name for name in ("cpu", "memory", "pids") if name not in names]
    text = f"version {found.version} with {', '.join(names) or 'no controllers'}"
    fix = f"give pyorch the controllers {', '.join(missing)} (kernel command line; systemd: Delegate=yes)"
    return _row("cgroups", not missing, text, fix)


def _device_filter() -> Feature:
    if cgroups.mounted()[0].get("devices"):
        return _row("device filter", True, "cgroup v1 devices controller", "")
    try:
        os.close(devices.load())
    except OSError as error:
        fix = (
            "allow bpf(2) to root (kernel.unprivileged_bpf_disabled does not matter; a seccomp filter or lockdown does)"
        )
        return _row("device filter", False, error.strerror or str(error), fix)
    return _row("device filter", True, "BPF program on cgroup v2", "")


def _seccomp() -> Feature:
    try:
        seccomp.program(0)
        with open("/proc/sys/kernel/seccomp/actions_avail", encoding="ascii") as actions:
            there = "errno" in actions.read().split()
    except OSError as error:
        return _row(
            "seccomp", False, error.strerror or str(error), "use a kernel with CONFIG_SECCOMP_FILTER on x86-64 or arm64"
        )
    return _row("seccomp", there, "filter mode", "use a kernel with CONFIG_SECCOMP_FILTER")


def _system_calls() -> Iterator[Feature]:
    """Each asked with arguments that cannot succeed: only "no such call" or "not permitted" tell of its absence."""
    for name, since in (
        ("pidfd_open", "5.3"),
        ("clone3", "5.3"),
        ("openat2", "5.6"),
        ("close_range", "5.9"),
        ("mount_setattr", "5.12"),
    ):
        result = -syscalls.attempt(name, -1, None, 0, 0, 0)
        there = result not in (errno.ENOSYS, errno.EPERM)
        optional = name == "clone3"  # then clone does it
        found = "there" if there else os.strerror(result) + (", clone is used instead" if optional else "")
        yield _row(
            name, there or optional, found, f"use Linux {since} or newer, outside of a seccomp filter that forbids it"
        )


def _network() -> Iterator[Feature]:
    fix = "load the module: modprobe nf_tables"
    yield _answers("nf_tables", _NETLINK_NETFILTER, struct.pack("=IHHIIBBH", 20, (10 << 8) | 16, 5, 1, 0, 0, 0, 0), fix)
    for kind in ("bridge", "veth"):
        yield _link_kind(kind)


def _answers(name: str, family: int, request: bytes, fix: str) -> Feature:
    """Whether the kernel's end of a netlink family takes `request`, which asks for an acknowledgement."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as line:
            line.settimeout(2)
            line.send(request)
            answer = line.recv(65536)
    except OSError as error:
        return _row(name, False, error.strerror or "no answer", fix)
    kind = struct.unpack_from("=H", answer, 4)[0]
    code = -struct.unpack_from("=i", answer, 16)[0] if kind == 2 else 0  # NLMSG_ERROR
    return _row(name, code == 0, "there" if code == 0 else os.strerror(code), fix)


def _link_kind(kind: str) -> Feature:
    """A kind of interface: built in, loaded, or to be had as a module."""
    release = os.uname().release
    known = os.path.isdir(f"/sys/module/{kind}") or _listed(kind, f"/lib/modules/{release}/modules.dep")
    known = known or not os.path.isdir(f"/lib/modules/{release}")  # a kernel of one piece: nothing to be read anywhere
    known = known or _listed(kind, f"/lib/modules/{release}/modules.builtin")
    return _row(
        f"{kind} interfaces", known, "there" if known else "no such module", f"install the kernel module {kind}"
    )


def _listed(module: str, path: str) -> bool:
    try:
        with open(path, encoding="utf-8") as listing:
            return any(f"/{module}.ko" in line.partition(":")[0] for line in listing)
    except FileNotFoundError:
        return False
