"""What the agent says while it works, made readable: one living line per subject on a terminal, else a line an event.

Everything goes to stderr, as in docker compose: stdout belongs to what the user asked for.
"""

from __future__ import annotations

import os
import sys
import time

from orchestrator.api.response import Lines
from orchestrator.cli.printing import coloured, live, printable

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.api.response import Response
    from orchestrator.cli.option import Given

DOING = {
    "start": "starting",
    "stop": "stopping",
    "remove": "removing",
    "makenetwork": "making network",
    "makevolume": "making volume",
    "adjust": "adjusting",
    "reload": "reloading",
    "renew": "renewing",
    "prepare": "running pre_start hooks",
    "takeback": "taking back",
    "dropnetwork": "dropping network",
    "dropvolume": "dropping volume",
}
BEFORE = {"starting": ("exited",), "stopping": ("running",), "removing": ("created", "exited")}
DONE = {"running": "started"}  # the other states are said as they are
FINAL = {"started", "healthy", "removed", "exited", "making network", "making volume", "pulled", "up to date"}
FINAL |= {"pushed", "loaded", "saved", "imported"}
IMAGE_DONE = ("pulled", "kept", "pushed", "loaded", "saved", "imported", "built")
FINAL |= {"built", "cached", "done"}
TITLE = 72  # characters of a step's name on a living line
KEPT_LINES = 40  # of a step's output, for when it fails
BAR = 24  # characters
COLOURS = {"unhealthy": "31", "failed": "31", "held": "33", "healthy": "32", "started": "32", "exited": "90"}
SPARE = 0.04  # seconds between two drawings of the living lines


def progress(given: Given, stack: str = "") -> Progress:
    return Live(stack, colour=coloured(given, 2)) if live(given, 2) else Progress(stack)


def follow(answer: Response, teller: Progress) -> dict[str, Any]:
    """Tells everything until the work is done; returns the "done" message."""
    lines = Lines()
    while (data := answer.receive()) is not None:
        for message in lines.feed(data):
            teller.tell(message)
            if message["type"] == "done":
                answer.close()
                return dict(message)
    from orchestrator.errors import Unreachable

    raise Unreachable("cannot say how it ended: the agent closed the connection before its work was done")


def verdict(done: dict[str, Any]) -> int:
    """The exit code, after a sentence for each failure."""
    from orchestrator.cli.printing import say

    for failure in done["failures"]:
        subject = printable(str(failure["subject"]))
        why = "\n".join(map(printable, str(failure["why"]).split("\n")))
        say(why if why.startswith("cannot ") and subject in why else f"{subject} failed: {why}")
    if done.get("cards"):
        from orchestrator.cli.card import show

        show(done["cards"])
    return 0 if done["ok"] else 1


class Progress:
    """A line an event, for pipes and logs: `shop-db-1  started`. A line that would say nothing new is left out."""

    def __init__(self, stack: str = "") -> None:
        self.stack = stack
        self.silent = False
        self.told: dict[str, tuple[str, str]] = {}  # subject → (state, why)
        self._begun: set[str] = set()  # subjects with a deed under way whose state before it was not told yet

    def tell(self, message: dict[str, Any]) -> None:
        """Takes one message of the agent's stream; unknown kinds are for younger clients."""
        match message:
            case {"type": "accepted"}:
                self.stack = message.get("stack") or ""
                for warning in message.get("warnings") or ():
                    self.line(f"pyorch: warning: {printable(warning)}")
            case {"type": "action", "subject": subject, "verb": verb, "why": why}:
                if subject not in self.told:
                    self._begun.add(subject)
                self.change(subject, DOING.get(verb, verb), why)
            case {"type": "state", "subject": subject}:
                if not self._stale(subject, message["state"]):
                    self.change(subject, state(message), message.get("why") or "")
            case {"type": "hold", "subject": subject, "why": why}:
                self.change(subject, "held", why)
            case {"type": "image", "image": image, "state": now}:
                self.image(printable(image), now, message)
            case {"type": "build", "image": image, "step": step, "state": now}:
                self.step(printable(image), printable(step), now, message)
            case {"type": "done"}:
                self.finish(message)

    def image(self, image: str, now: str, message: dict[str, Any]) -> None:
        """Once that it is pulled, once how that ended; a failure is told at the end."""
        if now == "pulled":
            self.change(image, "pulled" if message.get("fresh") else "up to date", "")
        elif now == "kept":
            self.change(image, "not asked for anew", message.get("why") or "")
        elif now in ("pushed", "loaded", "saved", "imported", "built"):
            self.change(image, now, "")
        elif now in ("pulling", "pushing") and message.get("total"):
            self.change(image, now, units(message["total"]))

    def step(self, image: str, step: str, now: str, message: dict[str, Any]) -> None:
        """A step of a build, and what it writes."""
        if now == "output":
            self.line(f"{image} | {printable(message['line'])}")
        elif now in ("cached", "failed"):
            self.line(f"{image} {now.upper()} {step}")
        elif now == "running":
            self.line(f"{image} {step}")

    def begin_anew(self) -> None:
        """Another work begins (the stop of an `up`): it tells every subject's state from the start."""
        self.clear()
        self.told.clear()
        self._begun.clear()

    def _stale(self, subject: str, now: str) -> bool:
        """The first state told of a subject is from before the deed that was told first: "stopping", then "running"."""
        first = subject in self._begun
        self._begun.discard(subject)
        return first and now in BEFORE.get(self.told[subject][0], ())

    def change(self, subject: str, now: str, why: str) -> None:
        if self.told.get(subject) != (now, why):
            self.told[subject] = (now, why)
            self.show(subject)

    def show(self, subject: str) -> None:
        now, why = self.told[subject]
        self.line(f"{printable(subject)}  {now}" + (f": {printable(why)}" if why else ""))

    def finish(self, done: dict[str, Any]) -> None:
        if done["ok"]:
            self.line(f"{self.stack}: done in {done['seconds']:.2f} s")

    def line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Takes the living lines off the screen, where there are any: something else is about to be printed."""

    def settle(self) -> None:
        """The work is over: what lives on the screen stays there as it is."""


class Quiet(Progress):
    """Only what is wrong is said, at the end."""

    def show(self, subject: str) -> None:
        pass

    def finish(self, done: dict[str, Any]) -> None:
        pass


class Live(Progress):
    """One line a subject, redrawn in place. Where they are more than the screen holds, the finished ones make room."""

    def __init__(self, stack: str = "", *, colour: bool) -> None:
        super().__init__(stack)
        self.colour = colour
        self._written: dict[str, list[str]] = {}
        self.drawn = 0  # lines on the screen that are ours
        self.due = 0.0

    def show(self, subject: str) -> None:
        if time.monotonic() >= self.due:
            self.draw(final=False)

    def image(self, image: str, now: str, message: dict[str, Any]) -> None:
        """A bar, as far as the bytes to come are known."""
        if now in IMAGE_DONE:
            super().image(image, now, message)
        elif now in ("pulling", "pushing") and (total := message.get("total")):
            done = min(message.get("current", 0) / total, 1)
            bar = ("=" * round(done * BAR)).ljust(BAR)
            self.change(image, now, f"[{bar}] {units(message['current'])} of {units(total)}")
        elif now != "failed":
            self.change(image, now, "")

    def step(self, image: str, step: str, now: str, message: dict[str, Any]) -> None:
        """One living line a step, with the last it wrote; of a failed one everything it wrote last."""
        key = f"{image} {message['key']}"
        title = f"{image} {step}"[:TITLE]
        if now == "output":
            self._written[key] = [*self._written.get(key, ())[-KEPT_LINES:], printable(message["line"])]
            self.change(title, "running", self._written[key][-1])
        elif now == "failed":
            self.told.pop(title, None)
            for line in (f"{image} FAILED {step}", *(f"{image} | {line}" for line in self._written.get(key, ()))):
                self.line(line)
        else:
            self.change(title, now, "")

    def finish(self, done: dict[str, Any]) -> None:
        for failure in done["failures"]:
            self.told[failure["subject"]] = ("failed", "")
        self.draw(final=True)
        self.drawn = 0
        super().finish(done)

    def line(self, text: str) -> None:
        self.clear()
        super().line(text)

    def clear(self) -> None:
        if self.drawn:
            sys.stderr.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def settle(self) -> None:
        if self.told:
            self.draw(final=False)
        self.drawn = 0

    def draw(self, *, final: bool) -> None:
        """Over the lines of the last time; cut at the width of the screen, as a wrapped line could not be counted."""
        size = screen()
        subjects = list(self.told)
        room = max(size.lines - 2, 1)
        if len(subjects) > room:
            unfinished = [subject for subject in subjects if self.told[subject][0] not in FINAL]
            subjects = unfinished[:room] if not final else unfinished
        width = max(map(len, subjects), default=0)
        body = "".join(self._row(subject, width, size.columns) + "\x1b[K\n" for subject in subjects)
        up = f"\x1b[{self.drawn}A" if self.drawn else ""
        sys.stderr.write(f"{up}{body}\x1b[J")
        sys.stderr.flush()
        self.drawn = len(subjects)
        self.due = time.monotonic() + SPARE

    def _row(self, subject: str, width: int, columns: int) -> str:
        now, why = self.told[subject]
        plain = f"{printable(subject).ljust(width)}  {now}" + (f": {printable(why)}" if why else "")
        plain = plain[: columns - 1]
        colour = COLOURS.get(now.partition(" ")[0]) if self.colour else None
        if colour is None:
            return plain
        head = width + 2
        return f"{plain[:head]}\x1b[{colour}m{plain[head : head + len(now)]}\x1b[0m{plain[head + len(now) :]}"


def units(amount: int) -> str:
    """Bytes as Docker writes them: powers of 1000, three digits."""
    value, unit = float(amount), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g}{unit}"


def screen() -> os.terminal_size:
    """Of the terminal on stderr; 80 by 24 where it does not know."""
    try:
        size = os.get_terminal_size(2)
    except OSError:
        size = os.terminal_size((0, 0))
    return size if size.lines and size.columns else os.terminal_size((80, 24))


def state(message: dict[str, Any]) -> str:
    """What is said of a container: its health where a check has one to say, else its state."""
    now, health = str(message["state"]), message.get("health")
    return str(health) if health in ("healthy", "unhealthy") and now == "running" else DONE.get(now, now)
