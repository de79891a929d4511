"""The native runtime: an OCI runtime spec becomes a process, with nothing between but the kernel.

Called by the launcher, a small single-threaded interpreter whose every page is paid for at each birth: standard
library and `kernel` only. The parent's half is here and short (`create`, `enter`, `adopt`); what the child does until
exec is one straight road, `rootfs.py` and then `sandbox.py`.

Errors are OSError; `error.strerror` is the whole sentence ("cannot …: why"). What goes wrong in the child comes as
such a sentence through `Born.report`.
"""

from __future__ import annotations

import errno
import gc
import os
import select
import signal

from orchestrator.kernel import capabilities, cgroups, descriptors, namespaces, pidfd, seccomp, signals, syscalls
from orchestrator.runtime import init, rootfs, sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

Spec = dict[str, "Any"]

# The child makes its network namespace itself: that takes half a millisecond, and at times waits for the end of others.
_OWN = namespaces.NEWPID | namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_GO = b"1"

_host_bounding = 0
_own_pid_namespace = -1
_time_namespace = 0


class Born:
    """A process that was just born (or adopted). Who gets it closes `pidfd`, `gate` and `report` (None: not there).

    gate:   write b"1" to let the waiting child go on to its program; closing it unwritten ends the child.
    report: non-blocking read end. From `create`: first b"1" when the sandbox stands and the child waits at the gate, or
            an error sentence and EOF. After the gate: EOF = the program runs; otherwise an error sentence, then EOF
            (the child exits by itself with 127 or 126; the reader reaps it). From `enter`: only the second half.
    cgroup: kernel.cgroups.Group: kill(), remove(), oom_kills(), populated(), pids().
    """

    __slots__ = ("_started", "cgroup", "gate", "pid", "pidfd", "report")

    def __init__(self, pid: int, held: int, gate: int | None, report: int | None, cgroup: cgroups.Group) -> None:
        self._started: int | None = None
        self.pid = pid
        self.pidfd = held
        self.gate = gate
        self.report = report
        self.cgroup = cgroup

    @property
    def start_time(self) -> int:
        """Field 22 of /proc/PID/stat, clock ticks since boot. Ask before the process is reaped (0: too late)."""
        if self._started is None:
            self._started = pidfd.start_time(self.pid) or 0
        return self._started


def warm() -> None:
    """Once in the launcher's life, before the first birth, when its modules are loaded and its signals are set.

    Makes the process non-dumpable (so that containers can never look into it or a child of it: CVE-2019-5736), opens
    what every birth needs, freezes the garbage collector (a collection in a child would copy the whole heap) and turns
    it off.
    """
    global _host_bounding, _own_pid_namespace, _time_namespace
    syscalls.call("hide from other processes", "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    _host_bounding = capabilities.bounding()
    if _own_pid_namespace < 0:
        _own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    _time_namespace = namespaces.NEWTIME if namespaces.available("time") else 0
    cgroups.hierarchy()
    signals.remember()
    gc.collect()
    gc.freeze()
    gc.disable()


def group(bundle: str, spec: Spec) -> cgroups.Group:
    """The container's cgroup, living or not."""
    return cgroups.Group(spec["linux"]["cgroupsPath"])


def powers(spec: Spec, process: dict[str, Any]) -> sandbox.Powers:
    """What `process` may do, as masks and a compiled filter; kept, since few containers differ in it."""
    granted = process.get("capabilities") or spec["process"].get("capabilities") or {}
    filtered = spec["annotations"].get("org.pyorch.seccomp", "default")
    no_new_privileges = process.get("noNewPrivileges", spec["process"].get("noNewPrivileges", True))
    key = (tuple(granted.get("bounding", ())), tuple(granted.get("effective", ())), filtered, no_new_privileges)
    if key not in _powers:
        _powers[key] = _prepared(*key)
    return _powers[key]


_powers: dict[tuple[Any, ...], sandbox.Powers] = {}


def _prepared(granted: tuple[str, ...], active: tuple[str, ...], filtered: str, nnp: bool) -> sandbox.Powers:
    asked = capabilities.mask(granted)
    lacking = asked & ~_host_bounding
    if lacking and asked != (1 << len(capabilities.NAMES)) - 1:  # "all" means all that there are
        names = ", ".join(name for number, name in enumerate(capabilities.NAMES) if lacking >> number & 1)
        raise OSError(errno.EPERM, f"cannot grant {names}: pyorch itself runs without it")
    bounding = asked & _host_bounding
    filter = None if filtered == "unconfined" else seccomp.program(bounding, packet=filtered == "packet")
    return sandbox.Powers(_host_bounding, bounding, capabilities.mask(active) & bounding, nnp, filter)


def create(bundle: str, spec: Spec, stdout: int, stderr: int) -> Born:
    """One clone3; returns at once while the child builds its sandbox from `spec` (the bundle's config.json).

    `stdout` and `stderr` stay the caller's to close. Where create raises, nothing is left behind. After a failure in
    `report`, or after the end of pid 1, the caller does cgroup.kill() and cgroup.remove() until that is True.
    """
    own = group(bundle, spec)
    might = powers(spec, spec["process"])
    cgroups.prepare(own.path.rpartition("/")[0])
    resources = spec["linux"].get("resources") or {}
    # On v2 the child is born into its group. On v1 it makes its groups itself, on its own processor.
    place = _make_v2(own, resources) if own.version == 2 else None

    def road(report: int, gate: int, placed: bool) -> None:
        _die_with_launcher(gate)
        os.setsid()
        namespaces.unshare(namespaces.NEWNET)
        if own.version == 1:
            own.make(resources)
        if not placed:
            own.enter()
        namespaces.unshare(namespaces.NEWCGROUP)  # only now is the container's own group the root of what it sees
        rootfs.build(bundle, spec, own.directories)
        sandbox.ready(None, stdout, stderr, tty=False)
        environment, _ = sandbox.confine(spec["process"], might)
        os.write(report, _GO)
        _outlive_launcher()
        if os.read(gate, 1) != _GO:
            os._exit(0)  # the launcher changed its mind, or died
        _become(spec["process"]["args"], environment, report, spec["annotations"].get("org.pyorch.init") == "true")

    try:
        return _bear(_OWN | _time_namespace, own, place, (stdout, stderr), road, gated=True)
    except OSError:
        own.remove()
        raise
    finally:
        if place is not None:
            os.close(place)


def _die_with_launcher(gate: int) -> None:
    """A half-made container must not go on making things (its groups) that no successor of the launcher knows of."""
    syscalls.call("end with the launcher", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    waiting = select.poll()
    waiting.register(gate, 0)
    if waiting.poll(0):  # its other end is closed already: the launcher died before we could ask for the signal
        os._exit(0)


def _outlive_launcher() -> None:
    """From the gate on, where the end of the pipe tells of the launcher's."""
    syscalls.call("outlive the launcher", "prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)


def enter(
    pid: int, held: int, spec: Spec, process: dict[str, Any], stdin: int, stdout: int, stderr: int, tty: bool,
    cgroup: cgroups.Group,
) -> Born:  # fmt: skip
    """One more process in the container of `pid` (its pid 1, held by the pidfd `held`), confined as the container is.

    `process` is an OCI process object (args, env, cwd, user); capabilities, rlimits, seccomp and no_new_privs come
    from `spec` where `process` does not name them. `tty`: stdin is the slave side of a pty and becomes the
    controlling terminal. The child leads a session and a process group of its own.
    """
    might = powers(spec, process)
    whole = {"rlimits": spec["process"].get("rlimits", ()), **process}
    place = os.open(cgroup.directories["unified"], os.O_RDONLY | os.O_CLOEXEC) if cgroup.version == 2 else None

    def road(report: int, gate: int, placed: bool) -> None:
        os.setsid()
        if not placed:
            cgroup.enter()
        sandbox.join(held, _time_namespace, f"container process {pid}")
        sandbox.ready(stdin, stdout, stderr, tty)
        environment, _ = sandbox.confine(whole, might)
        _become(whole["args"], environment, report, reaped=False)

    # Only children are born into the namespace set here; the launcher itself never leaves its own.
    namespaces.join(held, namespaces.NEWPID, f"container process {pid}")
    try:
        return _bear(0, cgroup, place, (stdin, stdout, stderr, held), road, gated=False)
    finally:
        namespaces.join(_own_pid_namespace, namespaces.NEWPID, "the launcher")
        if place is not None:
            os.close(place)


def adopt(bundle: str, spec: Spec, state: dict[str, Any]) -> Born:
    """The living container of a bundle, after another launcher's death: pidfd and cgroup; no gate, no report.

    Raises ProcessLookupError where the process of `state` ("pid", "start_time") is gone; `group(bundle, spec)` still
    gives what there is to clean up.
    """
    held = pidfd.hold(state["pid"], state["start_time"])
    found = Born(state["pid"], held, None, None, group(bundle, spec))
    found._started = state["start_time"]
    return found


def _make_v2(own: cgroups.Group, resources: dict[str, Any]) -> int:
    try:
        own.make(resources)
    except OSError:
        own.remove()
        raise
    return os.open(own.directories["unified"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _bear(
    flags: int,
    cgroup: cgroups.Group,
    place: int | None,
    needed: tuple[int, ...],
    road: Callable[[int, int, bool], None],
    gated: bool,
) -> Born:
    """Fork; the child keeps the descriptors `needed` and takes `road`."""
    report_in, report_out = os.pipe()
    gate_in, gate_out = os.pipe() if gated else (-1, -1)
    try:
        pid, held, placed = namespaces.born(flags, place)
        if pid == 0:
            _live(road, needed, report_out, gate_in, placed)
    except OSError:
        for descriptor in (report_in, gate_out):
            if descriptor >= 0:
                os.close(descriptor)
        raise
    finally:
        os.close(report_out)
        if gated:
            os.close(gate_in)
    os.set_blocking(report_in, False)
    return Born(pid, held, gate_out if gated else None, report_in, cgroup)


def _live(
    road: Callable[[int, int, bool], None], needed: tuple[int, ...], report: int, gate: int, placed: bool
) -> NoReturn:
    """The child's whole life in this interpreter. It never returns into the launcher's code."""
    code = 126
    try:
        descriptors.keep_only(*needed, report, *((gate,) if gate >= 0 else ()))
        road(report, gate, placed)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        os.write(report, (error.strerror or str(error)).encode())
    except BaseException as error:  # a bug of ours: it must not run on as a second launcher
        os.write(report, f"cannot make the container: {type(error).__name__}: {error}".encode())
    finally:
        os._exit(code)


def _become(arguments: list[str], environment: dict[str, str], report: int, reaped: bool) -> None:
    if reaped:
        os._exit(init.reap(lambda: _start(arguments, environment, report)))
    sandbox.run(arguments, environment)


def _start(arguments: list[str], environment: dict[str, str], report: int) -> NoReturn:
    """The program of an own pid 1: it fails on the same report."""
    code = 126
    try:
        sandbox.run(arguments, environment)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        os.write(report, (error.strerror or str(error)).encode())
    finally:
        os._exit(code)
