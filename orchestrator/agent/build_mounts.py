"""What is mounted into the steps of a build: binds, caches, secrets, memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import subprocess
from collections.abc import Iterator
from typing import Any

from orchestrator.agent.build_roots import mounted, readable
from orchestrator.images.store import Store
from orchestrator.kernel import mounts
from orchestrator.root import Root


def asked(
    task: dict[str, Any], stack: contextlib.ExitStack, root: Root, memory: str, home: str
) -> list[dict[str, Any]]:
    """RUN --mount: OCI mounts; `stack` undoes what is made for them."""
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
                made.append(bind(_cache(stack, root, mount, home), mount["target"], mount["read_only"]))
            case _:
                source = stack.enter_context(readable(mount["from"], home))
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
    return [bind(path, mount["target"], read_only=True)]


def _cache(stack: contextlib.ExitStack, root: Root, mount: dict[str, Any], home: str) -> str:
    """A directory that outlives the build; `locked` waits for others, `private` takes another than theirs. It begins
    empty, or as what it is made `from`."""
    import fcntl

    kept = Store(root.images).build_caches
    code = hashlib.sha256(mount["id"].encode("utf-8", "surrogateescape")).hexdigest()[:16]
    for turn in range(64):
        path = os.path.join(kept, code if not turn else f"{code}-{turn}")
        if not os.path.isdir(path):
            _begin(path, mount, home)
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


def _begin(path: str, mount: dict[str, Any], home: str) -> None:
    """A new cache, whole when it has its name."""
    new = os.path.join(home, f"cache-{secrets.token_hex(4)}")
    if mount["origin"]:
        with readable(mount["from"], home) as source:
            begin, directory = _inside(source, mount)
            if not directory:
                raise ValueError(f"--mount=type=cache: {mount['source']!r} is no directory")
            subprocess.run(["cp", "-a", "-T", begin, new], check=True)
    else:
        os.mkdir(new)
    os.chmod(new, 0o755 if mount["mode"] is None else mount["mode"])
    os.chown(new, mount["uid"], mount["gid"])
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(OSError):  # somebody else was faster; ours goes with the step's home
        os.rename(new, path)


def _inside(source: str, mount: dict[str, Any]) -> tuple[str, bool]:
    """What a mount's `source` means inside a root: its path, and whether it is a directory."""
    held = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        inside = mounts.open_in(held, "/" + mount["source"])
    except OSError as error:
        raise ValueError(f"--mount=type={mount['kind']}: there is no {mount['source']!r}") from error
    finally:
        os.close(held)
    try:
        return os.readlink(f"/proc/self/fd/{inside}"), stat.S_ISDIR(os.fstat(inside).st_mode)
    finally:
        os.close(inside)


def _borrowed(
    stack: contextlib.ExitStack, source: str, mount: dict[str, Any], home: str, number: int
) -> dict[str, Any]:
    """A directory or file of a context, stage or image; what is written into it (`rw`) is lost."""
    path, directory = _inside(source, mount)
    if mount["read_only"] or not directory:
        return bind(path, mount["target"], read_only=True)
    aside = os.path.join(home, f"bind-{number}")
    os.mkdir(aside)
    return bind(stack.enter_context(mounted([path], aside)), mount["target"], read_only=False)


def bind(source: str, destination: str, read_only: bool) -> dict[str, Any]:
    options = ["rbind", "rro" if read_only else "rw", "rprivate"]
    return {"destination": destination, "type": "bind", "source": source, "options": options}


@contextlib.contextmanager
def in_memory(bundle: str) -> Iterator[str]:
    """A directory that no disk ever sees, for secrets."""
    path = os.path.join(bundle, "memory")
    os.mkdir(path, 0o700)
    made = mounts.make("tmpfs", ["mode=0700", "size=16m"], "secrets", mounts.NOSUID | mounts.NODEV | mounts.NOEXEC)
    mounts.attach(made, os.open(path, os.O_PATH | os.O_CLOEXEC))
    try:
        yield path
    finally:
        mounts.detach(path)
