"""What the launcher asks of a runtime, for the type checker alone: `runtime.native`, or the tests' one of processes."""

from __future__ import annotations

from typing import Any, Protocol


class Born(Protocol):
    """runtime.native.Born: a process that was just born, or adopted."""

    pid: int
    pidfd: int
    gate: int | None
    report: int | None

    @property
    def start_time(self) -> int: ...
    @property
    def cgroup(self) -> Group: ...


class Group(Protocol):
    """kernel.cgroups.Group: what the launcher asks of a container's control group."""

    def processes(self) -> list[int]: ...
    def oom_kills(self) -> int: ...
    def freeze(self) -> bool: ...
    def thaw(self) -> None: ...
    def kill(self) -> None: ...
    def remove(self) -> bool: ...


class Runtime(Protocol):
    """What the launcher asks of `runtime.native`; the tests have one without namespaces."""

    def warm(self) -> None: ...
    def create(self, bundle: str, spec: dict[str, Any], stdout: int, stderr: int) -> Born: ...
    def enter(
        self, pid: int, held: int, spec: dict[str, Any], process: dict[str, Any],
        stdin: int, stdout: int, stderr: int, tty: bool, cgroup: Any,
    ) -> Born: ...  # fmt: skip
    def adopt(self, bundle: str, spec: dict[str, Any], state: dict[str, Any]) -> Born: ...
    def group(self, bundle: str, spec: dict[str, Any]) -> Group: ...
