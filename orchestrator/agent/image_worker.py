"""The process that fetches, unpacks, pushes, loads and saves images: one for each request, and gone with it.

So the agent stays small (HTTP, TLS and decompressors never enter it), and a kill at any moment, of this process or of
the agent, hurts nothing: what has no name in the store yet is not there. Its request is one JSON line on stdin; it
answers with JSON lines on stdout: {"type": "image", …} while it works, {"type": "end", …} as the last. When stdin
ends, the agent has died or has lost interest, and so does this process.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from orchestrator.agent import image_jobs
from orchestrator.errors import Missing, OrchestratorError
from orchestrator.images import load, source
from orchestrator.images import reference as references
from orchestrator.images import settings as image_settings
from orchestrator.images.http import Caller, Line
from orchestrator.images.intake import Intake
from orchestrator.images.pull import Want, digest_of, pull
from orchestrator.images.push import push
from orchestrator.images.store import Entry, Store
from orchestrator.kernel import syscalls
from orchestrator.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orchestrator.agent.build_work import BuildWork

OFTEN = 0.1  # seconds between two reports of how far an image is


class Work:
    """One request on its way."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.root = Root(request["root"])
        self.settings = image_settings.load(self.root)
        self.store = Store(self.root.images)
        self.store.make()
        self.store.tidy()
        deeds = None
        if request["deed"] == "build":
            from orchestrator.agent import build_runner  # only here: a pull needs no runtime

            deeds = build_runner.deeds(self.root)
        self.intake = Intake(self.store, self.settings, deeds)
        self.answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        never = threading.Event()
        self.line = Line(self.settings, Caller(request.get("environment") or {}, never.wait, time.monotonic))
        self._out = threading.Lock()
        self._told: dict[str, tuple[str, float]] = {}
        self.builds = self._builds() if request["deed"] == "build" else None

    def _builds(self) -> BuildWork:
        from orchestrator.agent.build_work import BuildWork

        def pulled(name: str, entry: Entry, fresh: bool) -> None:
            self._done(name, "pulled", entry, fresh=fresh)

        work = BuildWork(self.root, self.intake, self.line, self.ask, self.tell, pulled)
        work.expect([asked["order"]["name"] for asked in self.request["images"]])
        return work

    def say(self, **message: Any) -> None:
        with self._out:
            sys.stdout.write(json.dumps(message) + "\n")
            sys.stdout.flush()

    def tell(self, image: str, **state: Any) -> None:
        """How far an image is, not more often than one can read."""
        now = time.monotonic()
        before, at = self._told.get(image, ("", 0.0))
        if before == state["state"] and now - at < OFTEN:
            return
        self._told[image] = (state["state"], now)
        self.say(type="image", image=image, **state)

    def run(self) -> None:
        """Everything asked for, side by side; each image ends with a line of its own."""
        deeds = {
            "pull": self._pull,
            "push": self._push,
            "load": self._load,
            "save": self._save,
            "import": self._import,
            "resolve": self._resolve,
            "build": self._build,
        }
        deed = deeds[self.request["deed"]]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda asked: self._do(deed, asked), self.request["images"]))
        self.say(type="end")

    def _do(self, deed: Callable[[dict[str, Any]], None], asked: dict[str, Any]) -> None:
        try:
            deed(asked)
        except OrchestratorError as error:
            self.say(type="image", image=asked["reference"], state="failed", **_why(error))

    def _teller(self, image: str) -> Callable[..., None]:
        return lambda **state: self.tell(image, **state)

    def _pull(self, asked: dict[str, Any]) -> None:
        reference = asked["reference"]
        before = {entry.manifest.digest for entry in self.store.entries()}
        tell = self._teller(reference)
        if source.files(reference):
            entry = load.take(self.intake, reference, asked.get("platform"), time.time(), tell)
        else:
            want = Want(reference, asked.get("platform"), asked.get("digest"))
            entry = pull(self.intake, self.line, want, time.time(), tell)
        self._done(reference, "pulled", entry, fresh=entry.manifest.digest not in before)

    def _resolve(self, asked: dict[str, Any]) -> None:
        """What a tag stands for now, for a lock file."""
        written = asked["reference"]
        if source.files(written):
            digest = load.take(self.intake, written, None, time.time(), self._teller(written)).manifest.digest
        else:
            digest = digest_of(self.line, written)
        whole = written if source.files(written) else str(replace(references.parse(written), digest=digest))
        self.say(type="image", image=written, state="resolved", digest=digest, name=whole)

    def _push(self, asked: dict[str, Any]) -> None:
        reference = references.parse(asked["reference"])
        entry = self._entry(asked["digest"])
        sent = push(self.store, self.line, entry, reference, self._teller(asked["reference"]))
        self._done(asked["reference"], "pushed", entry, bytes=sent, size=entry.manifest.size)

    def _load(self, asked: dict[str, Any]) -> None:
        path = asked["reference"]
        for entry in load.load(self.intake, path, time.time(), self._teller(path)):
            self._done(path, "loaded", entry)

    def _save(self, asked: dict[str, Any]) -> None:
        path = asked["reference"]
        with self.store.in_use():
            load.save(self.store, [(self._entry(one["digest"]), one["name"]) for one in asked["images"]], path)
        self.say(type="image", image=path, state="saved")

    def _import(self, asked: dict[str, Any]) -> None:
        path = asked["reference"]
        words = asked["name"], asked["changes"], asked["comment"]
        self._done(path, "imported", load.import_tar(self.intake, path, *words, time.time()))

    def _build(self, asked: dict[str, Any]) -> None:
        from orchestrator.images.build.order import Order

        assert self.builds is not None
        order = Order(**asked["order"])

        def say(**message: Any) -> None:
            self.say(type="build", image=order.name, **message)

        self._done(order.name, "built", self.builds.build(order, say))

    def ask(self, what: str) -> dict[str, Any]:
        """Of the agent."""
        self.say(type="ask", what=what)
        return self.answers.get()

    def _entry(self, digest: str) -> Entry:
        entry = self.store.by_digest(digest)
        if entry is None:
            raise Missing(f"cannot find image {digest}: it was removed from the store meanwhile")
        return entry

    def _done(self, image: str, state: str, entry: Entry, **more: Any) -> None:
        known = {"name": entry.name, "digest": entry.manifest.digest, "repository_digest": entry.repository_digest}
        self.say(type="image", image=image, state=state, **known, **more)


def main() -> int:
    """Reads the request, does it. The exit code is for whoever looks at it by hand: the answers are on stdout."""
    os.umask(0o022)
    request = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the agent's terminal, where it has one
    try:
        work = Work(request)
    except OrchestratorError as error:
        for asked in request["images"]:
            sys.stdout.write(
                json.dumps({"type": "image", "image": asked["reference"], "state": "failed"} | _why(error))
            )
            sys.stdout.write("\n")
        sys.stdout.write('{"type": "end"}\n')
        return 1
    threading.Thread(target=_listen, args=(work,), daemon=True).start()
    try:
        work.run()
        sys.stdout.flush()
        os.close(1)  # the agent has its answer; what follows is for after a power cut
        _settle(work.store)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _why(error: OrchestratorError) -> dict[str, str]:
    return {"kind": error.kind, "why": str(error)}


def _settle(store: Store) -> None:
    descriptor = os.open(store.directory, os.O_RDONLY | os.O_CLOEXEC)
    syscalls.call("write the image store to the disk", "syncfs", descriptor)
    store.settled()


def _listen(work: Work) -> None:
    """What the agent answers; when it has gone, nothing of ours goes on."""
    while line := sys.stdin.readline():
        work.answers.put(json.loads(line))
    if work.request["deed"] == "build":
        image_jobs.sweep(work.root)
    os._exit(1)
