"""What can be done now, and what is held back and why. Every line says its reason; `str()` is what people read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from orchestrator.reconcile.replica import Replica
from orchestrator.scheduler.node import Placed
from orchestrator.units import human_seconds


class _Line:
    """A line of a plan: what is done (`verb`), to whom, and why."""

    __slots__ = ()
    verb: ClassVar[str]
    subject: str
    why: str

    def __str__(self) -> str:
        return f"{self.verb} {self.subject}: {self.why}"


@dataclass(frozen=True, slots=True)
class _ToContainer(_Line):
    """`subject`: the container's name, `container`: its id."""

    subject: str
    container: str
    why: str


@dataclass(frozen=True, slots=True)
class _Make(_Line):
    """`subject`: the name that the host knows, `key`: that in the file of `stack`."""

    subject: str
    stack: str
    key: str
    why: str


@dataclass(frozen=True, slots=True)
class _Drop(_Line):
    """`subject`: the name that the host knows."""

    subject: str
    stack: str
    why: str


@dataclass(frozen=True, slots=True)
class Start:
    """Make the replica run: created if it does not exist (`container` None), started again if it does. `placed`: how
    its node was chosen, where it was."""

    subject: str  # container name
    replica: Replica
    node: str
    why: str
    container: str | None = None  # id of the existing, exited container to run again
    placed: Placed | None = None

    def __str__(self) -> str:
        return f"start {self.subject} on {self.node}: {self.why}"


@dataclass(frozen=True, slots=True)
class Stop(_ToContainer):
    """Ask it to end: its stop signal, then SIGKILL after `grace` seconds. `failure`: it is killed for its health.
    `drain`: names and ports leave it first, and its connections have so many seconds to end. `moved`: it leaves its
    node, and its slot is filled anew."""

    verb = "stop "
    signal: str = "SIGTERM"
    grace: float = 10.0
    failure: bool = False
    drain: float = 0.0
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Reload(_ToContainer):
    """Send the signal by which it reads its configuration, or finds its dependencies, anew."""

    signal: str = "SIGHUP"

    def __str__(self) -> str:
        return f"reload {self.subject} by {self.signal}: {self.why}"


@dataclass(frozen=True, slots=True)
class Renew(_ToContainer):
    """Give the container the new contents of its configs and secrets, and let it know (`signal`) or run anew (None)."""

    signal: str | None
    grace: float = 10.0

    def __str__(self) -> str:
        how = f"reload {self.subject} by {self.signal}" if self.signal else f"restart {self.subject}"
        return f"{how}: {self.why}"


@dataclass(frozen=True, slots=True)
class Adjust(_ToContainer):
    """Hold the living container to what its definition says now: its control group is rewritten, and what drifted of
    these `kinds` is put right."""

    verb = "adjust"
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Remove(_ToContainer):
    """Remove an ended container with its writable layer and its log."""

    verb = "remove"


@dataclass(frozen=True, slots=True)
class MakeNetwork(_Make):
    verb = "make  network"


@dataclass(frozen=True, slots=True)
class DropNetwork(_Drop):
    verb = "drop  network"


@dataclass(frozen=True, slots=True)
class MakeVolume(_Make):
    verb = "make  volume"


@dataclass(frozen=True, slots=True)
class DropVolume(_Drop):
    verb = "drop  volume"


@dataclass(frozen=True, slots=True)
class Prepare:
    """Run the `pre_start` hooks of a service, each in a container of its own, before its first replica starts."""

    subject: str  # "<stack>-<service>-pre_start"
    replica: Replica  # in slot 0
    node: str
    why: str

    def __str__(self) -> str:
        return f"run   {self.subject} on {self.node}: {self.why}"


@dataclass(frozen=True, slots=True)
class TakeBack:
    """A new version is bad: what was wanted before is wanted again, of these services (none named: of the stack)."""

    subject: str  # "stack/service", or "stack/"
    stack: str
    services: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"back  {self.subject.rstrip('/')}: {self.why}"


Action: TypeAlias = (
    Start | Stop | Remove | Prepare | Reload | Renew | Adjust | TakeBack
    | MakeNetwork | DropNetwork | MakeVolume | DropVolume
)  # fmt: skip


Outlook: TypeAlias = Literal["soon", "parked", "failing", "asked"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. `until`: CLOCK_MONOTONIC seconds when it is worth looking again; None: when something else changes.

    `failed`: no amount of waiting helps by itself (gave up, failed dependency, `restart: "no"` and exit code not 0).
    `outlook`, of what has not failed: "soon": something under way will lift it; "parked": nothing will by itself (no
    room, a service stopped by hand); "failing": it, or what it waits for, did not come up and is tried again; "asked":
    it waits for a word of its user's (a canary to be promoted), and is as it should be until then.
    """

    subject: str
    why: str
    until: float | None = None
    failed: bool = False
    outlook: Outlook = "soon"

    def text(self, now: float) -> str:
        """One line; a time to come is shown as seconds from `now`."""
        wait = f" for {span(self.until - now)}" if self.until is not None else ""
        return f"hold  {self.subject}{wait}: {self.why}"


def span(seconds: float) -> str:
    """A time to come as people read it: "0.1s", "12.5s", "2h"."""
    return f"{max(seconds, 0):.3g}s" if seconds < 99.5 else human_seconds(round(seconds))


@dataclass(frozen=True, slots=True)
class Plan:
    actions: tuple[Action, ...] = ()
    holds: tuple[Hold, ...] = ()

    @property
    def due(self) -> float | None:
        """The earliest time at which a hold is worth another look."""
        return min((h.until for h in self.holds if h.until is not None), default=None)

    def text(self, now: float) -> str:
        """The plan as people read it, a line each."""
        return "\n".join([*map(str, self.actions), *(h.text(now) for h in self.holds)])
