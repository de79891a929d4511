"""What a build does to files and which programs it runs: the deeds of the image worker's processes of one thread.

A process has a mount namespace of its own, so that whatever is mounted for a step goes with it, however it ends. A RUN
step is a container like a service's: the same specification, runtime, filter, limits; only its writable layer is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import select
import shutil
import stat
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from orchestrator.agent.image_jobs import step_name
from orchestrator.errors import HostRefused
from orchestrator.images.build import context, copying, ignore, packing
from orchestrator.images.store import Store
from orchestrator.images.unpackers import used
from orchestrator.kernel import mounts, overlay
from orchestrator.network import attach
from orchestrator.root import Root
from orchestrator.runtime import accounts, native
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Sandbox, Service

Say = Callable[[dict[str, Any]], None]
LINE = 4096  # bytes of output told as one line at most
LAST_WORDS = 0.2  # seconds for what is still in the pipe after the end: a child that lives on may hold it
FETCHED = 100 << 20  # bytes of what ADD fetches: it passes through memory
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


# files


def make(task: dict[str, Any]) -> dict[str, Any]:
    """WORKDIR."""
    with _root(task) as root:
        owner = _owner(root, task["user"]) if task["user"] else None
        os.close(copying.directories(root, task["path"], owner))
    return {}


def copy(task: dict[str, Any]) -> dict[str, Any]:
    """COPY, ADD."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_readable(task["source"], task["home"]))
        root = stack.enter_context(_root(task))
        from_context = "directory" in task["source"]
        owner = _owner(root, task["owner"], numbers_alike=True) if task["owner"] else (0, 0) if from_context else None
        patterns, texts = _fetched(task)
        copying.copy(
            source,
            root,
            copying.Task(
                task["target"],
                task["cwd"],
                patterns,
                texts,
                ignore.rules(task["hidden"]),
                ignore.rules(task["excludes"]),
                owner,
                _mode(task["mode"]),
                task["unpacks"] and from_context,
            ),
            task["home"],
        )
    return {}


def digest(task: dict[str, Any]) -> dict[str, Any]:
    """What COPY would read of a stage."""
    with _readable(task["source"], task["home"]) as source:
        return {"digest": context.digest(source, task["patterns"], (), ignore.rules(task["excludes"]))}


def pack(task: dict[str, Any]) -> dict[str, Any]:
    return {**packing.pack(task["directory"], task["target"]), "used": used(task["directory"])}


def _fetched(task: dict[str, Any]) -> tuple[list[str], list[tuple[str, bytes]]]:
    """ADD of URLs: what they gave, seen to be what --checksum says, beside the sources of the context."""
    texts = [(name, content.encode("utf-8", "surrogateescape")) for name, content in task["texts"]]
    patterns = []
    for source in task["patterns"]:
        if "://" not in source:
            patterns.append(source)
            continue
        import urllib3

        try:
            pool = urllib3.PoolManager(timeout=30.0)
            answer = pool.request("GET", source, preload_content=False, decode_content=False)
            content = answer.read(FETCHED + 1)
        except urllib3.exceptions.HTTPError as error:
            raise ValueError(f"{source} cannot be fetched: {error}") from error
        if answer.status != 200:
            raise ValueError(f"{source} cannot be fetched: it answers {answer.status}")
        if len(content) > FETCHED:
            raise ValueError(f"{source} is larger than {FETCHED >> 20} MiB; fetch it in a RUN step")
        found = "sha256:" + hashlib.sha256(content).hexdigest()
        if found != task["checksum"]:
            raise ValueError(f"{source} has the digest {found}, and --checksum says {task['checksum']}")
        texts.append((source.rstrip("/").rpartition("/")[2] or "index", content))
    return patterns, texts


def _mode(text: str) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"--chmod must be octal digits such as 0644, not {text!r}")
    return mode


def _owner(root: int, user: str, numbers_alike: bool = False) -> tuple[int, int]:
    """By the accounts of the image. `numbers_alike`: without a group it is that of the user's own number (--chown)."""
    name, colon, _ = user.partition(":")
    try:
        account = accounts.resolve({"username": user}, root)
    except OSError as error:
        raise ValueError((error.strerror or str(error)).replace("cannot run as", "there is no")) from error
    if numbers_alike and not colon:
        return account.uid, account.uid if name.isdecimal() else account.gid
    return account.uid, account.gid


# roots


_alone = False


def _stand_alone() -> None:
    """Once: mounts of ours are seen by nobody else, and end with us."""
    global _alone
    if not _alone:
        overlay.stand_alone()
        _alone = True


@contextlib.contextmanager
def _root(task: dict[str, Any]) -> Iterator[int]:
    """The stage's root, open; what is written into it lands in `home`/upper."""
    with _mounted(task["lower"], task["home"]) as path:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _readable(source: dict[str, Any], home: str) -> Iterator[str]:
    if "directory" in source:
        yield source["directory"]
        return
    aside = os.path.join(home, f"from-{secrets.token_hex(4)}")
    os.mkdir(aside)
    with _mounted(source["layers"], aside) as path:
        yield path


@contextlib.contextmanager
def _mounted(lower: list[str], home: str) -> Iterator[str]:
    _stand_alone()
    merged, upper, work = (os.path.join(home, name) for name in ("merged", "upper", "work"))
    for path in (merged, upper, work):
        os.makedirs(path, mode=0o755, exist_ok=True)
    overlay.mount(merged, lower, upper, work)
    try:
        yield merged
    finally:
        mounts.detach(merged)
        shutil.rmtree(work)


# programs


def run(root: Root, task: dict[str, Any], say: Say) -> dict[str, Any]:
    """RUN: {"code", "failure"}: the exit code, and why it did not even begin. `attach`: its place in a network."""
    _stand_alone()
    _warm()
    home = task["home"]
    name = step_name(home)
    bundle = os.path.join(home, "bundle")
    os.mkdir(bundle, 0o700)
    with contextlib.ExitStack() as stack:
        memory = stack.enter_context(_in_memory(bundle))
        given = [*_names(task, bundle), *_files(task, bundle), *_asked(task, stack, root, memory, home)]
        spec = _spec(root, task, name, given)
        answer = _born(bundle, spec, task.get("attach"), say)
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


def _born(bundle: str, spec: dict[str, Any], network: dict[str, Any] | None, say: Say) -> dict[str, Any]:
    """From birth to end, its output told line by line."""
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
        else:
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
    while True:
        select.select((report,), (), ())
        try:
            return os.read(report, 4096) == b"1"
        except BlockingIOError:
            continue


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
    servers = (task.get("attach") or {}).get("nameservers", [])
    texts = {
        "hosts": f"127.0.0.1\tlocalhost build\n::1\tlocalhost\n{hosts}",
        "resolv.conf": "".join(f"nameserver {server}\n" for server in servers),
        "hostname": "build\n",
    }
    made = []
    for name, text in texts.items():
        path = f"{bundle}/etc/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        made.append(_bind(path, f"/etc/{name}", read_only=False))
    return made


def _files(task: dict[str, Any], bundle: str) -> list[dict[str, Any]]:
    """Scripts of here-documents."""
    made = []
    for number, (path, content) in enumerate(task["files"]):
        place = f"{bundle}/script-{number}"
        with open(place, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(place, 0o755)
        made.append(_bind(place, path, read_only=True))
    return made


def _asked(
    task: dict[str, Any], stack: contextlib.ExitStack, root: Root, memory: str, home: str
) -> list[dict[str, Any]]:
    """RUN --mount."""
    made = []
    for number, mount in enumerate(task["mounts"]):
        match mount["kind"]:
            case "tmpfs":
                size = [f"size={mount['size']}"] if mount["size"] else []
                options = ["nosuid", "nodev", "mode=1777", *size]
                made.append({"destination": mount["target"], "type": "tmpfs", "source": "tmpfs", "options": options})
            case "secret":
                made += _secret(task, mount, os.path.join(memory, f"secret-{number}"))
            case "cache":
                made.append(_bind(_cache(stack, root, mount), mount["target"], mount["read_only"]))
            case _:
                source = stack.enter_context(_readable(mount["from"], home))
                made.append(_borrowed(stack, source, mount, home, number))
    return made


def _secret(task: dict[str, Any], mount: dict[str, Any], path: str) -> list[dict[str, Any]]:
    if mount["variable"]:
        task["environment"][mount["variable"]] = mount["content"]
        if not mount["target"]:
            return []
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(mount["content"].encode("utf-8", "surrogateescape"))
        os.fchown(file.fileno(), mount["uid"], mount["gid"])
        os.fchmod(file.fileno(), 0o400 if mount["mode"] is None else mount["mode"])
    return [_bind(path, mount["target"], read_only=True)]


def _cache(stack: contextlib.ExitStack, root: Root, mount: dict[str, Any]) -> str:
    """A directory that outlives the build; `locked` waits for others, `private` takes another than theirs."""
    import fcntl

    if mount["origin"]:
        raise ValueError("--mount=type=cache,from=… is refused: a cache begins empty here")
    kept = Store(root.images).build_caches
    code = hashlib.sha256(mount["id"].encode("utf-8", "surrogateescape")).hexdigest()[:16]
    for turn in range(64):
        path = os.path.join(kept, code if not turn else f"{code}-{turn}")
        if not os.path.isdir(path):
            os.makedirs(path, mode=0o755, exist_ok=True)
            os.chmod(path, 0o755 if mount["mode"] is None else mount["mode"])
            os.chown(path, mount["uid"], mount["gid"])
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, held)
        if mount["sharing"] == "shared":
            return path
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (fcntl.LOCK_NB if mount["sharing"] == "private" else 0))
            return path
        except BlockingIOError:
            continue
    raise ValueError(f"the private cache {mount['id']!r} is in use 64 times")


def _borrowed(
    stack: contextlib.ExitStack, source: str, mount: dict[str, Any], home: str, number: int
) -> dict[str, Any]:
    """A directory or file of a context, stage or image; what is written into it (`rw`) is lost."""
    held = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = mounts.open_in(held, "/" + mount["source"])
    except OSError as error:
        raise ValueError(f"--mount=type=bind: there is no {mount['source']!r}") from error
    finally:
        os.close(held)
    try:
        path = os.readlink(f"/proc/self/fd/{inside}")
        directory = stat.S_ISDIR(os.fstat(inside).st_mode)
    finally:
        os.close(inside)
    if mount["read_only"] or not directory:
        return _bind(path, mount["target"], read_only=True)
    aside = os.path.join(home, f"bind-{number}")
    os.mkdir(aside)
    return _bind(stack.enter_context(_mounted([path], aside)), mount["target"], read_only=False)


def _bind(source: str, destination: str, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "rro" if read_only else "rw", "rprivate"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


@contextlib.contextmanager
def _in_memory(bundle: str) -> Iterator[str]:
    """A directory that no disk ever sees, for secrets."""
    path = os.path.join(bundle, "memory")
    os.mkdir(path, 0o700)
    made = mounts.make("tmpfs", ["mode=0700", "size=16m"], "secrets", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    mounts.attach(made, os.open(path, os.O_PATH | os.O_CLOEXEC))
    try:
        yield path
    finally:
        mounts.detach(path)


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
