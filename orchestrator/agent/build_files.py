"""What the steps of a build do to files: directories made, files copied, layers packed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from orchestrator.agent import build_roots
from orchestrator.images.build import context, copying, ignore, modes, packing
from orchestrator.images.http import proxy_of
from orchestrator.images.unpackers import used
from orchestrator.runtime import accounts

FETCHED = 100 << 20  # bytes of what ADD fetches: it passes through memory


def make(task: dict[str, Any]) -> dict[str, Any]:
    """WORKDIR."""
    with build_roots.written(task) as root:
        if not copying.is_directory(root, task["path"]):  # who it belongs to matters only where it is made
            owner = _owner(root, task["user"]) if task["user"] else None
            os.close(copying.directories(root, task["path"], owner))
    return {}


def copy(task: dict[str, Any]) -> dict[str, Any]:
    """COPY, ADD."""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(build_roots.readable(task["source"], task["home"]))
        root = stack.enter_context(build_roots.written(task))
        from_context = "directory" in task["source"]
        owner = _owner(root, task["owner"], numbers_alike=True) if task["owner"] else (0, 0) if from_context else None
        texts = [(name, content.encode("utf-8", "surrogateescape")) for name, content in task["texts"]]
        wanted = copying.Task(
            task["target"],
            task["cwd"],
            task["patterns"],
            [*texts, *(_fetched(url, task["checksum"]) for url in task["fetched"])],
            ignore.rules(task["hidden"]),
            ignore.rules(task["excludes"]),
            owner,
            modes.parse(task["mode"]),
            task["unpacks"] and from_context,
            task["parents"],
        )
        copying.copy(source, root, wanted, task["home"])
        for directory in task["repositories"]:
            whole = replace(wanted, patterns=["."], texts=(), hidden=(), parents=False)
            copying.copy(directory, root, whole, task["home"])
    return {}


def digest(task: dict[str, Any]) -> dict[str, Any]:
    """What COPY would read of a stage."""
    with build_roots.readable(task["source"], task["home"]) as source:
        excluded = ignore.rules(task["excludes"])
        return {"digest": context.digest(source, task["patterns"], (), excluded, task["parents"])}


def pack(task: dict[str, Any]) -> dict[str, Any]:
    return {**packing.pack(task["directory"], task["target"]), "used": used(task["directory"])}


def _fetched(source: str, checksum: str) -> tuple[str, bytes]:
    """ADD of a URL: the name of the file and what it holds, seen to be what --checksum says."""
    import urllib3

    try:
        through = proxy_of(source, os.environ)
        pool = urllib3.ProxyManager(through, timeout=30.0) if through else urllib3.PoolManager(timeout=30.0)
        answer = pool.request("GET", source, preload_content=False, decode_content=False)
        content = answer.read(FETCHED + 1)
    except urllib3.exceptions.HTTPError as error:
        raise ValueError(f"{source} cannot be fetched: {error}") from error
    if answer.status != 200:
        raise ValueError(f"{source} cannot be fetched: it answers {answer.status}")
    if len(content) > FETCHED:
        raise ValueError(f"{source} is larger than {FETCHED >> 20} MiB; fetch it in a RUN step")
    algorithm = checksum.partition(":")[0]
    found = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
    if found != checksum:
        raise ValueError(f"{source} has the digest {found}, and --checksum says {checksum}")
    return urlsplit(source).path.rstrip("/").rpartition("/")[2] or "index", content


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
