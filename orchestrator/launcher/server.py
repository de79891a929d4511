"""What may be asked of the launcher, and who is told what has ended. One method a request, named `do_…`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from functools import partial

from orchestrator import __version__
from orchestrator.launcher.checks import Check
from orchestrator.launcher.clients import Client, Refused, Reply
from orchestrator.launcher.container import COME_AGAIN, MALFORMED, PATIENCE, Container
from orchestrator.launcher.deaths import stranger_status
from orchestrator.launcher.execs import Exec
from orchestrator.launcher.files import read_json, remove, write_json
from orchestrator.launcher.loop import IN, Loop
from orchestrator.launcher.output import Output
from orchestrator.root import Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.launcher.runtimes import Runtime

SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


class Server:
    def __init__(self, root: Root, runtime: Runtime) -> None:
        self.loop = Loop(self._child_ended)
        self._root, self._runtime = root, runtime
        self._clients: set[Client] = set()
        self._containers: dict[str, Container] = {}
        self._execs: dict[int, Exec] = {}
        self._children: dict[int, Container | Exec | Check] = {}
        self._births: deque[tuple[str, bool, Reply]] = deque()
        self._stillborn: dict[str, str] = {}  # container id → why it never ran, where nobody was told yet
        self._newborns: list[Check] = []  # whose pid is not known yet
        self._exec_number = 0
        self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self._listener = _listen(root.launcher_socket)
        self.loop.watch(self._listener.fileno(), IN, lambda _: self._accept())

    # clients

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # No descriptor left: the caller is told by a closed connection, for one that is never taken would ring
            # this bell for ever.
            print(f"cannot accept a client: {error.strerror}", file=sys.stderr, flush=True)
            os.close(self._spare)
            with contextlib.suppress(OSError):
                self._listener.accept()[0].close()
            self._spare = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
            return
        self._clients.add(Client(self.loop, connection, self._hear, self._clients.discard))

    def _hear(self, client: Client, request: dict[str, Any]) -> None:
        reply = Reply(client, request.get("id"))
        word = request.get("do")
        deed = getattr(self, f"do_{word}", None) if isinstance(word, str) else None
        if deed is None:
            reply.refuse(f"cannot do {word!r}: there is no such request")
            return
        self._attempt(reply, word, partial(deed, request, reply))

    def _attempt(self, reply: Reply, word: object, deed: Any) -> None:
        """Whatever goes wrong with a request is its client's to know."""
        try:
            deed()
        except Refused as refused:
            reply.refuse(str(refused), refused.kind)
        except OSError as error:
            sentence = error.strerror or str(error)
            if not sentence.startswith("cannot"):
                sentence = f"cannot {word}: {sentence}" + (f": {error.filename}" if error.filename else "")
            reply.refuse(sentence, "host-refused")
        except MALFORMED as error:
            sys.excepthook(type(error), error, error.__traceback__)
            reply.refuse(f"cannot {word}: the request or the container's config.json is not as expected: {error!r}")

    def _tell_all(self, event: dict[str, Any]) -> None:
        for client in tuple(self._clients):
            client.send(event)

    # requests

    def do_hello(self, _: dict[str, Any], reply: Reply) -> None:
        rows = [{"id": each.id, "pid": each.pid, "status": each.status} for each in self._containers.values()]
        reply.done(version=__version__, pid=os.getpid(), containers=rows)

    def do_create(self, request: dict[str, Any], reply: Reply) -> None:
        """`until`: "network": the reply is given when its network namespace is there, and not only its sandbox."""
        name = _name(request)
        self._births.append((name, request.get("until") == "network", reply))
        self.loop.later.append(self._bear_next)

    def _bear_next(self) -> None:
        name, early, reply = self._births.popleft()
        self._attempt(reply, f"create {name}", lambda: self._bear(name, early, reply))

    def _bear(self, name: str, early: bool, reply: Reply) -> None:
        if name in self._containers:
            raise Refused(f"cannot create {name}: it exists already, it is {self._containers[name].status}")
        bundle = self._root.bundle(name)
        spec = self._spec(name)
        container = Container(self.loop, name, bundle, self._gone)
        if self._runtime.looks_into_others(spec):
            for other in self._containers.values():
                other.entrances.clear()
        self._stillborn.pop(name, None)
        container.create(self._runtime, spec, self._log_directory(name), reply, early)
        self._containers[name] = self._children[container.pid] = container
        container.foresee()
        self._make_ready()

    def _make_ready(self) -> None:
        if not self.loop.later:
            self._runtime.make_ready(len(self._containers))

    def do_terminal(self, request: dict[str, Any], reply: Reply) -> None:
        """Who kept a container's terminal over a launcher's death gives it back; who lost it gets it."""
        container = self._container(request, "give the terminal of")
        container.take_terminal(request["descriptors"])
        reply.done(container.terminal())

    def do_start(self, request: dict[str, Any], reply: Reply) -> None:
        self._living(request, "start").start(reply)

    def do_stands(self, request: dict[str, Any], reply: Reply) -> None:
        self._living(request, "wait for").stands(reply)

    def _living(self, request: dict[str, Any], verb: str) -> Container:
        if sentence := self._stillborn.pop(_name(request), None):
            raise Refused(sentence)
        return self._container(request, verb)

    def do_kill(self, request: dict[str, Any], reply: Reply) -> None:
        container = self._container(request, "kill")
        number = _signal(request.get("signal", "SIGKILL"))
        if not request.get("all"):
            container.signal(number)
        elif number == signal.SIGKILL:
            container.kill_all()
        else:
            container.signal_all(number)
        reply.done()

    def do_pause(self, request: dict[str, Any], reply: Reply) -> None:
        container = self._container(request, "pause")
        if container.status != "running":
            raise Refused(f"cannot pause {container.id}: it is {container.status}, not running")
        container.pause(reply, time.monotonic() + PATIENCE)

    def do_unpause(self, request: dict[str, Any], reply: Reply) -> None:
        self._container(request, "unpause").unpause()
        reply.done()

    def do_exec(self, request: dict[str, Any], reply: Reply) -> None:
        container = self._container(request, "exec in")
        if container.status != "running":
            raise Refused(f"cannot exec in {container.id}: it is {container.status}, not running")
        self._exec_number += 1
        new = Exec(self.loop, self._exec_number, container, self._exec_over)
        new.begin(self._runtime, self._spec, request, reply)
        self._execs[new.id] = self._children[new.pid] = new

    def do_check(self, request: dict[str, Any], reply: Reply) -> None:
        container = self._container(request, "check")
        if container.status != "running":
            raise Refused(f"cannot check {container.id}: it is {container.status}, not running")
        new = Check(self.loop, container, self._runtime, self._spec, self._spare, self._expect, self._attempt)
        new.begin(request, reply)

    def _expect(self, newborn: Check) -> None:
        """A row of checks is begun without waiting for each; their pids are asked for when all are on their way."""
        if not self._newborns:
            self.loop.later.appendleft(self._meet)
        self._newborns.append(newborn)

    def _meet(self) -> None:
        newborns, self._newborns = self._newborns, []
        for newborn in newborns:
            if pid := newborn.meet():
                self._children[pid] = newborn

    def do_resize(self, request: dict[str, Any], reply: Reply) -> None:
        self._exec(request, "resize").resize(int(request["rows"]), int(request["cols"]))
        reply.done()

    def do_signal(self, request: dict[str, Any], reply: Reply) -> None:
        self._exec(request, "signal").signal(_signal(request.get("signal")))
        reply.done()

    def do_cancel(self, request: dict[str, Any], reply: Reply) -> None:
        self._exec(request, "cancel").cancel()
        reply.done()

    def do_delete(self, request: dict[str, Any], reply: Reply) -> None:
        name = _name(request)
        self._stillborn.pop(name, None)
        container = self._containers.get(name)
        if container:
            container.owed.append(reply)
            container.kill_all()
            return
        if any(name == waiting for waiting, *_ in self._births):
            self.loop.later.append(partial(self._attempt, reply, "delete", partial(self.do_delete, request, reply)))
            return
        self._clear_up(name, reply, time.monotonic() + PATIENCE)

    def _clear_up(self, name: str, reply: Reply, until: float) -> None:
        """What a predecessor left of a container that it did not live to make: a group, perhaps a process in it."""
        if os.path.exists(os.path.join(self._root.bundle(name), "config.json")):
            group = self._runtime.group(self._root.bundle(name), self._spec(name))
            group.kill()
            if not group.remove() and time.monotonic() < until:
                again = partial(self._clear_up, name, reply, until)
                self.loop.at(time.monotonic() + COME_AGAIN, partial(self._attempt, reply, "delete", again))
                return
        self._forget_files(name)
        reply.done()

    def do_quit(self, _: dict[str, Any], reply: Reply) -> None:
        reply.done()
        self.loop.stopped = True

    # ends

    def _child_ended(self, pid: int, status: int) -> None:
        self._meet()  # it may be one of them, and they need the pidfd of their container until they are born
        if owner := self._children.pop(pid, None):
            owner.ended(status)

    def _gone(self, container: Container) -> None:
        self._containers.pop(container.id, None)
        if container.exit:
            self._tell_all({"event": "exit", "container": container.id, **container.exit})
        elif container.unsaid and not container.owed:
            self._stillborn[container.id] = container.unsaid
        if not self._containers:
            self._make_ready()
        if container.owed:
            self._forget_files(container.id)
        for reply in container.owed:
            reply.done()

    def _exec_over(self, ended: Exec, event: dict[str, Any] | None) -> None:
        self._execs.pop(ended.id, None)
        if event:
            self._tell_all(event)

    def _forget_files(self, name: str) -> None:
        bundle = self._root.bundle(name)
        remove(*(os.path.join(bundle, file) for file in ("stdout", "stderr", "state.json", "exit.json")))

    # adoption

    def adopt(self) -> None:
        """Every container that another launcher left: watched again where it lives, its end written down where not."""
        try:
            names = sorted(os.listdir(self._root.bundles))
        except FileNotFoundError:
            return
        for name in names:
            bundle = self._root.bundle(name)
            if os.path.exists(os.path.join(bundle, "state.json")):
                try:
                    self._adopt_one(name, bundle)
                except (OSError, Refused, ValueError, KeyError, TypeError) as error:
                    print(f"cannot adopt {name}: {error}", file=sys.stderr, flush=True)

    def _adopt_one(self, name: str, bundle: str) -> None:
        state, spec = read_json(os.path.join(bundle, "state.json")), self._spec(name)
        container = Container(self.loop, name, bundle, self._gone)
        if os.path.exists(os.path.join(bundle, "exit.json")):
            remove(os.path.join(bundle, "state.json"))
            return
        try:
            born = self._runtime.adopt(bundle, spec, state)
        except ProcessLookupError:
            self._bury(name, spec, state)
            return
        container.adopt(born, spec, state, self._log_directory(name))
        self._containers[name] = container
        self.loop.watch(container.pidfd, IN, lambda _: self._stranger_ended(container))
        if state["status"] == "created":
            container.status = "created"  # its gate died with the launcher: it never ran and never will
            container.kill_all()

    def _stranger_ended(self, container: Container) -> None:
        self._meet()
        self.loop.forget(container.pidfd)
        container.ended(stranger_status(container.pid, container.start_time, container.pidfd))

    def _bury(self, name: str, spec: dict[str, Any], state: dict[str, Any]) -> None:
        """It ended while no launcher was there to see how. Its last words may still be in the pipes."""
        bundle = self._root.bundle(name)
        output = Output(self.loop, bundle, spec, self._log_directory(name))
        output.close_container_ends()
        output.close()
        group = self._runtime.group(bundle, spec)
        group.kill()
        group.remove()
        if state["status"] == "running":
            end = {"code": None, "signal": None, "oom": False, "started": state["started"], "at": time.monotonic()}
            write_json(os.path.join(bundle, "exit.json"), end)
        remove(os.path.join(bundle, "state.json"))

    # look-ups

    def _container(self, request: dict[str, Any], verb: str) -> Container:
        name = _name(request)
        if name not in self._containers:
            raise Refused(f"cannot {verb} {name}: there is no such container, or it has ended", "missing")
        return self._containers[name]

    def _exec(self, request: dict[str, Any], verb: str) -> Exec:
        number = request.get("exec")
        if not isinstance(number, int) or number not in self._execs:
            raise Refused(f"cannot {verb} exec {number}: there is none, or it has ended", "missing")
        return self._execs[number]

    def _spec(self, name: str) -> dict[str, Any]:
        path = os.path.join(self._root.bundle(name), "config.json")
        spec = read_json(path)
        if not isinstance(spec, dict):
            raise Refused(f"cannot use container {name}: {path} is missing or no JSON object")
        return spec

    def _log_directory(self, name: str) -> str:
        return os.path.join(self._root.container(name), "log")


def _listen(path: str) -> socket.socket:
    """The caller holds the launcher's lock: a socket file that is there is a dead launcher's."""
    remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.listen(128)
    return listener


def _name(request: dict[str, Any]) -> str:
    """A container's id, which becomes a part of paths."""
    name = request.get("container")
    if not isinstance(name, str) or not 0 < len(name) <= 64 or not SAFE.issuperset(name):
        raise Refused(f"cannot use container {json.dumps(name)[:80]}: an id is 1 to 64 letters, digits, '_' and '-'")
    return name


def _signal(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, int) and 0 < value < signal.NSIG:
        return value
    name = value.upper() if isinstance(value, str) else ""
    try:
        return signal.Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise Refused(f"cannot send signal {value!r}: there is no such signal") from None
