"""The root of a container, top to bottom: overlay, mounts, devices, what is masked, and the step into it. On a tape.

The child's own work, in its own mount namespace; a step that fails ends it. Nothing follows a path of the image out of
the root.
"""

from __future__ import annotations

import errno
import os
import stat

from orchestrator.kernel import mounting, mounts, namespaces, syscalls
from orchestrator.kernel.tape import Mark, Register, Strip, Tape, text
from orchestrator.runtime.registers import (
    DEV,
    FILE,
    FIRST_HELD,
    HOLDER,
    LAST_HELD,
    MADE,
    PROC,
    PROC_STAT,
    PROC_STAT_ADDRESS,
    ROOT,
    SYS_STAT,
    SYS_STAT_ADDRESS,
    TARGET,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.kernel.tape import What

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
# Of procfs and sysfs: where is kept on which device they lie, so that nothing is laid over anything of theirs.
_WATCHED = {"proc": (PROC_STAT, PROC_STAT_ADDRESS), "sysfs": (SYS_STAT, SYS_STAT_ADDRESS)}
_NOT_THERE = "there is no such file or directory on the host"
_AT_SYMLINK_NOFOLLOW = 0x100
_DENTRY_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


def build(bundle: str, spec: dict[str, Any], cgroup: dict[str, str]) -> list[Strip]:
    """From the host's world into the container's root. `cgroup`: controller → directory, the container sees its own."""
    name, annotations = os.path.basename(bundle), spec["annotations"]
    target, layers = os.path.join(bundle, spec["root"]["path"]), tuple(annotations["org.pyorch.layers"].split(":"))
    passing = _passing(spec.get("mounts", ()))
    strips = [shared(name, _take, source, recursive, held) for source, recursive, held in passing.values()]
    own = annotations["org.pyorch.upper"], annotations["org.pyorch.work"]
    strips.append(shared(name, _root, target, layers, *own))
    watched: tuple[str, ...] = ()
    for mount in spec.get("mounts", ()):
        kind, source, destination = mount.get("type", "bind"), mount.get("source", ""), mount["destination"]
        options = tuple(mount.get("options", ()))
        if kind == "shm":
            continue  # last of all: see below
        if kind == "cgroup" and source.startswith("/"):
            strips.append(shared(name, _show_all_cgroups, source, destination, options))
        elif kind == "cgroup":
            strips.append(shared(name, _show_cgroup, destination, options, tuple(cgroup.items())))
        else:
            held = passing[destination][2] if destination in passing else None
            strips.append(shared(name, _mount, kind, source, destination, options, watched, held))
        if kind in _WATCHED and kind not in watched:
            watched = (*watched, kind)
    linux = spec.get("linux", {})
    settings = tuple(linux.get("sysctl", {}).items())
    closed = tuple(linux.get("maskedPaths", ())), tuple(linux.get("readonlyPaths", ()))
    own_network = {"type": "network"} in linux.get("namespaces", ())
    strips.append(shared(name, _devices_and_kernel, settings, *closed, own_network))
    strips += [_device(node) for node in linux.get("devices", ())]
    strips += [_theirs(each["source"], each["destination"]) for each in spec["mounts"] if each["type"] == "shm"]
    names = (("host", "sethostname", spec.get("hostname")), ("domain", "setdomainname", spec.get("domainname")))
    strips.append(shared(name, _into, names, bool(spec["root"].get("readonly"))))
    return strips


_strips: dict[object, tuple[str, Strip]] = {}
_MOST_KEPT = 256
_TELLING = 12  # letters of an id that nothing else is called


def shared(name: str, write: Callable[..., Strip], *arguments: Any) -> Strip:
    """`write(*arguments)`, written once for all containers that differ in nothing but their name (the bundle's)."""
    if len(name) < _TELLING:  # too short to be told from other words
        return write(*arguments)
    words = repr(arguments)
    if name not in words:
        name = ""  # it is the same for everybody
    key = (write, len(name), words.replace(name, "\0") if name else words)
    if key not in _strips:
        if len(_strips) >= _MOST_KEPT:
            _strips.clear()
        _strips[key] = name, write(*arguments)
    first, strip = _strips[key]
    return strip if first == name else strip.renamed(first, name)


def _passing(wanted: list[dict[str, Any]]) -> dict[str, tuple[str, bool, int]]:
    """Of the binds that pass on what is mounted below them: destination → (source, with what is below, register)."""
    found: dict[str, tuple[str, bool, int]] = {}
    for mount in wanted:
        if mount.get("type", "bind") == "bind" and mounts.propagation(mount.get("options", ())):
            if FIRST_HELD + len(found) > LAST_HELD:
                raise OSError(errno.E2BIG, f"cannot mount {mount['source']}: too many mounts with propagation")
            found[mount["destination"]] = mount["source"], "rbind" in mount["options"], FIRST_HELD + len(found)
    return found


def _take(source: str, recursive: bool, held: int) -> Strip:
    """A copy that is still one of the host's (a peer of it): afterwards all mounts of this namespace are private."""
    tape, what = Tape(), f"mount {source}"
    mounting.clone(tape, explained(what, errno.ENOENT, _NOT_THERE), held, source, recursive)
    return tape.cut()


def _root(target: str, layers: tuple[str, ...], upper: str, work: str) -> Strip:
    """The overlay of the image's layers below the container's own, mounted on the bundle's root.path."""
    tape, what = Tape(), f"mount an overlay on {target}"
    tape.call("start", "umask", 0)
    mounting.private(tape)
    own = os.path.dirname(upper)
    # The mode of `upper` is that of "/".
    for directory, mode in ((target, 0o700), (own, 0o700), (upper, 0o755), (work, 0o700)):
        made = f"make the directory {directory}"
        tape.call(made, "mkdirat", syscalls.AT_FDCWD, text(directory), mode, on={errno.EEXIST: None})
    mounting.overlay(tape, what, target, layers, upper, work)
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    tape.call(what, "openat", syscalls.AT_FDCWD, text(target), flags, into=ROOT)
    return tape.cut()


def _mount(
    kind: str, source: str, destination: str, options: tuple[str, ...], watched: tuple[str, ...], held: int | None
) -> Strip:
    """`watched`: the kinds of those kernel filesystems mounted so far that nothing may be laid over. `held`: the
    register of what `_take` has taken."""
    tape, what = Tape(), f"mount {source or kind!r} on {destination!r}"
    attributes, rest = mounts.sort(options)
    made = MADE if held is None else held
    if kind == "bind":
        recursive = "rbind" in options
        if held is None:
            mounting.clone(tape, explained(what, errno.ENOENT, _NOT_THERE), made, source, recursive)
        _dress(tape, what, made, attributes, options)
        mounting.look(tape, what, made)
    else:
        mounting.make(tape, what, made, kind, rest, source or kind, attributes)
    strict = kind in _KERNEL_FILESYSTEMS or destination == "/dev"
    mounting.target_in(tape, what, TARGET, ROOT, destination, None if kind == "bind" else True, links=not strict)
    if watched:
        mounting.look(tape, what, TARGET)  # by whatever link it was reached (CVE-2019-19921)
    taken = explained(what, errno.EPERM, "that place is the kernel's")
    for filesystem in watched:
        mounting.unless_on(tape, taken, _WATCHED[filesystem][0], errno.EPERM)
    if kind in _WATCHED:
        mounting.look(tape, what, made, _WATCHED[kind][1])
    mounting.attach(tape, what, made, TARGET)
    return tape.cut()


def _dress(tape: Tape, what: What, made: int, attributes: int, options: tuple[str, ...]) -> None:
    """What a bind allows: of a read-only one ("ro") what is mounted below may be written to, unless it says "rro"."""
    recursive = "rbind" in options
    everywhere = attributes & ~mounts.RDONLY if "rro" not in options else attributes
    for wanted, below in ((everywhere, recursive), (attributes & ~everywhere, False)):
        if wanted:
            mounting.change(tape, what, made, wanted, below)
    if mounts.propagation(options) == mounts.SLAVE:
        mounting.receive(tape, what, made)


def explained(what: str, number: int, why: str) -> What:
    """For one errno a better reason than the kernel's words."""

    def sentence(found: int, _: object) -> OSError:
        return OSError(found, f"cannot {what}: {why if found == number else os.strerror(found)}")

    return sentence


def _show_cgroup(destination: str, options: tuple[str, ...], groups: tuple[tuple[str, str], ...]) -> Strip:
    """The container's own group, read-only, where programs that size themselves look for it."""
    tape, what, cgroup = Tape(), f"mount 'cgroup' on {destination!r}", dict(groups)
    attributes = mounts.sort(options)[0]
    if "unified" in cgroup:
        _show(tape, what, cgroup["unified"], destination, attributes)
        return tape.cut()
    mounting.make(tape, what, HOLDER, "tmpfs", ("mode=755", "size=4k"), "cgroup", attributes & ~mounts.RDONLY)
    for controller in cgroup:
        tape.call(what, "mkdirat", Register(HOLDER), text(controller), 0o755)
    mounting.target_in(tape, what, TARGET, ROOT, destination, True, links=False)
    mounting.attach(tape, what, HOLDER, TARGET)
    for controller, directory in cgroup.items():
        _show(tape, what, directory, f"{destination}/{controller}", attributes)
    mounting.change(tape, what, HOLDER, mounts.RDONLY)
    return tape.cut()


def _show_all_cgroups(source: str, destination: str, options: tuple[str, ...]) -> Strip:
    """The host's, for who shares its cgroup namespace."""
    tape, what = Tape(), f"mount 'cgroup' on {destination!r}"
    mounting.clone(tape, what, MADE, source, recursive=True)
    mounting.change(tape, what, MADE, mounts.sort(options)[0], recursive=True)
    mounting.target_in(tape, what, TARGET, ROOT, destination, True, links=False)
    mounting.attach(tape, what, MADE, TARGET)
    return tape.cut()


def _theirs(namespace: str, destination: str) -> Strip:
    """What another container has mounted at `destination`, here too: taken in its mount namespace, put down in ours.

    Whoever changes the mount namespace stands at its top afterwards, so this comes when no path of the host is needed
    any more.
    """
    tape, what = Tape(), f"share {destination!r}"
    flags = os.O_RDONLY | os.O_CLOEXEC
    tape.call(what, "openat", syscalls.AT_FDCWD, b"/proc/self/ns/mnt", flags, into=HOLDER)
    tape.call(what, "openat", syscalls.AT_FDCWD, text(namespace), flags, into=FILE)
    tape.call(what, "setns", Register(FILE), namespaces.NEWNS)
    mounting.clone(tape, what, MADE, destination)
    tape.call(what, "setns", Register(HOLDER), namespaces.NEWNS)
    mounting.target_in(tape, what, TARGET, ROOT, destination, True, links=False)
    mounting.attach(tape, what, MADE, TARGET)
    return tape.cut()


def _show(tape: Tape, what: What, directory: str, destination: str, attributes: int) -> None:
    mounting.clone(tape, what, MADE, directory)
    mounting.change(tape, what, MADE, attributes)
    mounting.target_in(tape, what, TARGET, ROOT, destination, True, links=False)
    mounting.attach(tape, what, MADE, TARGET)


def _devices_and_kernel(
    settings: tuple[tuple[str, str], ...], masked: tuple[str, ...], read_only: tuple[str, ...], own_network: bool
) -> Strip:
    tape = Tape()
    _devices(tape)
    mounting.open_in(tape, "open '/proc'", PROC, ROOT, "/proc", _DENTRY_DIRECTORY, links=False)
    if own_network:
        _no_ipv6(tape)
    _kernel_settings(tape, settings)
    for path in masked:
        _mask(tape, path)
    for path in read_only:
        _make_read_only(tape, path)
    return tape.cut()


def _devices(tape: Tape) -> None:
    """The six devices every program may count on, and the usual links."""
    mounting.open_in(tape, "open '/dev'", DEV, ROOT, "/dev", _DENTRY_DIRECTORY, links=False)
    for name, major, minor in _DEVICES:
        what, refused, done = f"make /dev/{name}", Mark(), Mark()
        mode, number = stat.S_IFCHR | 0o666, os.makedev(major, minor)
        tape.call(what, "mknodat", Register(DEV), text(name), mode, number, on={errno.EPERM: refused})
        tape.skip_to(done)
        tape.mark(refused)  # pyorch itself runs where no device may be made: show the host's
        mounting.clone(tape, what, MADE, f"/dev/{name}")
        mounting.target_in(tape, what, TARGET, DEV, name, False, links=False)
        mounting.attach(tape, what, MADE, TARGET)
        tape.mark(done)
    for name, target in _LINKS:
        tape.call(f"make /dev/{name}", "symlinkat", text(target), Register(DEV), text(name))


def _device(node: dict[str, Any]) -> Strip:
    """One more device, where the spec wants it; what it may be opened for is the control group's to say."""
    tape, path, refused, done = Tape(), str(node["path"]), Mark(), Mark()
    what, (directory, _, name) = f"make device {path}", path.rpartition("/")
    mode = (stat.S_IFCHR if node["type"] == "c" else stat.S_IFBLK) | int(node.get("fileMode", 0o666))
    number = os.makedev(int(node["major"]), int(node["minor"]))
    mounting.target_in(tape, what, HOLDER, ROOT, directory or "/", True)
    on = {errno.EEXIST: done, errno.EPERM: refused}
    tape.call(what, "mknodat", Register(HOLDER), text(name), mode, number, on=on)
    owner, group = int(node.get("uid", 0)), int(node.get("gid", 0))
    tape.call(what, "fchownat", Register(HOLDER), text(name), owner, group, _AT_SYMLINK_NOFOLLOW)
    tape.skip_to(done)
    tape.mark(refused)
    mounting.clone(tape, what, MADE, str(node.get("source", path)))
    mounting.target_in(tape, what, TARGET, ROOT, path, False)
    mounting.attach(tape, what, MADE, TARGET)
    tape.mark(done)
    return tape.cut()


def _no_ipv6(tape: Tape) -> None:
    """Off in a network namespace of its own: see network.attach."""
    no_ipv6 = Mark()  # a kernel without it
    for path in ("sys/net/ipv6/conf/all/disable_ipv6", "sys/net/ipv6/conf/default/disable_ipv6"):
        _write(tape, "switch IPv6 off", path, "1", no_ipv6)
    tape.mark(no_ipv6)


def _kernel_settings(tape: Tape, settings: tuple[tuple[str, str], ...]) -> None:
    """Sysctls of the new namespaces, through the procfs we mounted ourselves."""
    for name, value in settings:
        _write(tape, f"set sysctl {name}={value}", "sys/" + name.replace(".", "/"), value)


def _write(tape: Tape, what: What, path: str, value: str, missing: Mark | None = None) -> None:
    mounting.open_beneath(tape, what, FILE, PROC, path, os.O_WRONLY, missing)
    tape.call(what, "write", Register(FILE), written := text(value), len(written))


def _mask(tape: Tape, path: str) -> None:
    """Nothing is to be seen there: a file reads like /dev/null (the host's own, checked), a directory is empty."""
    what, directory, cover, missing = f"mask {path}", Mark(), Mark(), Mark()
    mounting.open_in(tape, what, TARGET, ROOT, path, links=False, missing=missing)
    mounting.look(tape, what, TARGET)
    mounting.if_directory(tape, directory)
    mounting.clone(tape, what, MADE, "/dev/null")
    mounting.look(tape, what, MADE)
    mounting.if_device(tape, 1, 3, cover)
    other = explained(what, errno.ENODEV, "the host's /dev/null is not the null device")
    tape.unless_equal(other, 0, 0, 0, errno.ENODEV)
    tape.mark(directory)
    attributes = mounts.RDONLY | mounts.NOSUID | mounts.NODEV
    mounting.make(tape, what, MADE, "tmpfs", ("size=4k", "mode=555"), "masked", attributes)
    tape.mark(cover)
    mounting.attach(tape, what, MADE, TARGET)
    tape.mark(missing)


def _make_read_only(tape: Tape, path: str) -> None:
    what, missing = f"make {path} read-only", Mark()
    mounting.open_in(tape, what, TARGET, ROOT, path, links=False, missing=missing)
    mounting.clone(tape, what, MADE, "", recursive=True, directory=Register(TARGET))
    mounting.change(tape, what, MADE, mounts.RDONLY, recursive=True)
    mounting.attach(tape, what, MADE, TARGET)
    tape.mark(missing)


def _into(names: tuple[tuple[str, str, str | None], ...], read_only: bool) -> Strip:
    tape = Tape()
    if read_only:
        mounting.change(tape, "make the root read-only", ROOT, mounts.RDONLY)
    mounting.pivot(tape, ROOT)
    for what, call, name in names:
        if name:
            tape.call(f"set the {what} name", call, text(name), len(os.fsencode(name)))
    return tape.cut()
