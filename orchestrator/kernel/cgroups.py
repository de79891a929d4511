"""Control groups, v1 and v2 behind the same functions. man 7 cgroups, Documentation/admin-guide/cgroup-v{1,2}.

One group per container below one parent of ours: `/pyorch-<instance>/<id>`. The parent carries what all of them share
(the device rules; on v1 a share of the processor worth more than one task), a child its own limits.
"""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress

from orchestrator.kernel import devices, freezer, limits, rare, syscalls
from orchestrator.kernel.tape import Register, text

TYPE_CHECKING = False  # typing itself would cost the launcher a megabyte
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from orchestrator.kernel.tape import Tape

MOUNT = "/sys/fs/cgroup"
_V1_USED = ("cpu", "cpuacct", "memory", "pids", "devices")
_V1_KNOWN = (*_V1_USED, *rare.CONTROLLERS)
_V1_SHARED = "devices"  # one list for all: every container is in the parent's group itself
OWN_DEVICES = "-devices"  # parents that end so hold containers with device rules of their own
_OF_SWAP = ("memory.memsw.limit_in_bytes", "memory.swap.max")
_FILE = 243  # a register for the time of one write


def mounted(mounts: str = "/proc/self/mounts") -> tuple[dict[str, str], str | None]:
    """(v1 controller → mount point, mount point of v2 or None)."""
    controllers: dict[str, str] = {}
    unified = None
    with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            _, point, fstype, options = line.split(" ")[:4]
            if fstype == "cgroup":
                controllers.update({option: point for option in options.split(",") if option in _V1_KNOWN})
            elif fstype == "cgroup2":
                unified = unified or point
    return controllers, unified


class Hierarchy:
    """How control groups are laid out on this machine; `version` 1 or 2. One per process, see `hierarchy`."""

    def __init__(self) -> None:
        self.v1, self.unified = mounted()
        self.version = 1 if "memory" in self.v1 or "pids" in self.v1 else 2
        if self.version == 2 and self.unified is None:
            raise OSError(errno.ENOENT, f"cannot limit anything: no cgroup filesystem is mounted at {MOUNT}")
        self.ready: dict[str, str] = {}  # parents that are set up → a directory of theirs
        self.ready_rarely: set[tuple[str, str]] = set()  # … and (parent, controller) of those that few need
        self._counts_swap: bool | None = None

    def directories(self, path: str) -> dict[str, str]:
        """Controller (v2: "unified") → directory of the group `path`. v1 hierarchies mounted together come once."""
        if self.version == 2:
            return {"unified": self.unified + path} if self.unified else {}
        often = [(controller, point) for controller, point in self.v1.items() if controller in _V1_USED]
        once = {point: controller for controller, point in reversed(often)}
        return {controller: point + path for point, controller in once.items()}

    def counts_swap(self, parent: str, file: str) -> bool:
        """Whether groups below `parent` have this file for swap; the answer is the kernel's and does not change."""
        if self._counts_swap is None:
            self._counts_swap = os.path.exists(os.path.join(parent, file))
        return self._counts_swap


_hierarchy: Hierarchy | None = None


def hierarchy() -> Hierarchy:
    global _hierarchy
    if _hierarchy is None:
        _hierarchy = Hierarchy()
    return _hierarchy


def write(path: str, value: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"cannot set {path} to {value}: {error.strerror}") from error


def _steps_to_write(tape: Tape, path: str, value: str) -> None:
    what = f"set {path} to {value}"
    tape.call(what, "openat", syscalls.AT_FDCWD, text(path), os.O_WRONLY | os.O_CLOEXEC, into=_FILE)
    tape.call(what, "write", Register(_FILE), written := text(value), len(written))
    tape.call(what, "close", Register(_FILE))


def read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read()


def children(path: str) -> list[str]:
    """The paths of the groups right below the group `path`; [] where there is no such group."""
    found: set[str] = set()
    for directory in hierarchy().directories(path).values():
        with suppress(FileNotFoundError):
            found |= {f"{path}/{entry.name}" for entry in os.scandir(directory) if entry.is_dir()}
    return sorted(found)


class Group:
    """One container's group. `path` like "/pyorch-1a2b3c/0123456789ab" below each hierarchy's root.

    `resources`: those it is made with; by them it may be in hierarchies that few are in.
    """

    def __init__(self, path: str, resources: Mapping[str, Any] | None = None) -> None:
        if not path.startswith("/") or ".." in path.split("/") or path.count("/") != 2:
            raise OSError(errno.EINVAL, f"cannot use cgroup path {path!r}: it must look like /parent/name")
        self.path = path
        self.version = hierarchy().version
        self.directories = hierarchy().directories(path)
        self._own_devices = path.rpartition("/")[0].endswith(OWN_DEVICES)
        shared = None if self._own_devices else self.directories.pop(_V1_SHARED, None)
        self._shared = shared and os.path.dirname(shared)
        for controller in rare.asked(resources or {}) if self.version == 1 else ():
            if point := hierarchy().v1.get(controller):
                self.directories[controller] = point + path

    # -- birth ---------------------------------------------------------------------------------------------------

    def make(self, resources: Mapping[str, Any]) -> None:
        """Make the group with the limits of an OCI `linux.resources` (cpu, memory, pids). The parent must be ready."""
        for directory in self.directories.values():
            with suppress(FileExistsError):  # left by a birth that was cut short; the limits are written anew
                os.mkdir(directory, 0o755)
        for file, value in (limits.v2 if self.version == 2 else limits.v1)(resources):
            if value is not None:
                self._set(file, value)
        for file, value in rare.v2(resources):
            self._set(_present(self.directories["unified"], file), value)
        if self._own_devices:
            devices.allow_v2(self.directories["unified"], resources.get("devices") or ())

    def limit(self, resources: Mapping[str, Any]) -> None:
        """Rewrite the limits of a living group; what is not named has no limit any more. Raises OSError.

        The order matters on the way up as on the way down (memory and swap bound each other): what is refused is
        written again after the rest.
        """
        table = limits.v2 if self.version == 2 else limits.v1
        pairs = [(file, value if value is not None else limits.UNSET.get(file)) for file, value in table(resources)]
        again = []
        for file, value in pairs:
            if value is not None:
                try:
                    self._set(file, value)
                except OSError as error:
                    if error.errno not in (errno.EINVAL, errno.EBUSY):
                        raise
                    again.append((file, value))
        for file, value in again:
            self._set(file, value)

    def differs(self, resources: Mapping[str, Any]) -> str | None:
        """The first limit that is not as `resources` say, in words; None where all are, or the group is gone."""
        for file, value in (limits.v2 if self.version == 2 else limits.v1)(resources):
            directory = self.directories.get("unified") or self._v1(file.partition(".")[0])
            if value is None or directory is None or file == "memory.oom_control":
                continue
            try:
                found = read(f"{directory}/{file}").strip()
            except OSError:
                continue
            if found != value and not limits.as_rounded(found, value):
                return f"{file} is {found} instead of {value}"
        return None

    def limiting(self, resources: Mapping[str, Any]) -> list[str]:
        """The files that `differs` looks at."""
        table = (limits.v2 if self.version == 2 else limits.v1)(resources)
        files = [file for file, value in table if value is not None and file != "memory.oom_control"]
        directories = [self.directories.get("unified") or self._v1(file.partition(".")[0]) for file in files]
        return [f"{place}/{file}" for place, file in zip(directories, files, strict=True) if place is not None]

    def _v1(self, controller: str) -> str | None:
        point = hierarchy().v1.get(controller)
        return point + self.path if point else None

    def _set(self, file: str, value: str) -> None:
        if path := self._target(file, value):
            write(path, value)

    def _target(self, file: str, value: str) -> str | None:
        directory = self.directories.get("unified") or self._v1(file.partition(".")[0])
        if directory is None:
            raise OSError(errno.ENOSYS, f"cannot set {file} to {value}: this kernel has no such cgroup controller")
        if file in _OF_SWAP and not hierarchy().counts_swap(os.path.dirname(directory), file):
            return None  # swapaccount=0: then there is nothing to bound either
        return os.path.join(directory, file)

    def steps(self, tape: Tape, resources: Mapping[str, Any]) -> None:
        """`make` and `enter` as the child's own work: on v1 that spares the launcher a wait for other processors."""
        for directory in self.directories.values():
            what = f"make the control group {directory}"
            tape.call(what, "mkdirat", syscalls.AT_FDCWD, text(directory), 0o755, on={errno.EEXIST: None})
        for file, value in limits.v1(resources):
            if value is not None and (path := self._target(file, value)):
                _steps_to_write(tape, path, value)
        for file, value in rare.v1(resources, self._memory_nodes()):
            if path := self._target(file, value):
                _steps_to_write(tape, _present(os.path.dirname(os.path.dirname(path)), file, path), value)
        if self._own_devices and (own := self.directories.get(_V1_SHARED)):
            for file, row in devices.rows_v1(resources.get("devices") or ()):
                _steps_to_write(tape, f"{own}/{file}", row)
        self.enter(tape)

    def _memory_nodes(self) -> str:
        own = self.directories.get("cpuset")
        return read(f"{os.path.dirname(own)}/cpuset.mems").strip() if own else ""

    def enter(self, tape: Tape) -> None:
        """The process that walks the tape, which has one thread, goes in.

        v1: through `tasks`, one thread. cgroup.procs would take a lock for the whole thread group and wait 7 ms for it.
        """
        if self.version == 2:
            _steps_to_write(tape, f"{self.directories['unified']}/cgroup.procs", "0")
            return
        for directory in (*self.directories.values(), *((self._shared,) if self._shared else ())):
            _steps_to_write(tape, f"{directory}/tasks", "0")

    # -- life ----------------------------------------------------------------------------------------------------

    def processes(self) -> list[int]:
        """Process ids (of our own pid namespace) in the group; [] where it is gone."""
        directory = self.directories.get("unified") or self._v1("pids") or self._v1("memory") or ""
        try:
            return [int(line) for line in read(f"{directory}/cgroup.procs").split()]
        except (FileNotFoundError, OSError) as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return []
            raise

    def freeze(self) -> bool:
        """Let all of it stand still. False: come again."""
        return freezer.freeze(self)

    def thaw(self) -> None:
        freezer.thaw(self)

    def paused(self) -> bool:
        return freezer.frozen(self)

    def populated(self) -> bool:
        return bool(self.processes())

    def _number(self, v1: str, v2: str, key: str | None = None) -> int:
        """A number out of a file of the group, or of the line of it that begins with `key`; 0 where there is none."""
        file = v2 if self.version == 2 else v1
        directory = self.directories.get("unified") or self._v1(file.partition(".")[0])
        try:
            text = read(f"{directory}/{file}")
        except FileNotFoundError:
            return 0
        if key is None:
            return int(text)
        return next((int(line.split()[1]) for line in text.splitlines() if line.split()[0] == key), 0)

    def oom_kills(self) -> int:
        """How many processes of the group were killed for want of memory so far."""
        return self._number("memory.oom_control", "memory.events", "oom_kill")

    def pids(self) -> int:
        return self._number("pids.current", "pids.current")

    def cpu(self) -> int:
        """Nanoseconds of processor time so far."""
        if self.version == 2:
            return 1000 * self._number("", "cpu.stat", "usage_usec")
        return self._number("cpuacct.usage", "")

    def memory(self) -> tuple[int, int]:
        """(bytes in use without what the kernel could take back at once, the limit; 0: none). Docker counts so too."""
        whole = self._number("memory.usage_in_bytes", "memory.current")
        cache = self._number(
            "memory.stat", "memory.stat", "inactive_file" if self.version == 2 else "total_inactive_file"
        )
        file = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        limit = limit_in(f"{self.directories.get('unified') or self._v1('memory')}/{file}")
        return max(0, whole - cache), limit or 0

    # -- end -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL every process of the group, those being forked at this moment too. No error where it is gone."""
        if self.version == 1:
            freezer.thaw(self)  # there a frozen process does not die
        if self.version == 2 and os.path.exists(file := f"{self.directories['unified']}/cgroup.kill"):  # Linux 5.14
            write(file, "1")
            return
        if pids := self._v1("pids"):
            try:
                write(f"{pids}/pids.max", "0")  # no process more: the loop below comes to an end
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise
        done: set[int] = set()
        while left := set(self.processes()) - done:
            for pid in left:
                with suppress(ProcessLookupError):  # it ended by itself in between
                    os.kill(pid, signal.SIGKILL)
            done |= left

    def remove(self) -> bool:
        """Remove the group. False: something in it has not ended yet, come again. True: it is gone everywhere."""
        gone = freezer.forget(self)
        for directory in self.directories.values():
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                gone = False
        return gone


def _present(directory: str, file: str, path: str | None = None) -> str:
    """Weights are in a file of the disk's scheduler where it is BFQ. Raises OSError where no scheduler has any."""
    if "weight" not in file:
        return path or file
    controller, _, rest = file.partition(".")
    for name in (file, f"{controller}.bfq.{rest}"):
        if os.path.exists(os.path.join(directory, name)):
            return os.path.join(os.path.dirname(path), name) if path else name
    raise OSError(errno.ENOSYS, f"cannot set {file}: no disk of this machine has a scheduler with weights (BFQ)")


def limit_in(file: str) -> int | None:
    """A limit file's number; None where it says there is none, or our view of the hierarchy has no such group."""
    try:
        text = read(file).strip()
    except FileNotFoundError:
        return None
    # v1 says "none" as a number near 2^63.
    return None if text == "max" or int(text) >= 1 << 60 else int(text)
