"""The programs of a build's steps: what the image worker's processes of one thread do.

A RUN step is a container like a service's: the same specification, runtime, filter, limits; only its writable layer is
kept.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from orchestrator.agent.build_files import copy, digest, make, pack
from orchestrator.agent.build_mounts import asked, bind, in_memory
from orchestrator.agent.build_roots import stand_alone
from orchestrator.agent.image_jobs import step_name
from orchestrator.errors import HostRefused
from orchestrator.network import attach
from orchestrator.root import Root
from orchestrator.runtime import native
from orchestrator.runtime.births import GO, NETWORKED
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Sandbox, Service

Say = Callable[[dict[str, Any]], None]
LINE = 4096  # bytes of output told as one line at most
LAST_WORDS = 0.2  # seconds for what is still in the pipe after the end: a child that lives on may hold it
MEMORY_CEILING = 0.95  # of the machine's, as for services
_STANDARD = ("/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc", "/run/secrets", "/run")


def deeds(root: Root) -> dict[str, Callable[[dict[str, Any], Say], dict[str, Any]]]:
    """By name."""
    return {
        "make": lambda task, say: make(task),
        "copy": lambda task, say: copy(task),
        "digest": lambda task, say: digest(task),
        "pack": lambda task, say: pack(task),
        "run": lambda task, say: run(root, task, say),
    }


def run(root: Root, task: dict[str, Any], say: Say) -> dict[str, Any]:
    """RUN: {"code", "failure"}: the exit code, and why it did not even begin. `attach`: its place in a network."""
    stand_alone()
    _warm()
    home = task["home"]
    name = step_name(home)
    bundle = os.path.join(home, "bundle")
    os.mkdir(bundle, 0o700)
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(in_memory(bundle))
        given = [*_names(task, bundle), *_files(task, bundle), *asked(task, stack, root, memory, home)]
        spec = _spec(root, task, name, given)
        answer = _born(bundle, spec, task.get("attach"), task["network"] == "host", say)
    _tidy(home, task["lower"], [mount["destination"] for mount in given])
    return answer


_warmed = False


def _warm() -> None:
    global _warmed
    if not _warmed:
        native.warm()
        _warmed = True


def _spec(root: Root, task: dict[str, Any], name: str, given: list[dict[str, Any]]) -> dict[str, Any]:
    ulimits = {key: tuple(pair) for key, pair in task["ulimits"].items()}
    service = Service(
        name=name,
        image="",
        entrypoint=tuple(task["arguments"]),
        environment=task["environment"],
        user=task["user"] or None,
        working_dir=task["cwd"],
        network_mode="host" if task["network"] == "host" else None,
        sandbox=Sandbox(shm_size=task["shm_size"]),
    )
    image = SimpleNamespace(
        reference="", layers=tuple(task["lower"]), environment={}, entrypoint=None, command=None,
        working_dir="/", user=None, mounts=(),
    )  # fmt: skip
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    spec = container_spec(
        service=service, image=image, container=name, root=root, hostname="build", mounts=given,
        memory_ceiling=int(pages * MEMORY_CEILING), ulimits=ulimits or None,
    )  # fmt: skip
    # A step may set up accounts and packages: setuid programs work in it as in docker's and buildah's builds.
    spec["process"]["noNewPrivileges"] = False
    spec["annotations"] |= {"org.pyorch.upper": f"{task['home']}/upper", "org.pyorch.work": f"{task['home']}/work"}
    return spec


def _born(bundle: str, spec: dict[str, Any], network: dict[str, Any] | None, shared: bool, say: Say) -> dict[str, Any]:
    """From birth to end, its output told line by line. `shared`: in the host's network."""
    output, written = os.pipe2(os.O_CLOEXEC)
    link = ""
    try:
        born = native.create(bundle, spec, written, written)
    except OSError as error:
        os.close(output)
        raise HostRefused(f"cannot run the step: {error.strerror}") from error
    finally:
        os.close(written)
    try:
        assert born.report is not None and born.gate is not None
        if not _stands(born.report):
            raise HostRefused(born.settle() or "cannot run the step: its first process died")
        if network:
            link = f"po{secrets.token_hex(5)}b"  # fresh for each run, see network/attach.py
            attach.attach(
                born.pid, host_name=link, bridge_index=network["bridge"], address=network["address"],
                gateway=network["gateway"], mac=network["mac"],
            )  # fmt: skip
        elif not shared:
            attach.loopback(born.pid)
        born.release()
        os.close(born.gate)
        born.gate = None
        _stands(born.report)  # to its end: the program runs, or does not
        failure = born.settle()
        _tell(output, born.pidfd, say)
        _, status = os.waitpid(born.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return {"code": code if code >= 0 else 128 - code, "failure": failure}
    finally:
        for descriptor in (output, born.gate, born.report):
            if descriptor is not None:
                os.close(descriptor)
        born.cgroup.kill()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(born.pid, 0)
        os.close(born.pidfd)
        while not born.cgroup.remove():
            select.select((), (), (), 0.005)
        if link:
            attach.detach(link)


def _stands(report: int) -> bool:
    """Whether the sandbox stands and waits at its gate; False at the report's end."""
    said = b""
    while True:
        select.select((report,), (), ())
        try:
            piece = os.read(report, 4096)
        except BlockingIOError:
            continue
        said += piece
        if said != NETWORKED or not piece:  # its network namespace comes first, and says nothing here
            return said.removeprefix(NETWORKED) == GO


def _tell(output: int, pidfd: int, say: Say) -> None:
    """Everything it writes until it has ended. Lines are cut where they are longer than anybody reads."""
    rest, ended = b"", False
    while True:
        ready, _, _ = select.select((output, *(() if ended else (pidfd,))), (), (), LAST_WORDS if ended else None)
        if output in ready:
            data = os.read(output, 1 << 16)
            *lines, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n")
            while len(rest) > LINE:
                lines.append(rest[:LINE])
                rest = rest[LINE:]
            for line in lines:
                say({"line": line.decode("utf-8", "replace")})
            if not data:
                break
        elif ended:
            break
        ended = ended or pidfd in ready
    if rest:
        say({"line": rest.decode("utf-8", "replace")})


def _names(task: dict[str, Any], bundle: str) -> list[dict[str, Any]]:
    os.mkdir(f"{bundle}/etc", 0o755)
    hosts = "".join(f"{address}\t{name}\n" for name, address in task["extra_hosts"].items())
    named = "".join(f"nameserver {server}\n" for server in (task.get("attach") or {}).get("nameservers", []))
    texts = {
        "hosts": f"127.0.0.1\tlocalhost build\n::1\tlocalhost\n{hosts}",
        "resolv.conf": _host_resolver() if task["network"] == "host" else named,
        "hostname": "build\n",
    }
    made = []
    for name, text in texts.items():
        path = f"{bundle}/etc/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        made.append(bind(path, f"/etc/{name}", read_only=False))
    return made


def _host_resolver() -> str:
    try:
        with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except FileNotFoundError:
        return ""


def _files(task: dict[str, Any], bundle: str) -> list[dict[str, Any]]:
    """Scripts of here-documents."""
    made = []
    for number, (path, content) in enumerate(task["files"]):
        place = f"{bundle}/script-{number}"
        with open(place, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(place, 0o755)
        made.append(bind(place, path, read_only=True))
    return made


def _tidy(home: str, lower: list[str], targets: list[str]) -> None:
    """Places that were made only to mount something on are no part of the layer: an empty file or directory there goes,
    unless the image had it before."""
    upper = os.path.join(home, "upper")
    for target in sorted({*_STANDARD, *targets}, key=len, reverse=True):
        path = os.path.join(upper, target.lstrip("/"))
        if os.path.islink(path) or not os.path.exists(path):
            continue
        below = [place for layer in lower if os.path.lexists(place := os.path.join(layer, target.lstrip("/")))]
        if below and not (os.path.isdir(path) and _same(path, below[0])):
            continue  # the image's own, changed
        with contextlib.suppress(OSError):  # not empty: then it is the step's own
            os.rmdir(path) if os.path.isdir(path) else _unlink_empty(path)
    shutil.rmtree(os.path.join(home, "bundle"), ignore_errors=True)


def _same(one: str, other: str) -> bool:
    """Whether an upper directory says no more than the one below: mounting inside has copied it up."""
    new, old = os.lstat(one), os.lstat(other)
    alike = (new.st_mode, new.st_uid, new.st_gid) == (old.st_mode, old.st_uid, old.st_gid)
    return alike and "trusted.overlay.opaque" not in os.listxattr(one)


def _unlink_empty(path: str) -> None:
    if os.path.getsize(path) == 0:
        os.unlink(path)
