"""What a stage has come to: the image's configuration and the arguments in scope; and the steps that change files.

Values only; `instructions.apply` makes the one out of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

SHELL = ("/bin/sh", "-c")
# Known without ARG, and no part of what a step means: where the build is made must not change what it makes.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
# Every image has one: what a Dockerfile puts before or after $PATH must find the programs that are there.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PREDEFINED = frozenset((*PROXIES, *(name.lower() for name in PROXIES)))


@dataclass(frozen=True, slots=True)
class Mount:
    """RUN --mount. `source` of a bind, `id` of a cache or secret; `origin`: a stage or image, "" for the context."""

    kind: str
    target: str = ""
    source: str = ""
    origin: str | None = None
    id: str = ""
    read_only: bool = False
    required: bool = False
    sharing: str = "shared"
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int | None = None
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    arguments: tuple[str, ...]
    files: tuple[tuple[str, str], ...] = ()  # path inside → content: scripts of here-documents
    environment: tuple[tuple[str, str], ...] = ()
    proxies: tuple[tuple[str, str], ...] = ()
    user: str = ""
    cwd: str = "/"
    mounts: tuple[Mount, ...] = ()
    network: str = "default"


@dataclass(frozen=True, slots=True)
class Copy:
    """`sources`: patterns of paths; `fetched`: URLs; `repositories`: of git; `texts`: (name, content) of
    here-documents, which are sources too. `origin`: a stage or image, None: the context. `mode`: as chmod(1) takes it.
    `unpacks`: archives of the context. `parents`: what is copied keeps the directories it lies in.
    """

    sources: tuple[str, ...]
    target: str
    cwd: str
    texts: tuple[tuple[str, str], ...] = ()
    origin: str | None = None
    owner: str = ""
    mode: str = ""
    excludes: tuple[str, ...] = ()
    unpacks: bool = False
    checksum: str = ""
    parents: bool = False
    fetched: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Make:
    """WORKDIR: the directory is there afterwards."""

    path: str
    user: str = ""


Step = Run | Copy | Make


@dataclass(frozen=True, slots=True)
class State:
    """`config` in Docker's shape (Env, Cmd …). `arguments`: ARGs of this stage so far, with their values."""

    config: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)
    command_is_ours: bool = False
    author: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for pair in self.config.get("Env") or ())

    @property
    def cwd(self) -> str:
        return str(self.config.get("WorkingDir") or "/")

    @property
    def shell(self) -> tuple[str, ...]:
        return tuple(self.config.get("Shell") or SHELL)

    @property
    def scope(self) -> dict[str, str]:
        """What $VARIABLES mean: ENV wins over ARG."""
        return {**self.arguments, **self.environment}

    def with_path(self) -> State:
        """With a PATH where it has none."""
        if "PATH" in self.environment:
            return self
        return self.with_config(Env=[*(self.config.get("Env") or ()), f"PATH={PATH}"])

    def with_config(self, **changes: Any) -> State:
        return replace(self, config={**self.config, **changes})


@dataclass(frozen=True, slots=True)
class Given:
    """What comes from outside: `arguments` (--build-arg), `defaults` (ARGs before the first FROM), `platform`
    (TARGETPLATFORM …). `host_network`: a step may ask for the host's network."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"
    host_network: bool = False
