"""The root of a container, top to bottom: overlay, mounts, devices, what is masked, and the step into it.

The child's own work, in its own mount namespace; errors end it. Nothing follows a path of the image out of the root.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from orchestrator.kernel import mounts, syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)
# Filesystems of the kernel: a symlink in the image may not move them (runc's CVE-2019-19921).
_KERNEL_FILESYSTEMS = {"proc", "sysfs", "mqueue", "devpts", "cgroup"}


def build(bundle: str, spec: dict[str, Any], cgroup: dict[str, str]) -> None:
    """From the host's world into the container's root. `cgroup`: controller → directory, the container sees its own."""
    os.umask(0)
    mounts.private()
    root = _root(bundle, spec)
    kernels: set[int] = set()
    for mount in spec.get("mounts", ()):
        _mount(root, mount, cgroup, kernels)
    _devices(root)
    linux = spec.get("linux", {})
    proc = mounts.open_in(root, "/proc", os.O_RDONLY | os.O_DIRECTORY, links=False)
    _kernel_settings(proc, linux.get("sysctl", {}))
    for path in linux.get("maskedPaths", ()):
        _mask(root, path)
    for path in linux.get("readonlyPaths", ()):
        _make_read_only(root, path)
    os.close(proc)
    if spec["root"].get("readonly"):
        mounts.change(root, mounts.RDONLY)
    mounts.pivot(root)
    os.close(root)
    hostname = spec.get("hostname", "").encode()
    if hostname:
        syscalls.call("set the host name", "sethostname", hostname, len(hostname))


def _root(bundle: str, spec: dict[str, Any]) -> int:
    """The overlay of the image's layers below the container's own, mounted on the bundle's root.path."""
    annotations = spec["annotations"]
    target = os.path.join(bundle, spec["root"]["path"])
    upper, work = annotations["org.pyorch.upper"], annotations["org.pyorch.work"]
    for directory, mode in ((target, 0o700), (upper, 0o755), (work, 0o700)):  # the mode of `upper` is that of "/"
        with suppress(FileExistsError):
            os.mkdir(directory, mode)
    mounts.overlay(target, annotations["org.pyorch.layers"].split(":"), upper, work)
    return os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _mount(root: int, mount: dict[str, Any], cgroup: dict[str, str], kernels: set[int]) -> None:
    """`kernels`: the devices (st_dev) of the procfs and sysfs mounted so far, which nothing may be laid over."""
    kind, source, destination = mount.get("type", "bind"), mount.get("source", ""), mount["destination"]
    try:
        attributes, rest = mounts.sort(mount.get("options", ()))
        if kind == "cgroup":
            _show_cgroup(root, destination, attributes, cgroup)
            return
        if kind == "bind":
            made = _bound(source, attributes, recursive="rbind" in mount.get("options", ()))
        else:
            made = mounts.make(kind, rest, source or kind, attributes)
        found = os.fstat(made)
        strict = kind in _KERNEL_FILESYSTEMS or destination == "/dev"
        target = mounts.target_in(root, destination, stat.S_ISDIR(found.st_mode), links=not strict)
        taken = os.fstat(target).st_dev in kernels  # by whatever link it was reached (CVE-2019-19921)
        if not taken:
            mounts.attach(made, target)
    except OSError as error:
        gone = error.errno == errno.ENOENT and source.startswith("/")
        why = "there is no such file or directory on the host" if gone else os.strerror(error.errno or 0)
        raise OSError(error.errno, f"cannot mount {source or kind!r} on {destination!r}: {why}") from error
    if taken:
        raise OSError(errno.EPERM, f"cannot mount {source or kind!r} on {destination!r}: that place is the kernel's")
    if kind in ("proc", "sysfs"):
        kernels.add(found.st_dev)


def _bound(source: str, attributes: int, recursive: bool) -> int:
    made = mounts.clone(source, recursive)
    if attributes:
        mounts.change(made, attributes, recursive)
    return made


def _show_cgroup(root: int, destination: str, attributes: int, cgroup: dict[str, str]) -> None:
    """The container's own group, read-only, where programs that size themselves look for it."""
    if "unified" in cgroup:
        _show(root, cgroup["unified"], destination, attributes)
        return
    made = mounts.make("tmpfs", ("mode=755", "size=4k"), "cgroup", attributes & ~mounts.RDONLY)
    for controller in cgroup:
        os.mkdir(controller, 0o755, dir_fd=made)
    place = mounts.target_in(root, destination, True, links=False)
    holder = os.dup(made)
    mounts.attach(made, place)
    for controller, directory in cgroup.items():
        _show(root, directory, f"{destination}/{controller}", attributes)
    mounts.change(holder, mounts.RDONLY)
    os.close(holder)


def _show(root: int, directory: str, destination: str, attributes: int) -> None:
    made = mounts.clone(directory)
    mounts.change(made, attributes)
    mounts.attach(made, mounts.target_in(root, destination, True, links=False))


def _devices(root: int) -> None:
    """The six devices every program may count on, and the usual links."""
    dev = mounts.open_in(root, "/dev", os.O_RDONLY | os.O_DIRECTORY, links=False)
    for name, major, minor in _DEVICES:
        try:
            os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(major, minor), dir_fd=dev)
        except PermissionError:  # pyorch itself runs where no device may be made: show the host's
            mounts.attach(mounts.clone(f"/dev/{name}"), mounts.target_in(dev, name, False, links=False))
    for name, target in _LINKS:
        os.symlink(target, name, dir_fd=dev)
    os.close(dev)


def _kernel_settings(proc: int, settings: dict[str, str]) -> None:
    """Sysctls of the new namespaces, through the procfs we mounted ourselves. IPv6 is off: see network.attach."""
    for path in ("sys/net/ipv6/conf/all/disable_ipv6", "sys/net/ipv6/conf/default/disable_ipv6"):
        try:
            _write(proc, path, "1")
        except FileNotFoundError:
            break  # a kernel without IPv6
    for name, value in settings.items():
        try:
            _write(proc, "sys/" + name.replace(".", "/"), value)
        except OSError as error:
            raise OSError(error.errno, f"cannot set sysctl {name}={value}: {os.strerror(error.errno or 0)}") from error


def _write(directory: int, path: str, value: str) -> None:
    file = mounts.open_beneath(directory, path, os.O_WRONLY)
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)


def _mask(root: int, path: str) -> None:
    """Nothing is to be seen there: a file reads like /dev/null (the host's own, checked), a directory is empty."""
    try:
        target = mounts.open_in(root, path, links=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(os.fstat(target).st_mode):
        cover = mounts.make("tmpfs", ("size=4k", "mode=555"), "masked", mounts.RDONLY | mounts.NOSUID | mounts.NODEV)
    else:
        cover = mounts.clone("/dev/null")
        if not mounts.is_device(cover, 1, 3):
            raise OSError(errno.ENODEV, f"cannot mask {path}: the host's /dev/null is not the null device")
    mounts.attach(cover, target)


def _make_read_only(root: int, path: str) -> None:
    try:
        target = mounts.open_in(root, path, links=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    same = mounts.clone("", recursive=True, directory=target)
    mounts.change(same, mounts.RDONLY, recursive=True)
    mounts.attach(same, target)
