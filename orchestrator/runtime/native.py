"""The native runtime: an OCI runtime spec becomes a process, with nothing between but the kernel.

Called by the launcher, a small single-threaded interpreter: standard library and `kernel` only. What a child does until
its exec is one straight road, written on a tape in `rootfs.py` and then `sandbox.py`. It is walked in the launcher's
own memory (`kernel.walker`), or, where that cannot be, by a forked interpreter: see `_shares_memory`.

Errors are OSError; `error.strerror` is the whole sentence ("cannot …: why"). What goes wrong in the child is such a
sentence in `Born.settle`.
"""

from __future__ import annotations

import errno
import gc
import os
import signal

from orchestrator.kernel import (
    capabilities,
    cgroups,
    descriptors,
    namespaces,
    parents,
    pidfd,
    seccomp,
    signals,
    syscalls,
    walker,
)
from orchestrator.kernel.tape import ANY, Mark, Register, Strip, Tape, joined, text
from orchestrator.runtime import accounts, registers, rootfs, sandbox, spares
from orchestrator.runtime.births import GO, NETWORKED, Born, End, bear

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Spec = dict[str, "Any"]

# The child makes its network namespace itself: that takes half a millisecond, and at times waits for the end of others.
_CLONED = {"pid": namespaces.NEWPID, "mount": namespaces.NEWNS, "uts": namespaces.NEWUTS, "ipc": namespaces.NEWIPC}
_ENTERED = {"uts": namespaces.NEWUTS, "ipc": namespaces.NEWIPC, "network": namespaces.NEWNET}
_JOINED = namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC | namespaces.NEWNET | namespaces.NEWCGROUP
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

_host_bounding = 0
_time_namespace = 0
_memory_may_be_shared = False


def warm(share_memory: bool = True) -> None:
    """Once in the launcher's life, before the first birth, when its modules are loaded and its signals are set.

    Makes the process non-dumpable (so that containers can never look into it or a child of it: CVE-2019-5736), opens
    what every birth needs, freezes the garbage collector (a collection in a forked child would copy the whole heap) and
    turns it off. share_memory: False: children are forked even where they need not be.
    """
    global _host_bounding, _time_namespace, _memory_may_be_shared
    syscalls.call("hide from other processes", "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    _host_bounding = capabilities.bounding()
    _time_namespace = namespaces.NEWTIME if namespaces.available("time") else 0
    cgroups.hierarchy()
    signals.remember()
    _memory_may_be_shared = share_memory and walker.ready()
    gc.collect()
    gc.freeze()
    gc.disable()


def group(bundle: str, spec: Spec) -> cgroups.Group:
    """The container's cgroup, living or not."""
    return cgroups.Group(spec["linux"]["cgroupsPath"], spec["linux"].get("resources"))


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


def _shares_memory(*powers: sandbox.Powers) -> bool:
    """Whether a child may walk its tape in our memory: not beside processes that could look into it (ptrace)."""
    return _memory_may_be_shared and not any(map(_traces, powers))


def _traces(might: sandbox.Powers) -> bool:
    return bool(might.bounding & capabilities.mask(("SYS_PTRACE",)))


_watched: set[int] = set()  # inodes of pid namespaces that a tracer of another container has joined


def looks_into_others(spec: Spec) -> bool:
    """Whether it stands in another container's pid namespace and may trace what it finds there (a debugger's sidecar).

    Execs of that other container that were made ready before it came must not be used any more.
    """
    return bool(_namespaces(spec).get("pid")) and _traces(powers(spec, spec["process"]))


def create(bundle: str, spec: Spec, stdout: int, stderr: int, stdin: int = -1) -> Born:
    """One clone3; returns at once while the child builds its sandbox from `spec` (the bundle's config.json).

    The standard descriptors stay the caller's to close; without `stdin` it is /dev/null. With process.terminal the
    child takes the first pty of its devpts when its gate opens: it is the caller's to make it before. Where create
    raises, nothing is left behind. After a failure in `report`, or after the end of pid 1, the caller does
    cgroup.kill() and cgroup.remove() until that is True.
    """
    own = group(bundle, spec)
    process, might = spec["process"], powers(spec, spec["process"])
    tty = bool(process.get("terminal"))
    reaped = spec["annotations"].get("org.pyorch.init") == "true"
    end = End(os.path.basename(bundle), process, might, reaped)
    resources = spec["linux"].get("resources") or {}
    parents.prepare(own.path.rpartition("/")[0], resources)
    score = process.get("oomScoreAdj")
    spaces = _namespaces(spec)
    opening = rootfs.shared(os.path.basename(own.path), _opening, score, own.path, resources, tuple(spaces.items()))
    root = rootfs.build(bundle, spec, own.directories)
    flags = sum(flag for kind, flag in _CLONED.items() if spaces.get(kind) == "")
    joined_pids = os.open(spaces["pid"], os.O_RDONLY | os.O_CLOEXEC) if spaces.get("pid") else -1
    if joined_pids >= 0 and _traces(might):
        _watched.add(os.fstat(joined_pids).st_ino)
    # On v2 the child is born into its group. On v1 it makes its groups itself, on its own processor.
    place = _make_v2(own, resources) if own.version == 2 else None
    network = spares.take() if spaces.get("network") == "" else -1

    def beginning(report: int, gate: int) -> Strip:
        tape, kept = Tape(), (stdin, stdout, stderr, report, gate, network)
        descriptors.steps_to_keep_only(tape, *(fd for fd in kept if fd >= 0))
        return joined([walker.BEGINNING, tape.cut(), opening, *root, _waiting(stdin >= 0, tty)])

    # `init: true` goes on as an interpreter of its own. In other people's pid namespace somebody may look into us.
    shared = _shares_memory(might) and not reaped and spaces.get("pid") == ""
    try:
        given = (stdin, stdout, stderr)
        return bear(flags | _time_namespace, own, place, given, joined_pids, shared, beginning, end, network=network)
    except OSError:
        own.remove()
        raise
    finally:
        for descriptor in (place if place is not None else -1, joined_pids, network):
            if descriptor >= 0:
                os.close(descriptor)


def _namespaces(spec: Spec) -> dict[str, str]:
    """Kind → "" for one of its own, a path for one to join; the host's are not among them."""
    return {each["type"]: each.get("path") or "" for each in spec["linux"]["namespaces"]}


def _opening(score: int | None, path: str, resources: dict[str, Any], kinds: tuple[tuple[str, str], ...]) -> Strip:
    tape, own, spaces = Tape(), cgroups.Group(path, resources), dict(kinds)
    _die_with_launcher(tape)
    _share_in_ooms(tape, score)
    tape.call("lead a session of its own", "setsid")
    if spaces.get("network") == "":
        _own_network(tape)
    for kind, flag in _ENTERED.items():
        if theirs := spaces.get(kind):
            what = f"enter the {kind} namespace {theirs}"
            tape.call(what, "openat", syscalls.AT_FDCWD, text(theirs), os.O_RDONLY | os.O_CLOEXEC, into=registers.FILE)
            tape.call(what, "setns", Register(registers.FILE), flag)
    tape.call("say that the network namespace is there", "write", Register(registers.REPORT), NETWORKED, 1)
    if own.version == 1:
        own.steps(tape, resources)
    if spaces.get("cgroup") == "":  # only now is the container's own group the root of what it sees
        tape.call("make new namespaces", "unshare", namespaces.NEWCGROUP)
    return tape.cut()


def _own_network(tape: Tape) -> None:
    none, entered, ahead = Mark(), Mark(), Register(registers.NETWORK)
    tape.skip_if(ahead, -1, -1, none)
    tape.call("enter the network namespace made ahead", "setns", ahead, namespaces.NEWNET)
    tape.skip_to(entered)
    tape.mark(none)
    tape.call("make new namespaces", "unshare", namespaces.NEWNET)
    tape.mark(entered)


def make_ready(living: int) -> None:
    """For the time when nobody waits: what the next birth takes, as long as there are containers at all."""
    if living and _memory_may_be_shared:
        spares.stock()
    else:
        spares.drop()


def _die_with_launcher(tape: Tape) -> None:
    """A half-made container must not go on making things (its groups) that no successor of the launcher knows of."""
    closed, open_ = Mark(), Mark()
    tape.call("end with the launcher", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    at_once = bytes(16)  # struct timespec
    tape.call("look at the gate", "ppoll", Register(registers.POLL_ADDRESS), 1, at_once, 0, 0, then=closed)
    tape.skip_to(open_)
    tape.mark(closed)  # its other end is gone: the launcher died before we could ask for the signal
    tape.call("end", "exit", 0)
    tape.mark(open_)


def _share_in_ooms(tape: Tape, score: int | None) -> None:
    """The launcher is spared from the kernel's OOM killer, a container is not (proc(5), oom_score_adj)."""
    what, without = f"set oom_score_adj to {score or 0}", Mark()
    flags, written = os.O_WRONLY | os.O_CLOEXEC, text(str(score or 0))
    file = Register(registers.FILE)
    path = b"/proc/self/oom_score_adj"
    tape.call(what, "openat", syscalls.AT_FDCWD, path, flags, into=registers.FILE, on={ANY: without})
    tape.call(what, "write", file, written, len(written), on={} if score is not None else {ANY: None})
    tape.call(what, "close", file)
    tape.mark(without)


def _waiting(stdin: bool, tty: bool) -> Strip:
    """The sandbox stands: say so, and wait at the gate for the network."""
    if (stdin, tty) in _waiting_strips:
        return _waiting_strips[stdin, tty]
    tape, opened = Tape(), Mark()
    sandbox.ready(tape, stdin=stdin, tty=False)
    tape.call("say that the sandbox stands", "write", Register(registers.REPORT), GO, 1)
    # From here on the end of the pipe tells of the launcher's.
    tape.call("outlive the launcher", "prctl", _PR_SET_PDEATHSIG, 0, 0, 0, 0)
    scratch = Register(registers.SCRATCH_ADDRESS)
    tape.call("wait at the gate", "read", Register(registers.GATE), scratch, 1, then=opened)
    tape.call("end", "exit", 0)  # the launcher changed its mind, or died
    tape.mark(opened)
    if tty:
        sandbox.take_terminal(tape)
    tape.jump(Register(registers.NEXT))
    _waiting_strips[stdin, tty] = tape.cut()
    return _waiting_strips[stdin, tty]


_waiting_strips: dict[tuple[bool, bool], Strip] = {}


class Entrance:
    """An exec made ready: `enter` may be called with it any number of times where `lasting`, else at once and once."""

    __slots__ = ("end", "lasting", "shared", "strip")

    def __init__(self, end: End, shared: bool, strip: Strip, lasting: bool) -> None:
        self.end, self.shared, self.strip, self.lasting = end, shared, strip, lasting


def prepare(pid: int, spec: Spec, process: dict[str, Any], tty: bool, cgroup: cgroups.Group) -> Entrance:
    """One more process in the container of `pid` (its pid 1), confined as the container is: all but its descriptors.

    `process` is an OCI process object (args, env, cwd, user); capabilities, rlimits, seccomp and no_new_privs come
    from `spec` where `process` does not name them. `tty`: stdin is the slave side of a pty and becomes the
    controlling terminal. The child leads a session and a process group of its own.
    """
    might = powers(spec, process)
    whole = {"rlimits": spec["process"].get("rlimits", ()), **process}
    shared, end = (
        _shares_memory(might, powers(spec, spec["process"])) and _namespaces(spec).get("pid") == "" and not _seen(pid),
        End(cgroup.path.rpartition("/")[2], whole, might),
    )
    tape = Tape()
    _share_in_ooms(tape, spec["process"].get("oomScoreAdj"))
    tape.call("lead a session of its own", "setsid")
    if cgroup.version == 1:
        cgroup.enter(tape)
    # Who shares our memory cannot join a time namespace; it has got one of its own.
    sandbox.join(tape, _JOINED if shared else _JOINED | _time_namespace)
    sandbox.ready(tape, stdin=True, tty=tty)
    if shared:
        strips = [walker.BEGINNING, tape.cut(), end.strip(pid)]
    else:
        tape.jump(0)
        strips = [tape.cut()]
    return Entrance(end, shared, joined(strips), not accounts.needed(whole.get("user") or {}))


def _seen(pid: int) -> bool:
    """Whether a tracer of another container stands in the pid namespace of `pid`."""
    return bool(_watched) and os.stat(f"/proc/{pid}/ns/pid").st_ino in _watched


def enter(
    held: int, entrance: Entrance, stdin: int, stdout: int, stderr: int, cgroup: cgroups.Group, reported: bool = True
) -> Born:
    """The process that `prepare` made ready, in the container whose pid 1 is held by the pidfd `held`.

    reported: False: there is no `report`; what went wrong is to be asked for when it has ended. Nothing that is given
    here may be closed before `Born.known`.
    """
    place = os.open(cgroup.directories["unified"], os.O_RDONLY | os.O_CLOEXEC) if cgroup.version == 2 else None

    def beginning(_: int, __: int) -> Strip:
        return entrance.strip

    flags, given = _time_namespace if entrance.shared else 0, (stdin, stdout, stderr)
    born: Born | None = None
    try:
        born = bear(flags, cgroup, place, given, held, entrance.shared, beginning, entrance.end, False, reported)
        return born
    finally:
        if place is not None and not (born and born.closes(place)):
            os.close(place)


def adopt(bundle: str, spec: Spec, state: dict[str, Any]) -> Born:
    """The living container of a bundle, after another launcher's death: pidfd and cgroup; no gate, no report.

    Raises ProcessLookupError where the process of `state` ("pid", "start_time") is gone; `group(bundle, spec)` still
    gives what there is to clean up.
    """
    held = pidfd.hold(state["pid"], state["start_time"])
    if looks_into_others(spec):
        _watched.add(os.stat(f"/proc/{state['pid']}/ns/pid").st_ino)
    found = Born(state["pid"], held, None, None, group(bundle, spec))
    found.started = state["start_time"]
    return found


def _make_v2(own: cgroups.Group, resources: dict[str, Any]) -> int:
    try:
        own.make(resources)
    except OSError:
        own.remove()
        raise
    return os.open(own.directories["unified"], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
