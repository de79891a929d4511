"""What a stage has come to: the image's configuration, the arguments in scope, and what each instruction does to them.

Pure. `apply` takes one instruction with its variables filled in; what changes files comes back as a step for the
builder: Run, Copy or Make. Every mistake is a `Wrong` at the instruction's place.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import units
from orchestrator.images.build.dockerfile import Heredoc, Instruction, Wrong, parse
from orchestrator.images.build.words import expand, split

SHELL = ("/bin/sh", "-c")
# Known without ARG, and no part of what a step means: where the build is made must not change what it makes.
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
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
    """`texts`: (name, content) of here-documents, sources too. `origin`: a stage or image, None: the context."""

    sources: tuple[str, ...]
    target: str
    cwd: str
    texts: tuple[tuple[str, str], ...] = ()
    origin: str | None = None
    owner: str = ""
    mode: str = ""
    excludes: tuple[str, ...] = ()
    unpacks: bool = False  # ADD: archives of the context
    checksum: str = ""


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

    def with_config(self, **changes: Any) -> State:
        return replace(self, config={**self.config, **changes})


@dataclass(frozen=True, slots=True)
class Given:
    """What comes from outside: `arguments` (--build-arg), `defaults` (ARGs before the first FROM), `platform`
    (TARGETPLATFORM …)."""

    arguments: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"


def apply(one: Instruction, state: State, given: Given) -> tuple[State, Step | None]:
    """The state after an instruction, and what it does to files. Raises Wrong."""
    try:
        return _TABLE[one.keyword](one, state, given)
    except ValueError as error:
        if isinstance(error, Wrong):
            raise
        raise one.wrong(f"{one.keyword}: {error}") from None


def global_arguments(instructions: tuple[Instruction, ...], given: Given) -> dict[str, str]:
    """The ARGs before the first FROM. Raises Wrong."""
    known: dict[str, str] = {}
    for one in instructions:
        if one.keyword != "ARG":
            break
        try:
            for name, default in _declared(one, {**given.platform, **known}, given.escape):
                value = given.arguments.get(name, default)
                if value is not None:
                    known[name] = value
        except ValueError as error:
            raise one.wrong(f"ARG: {error}") from None
    return known


def triggers(config: Mapping[str, Any], line: int) -> list[Instruction]:
    """The ONBUILD instructions that a base image has left for us, as if they stood after FROM."""
    found = []
    for text in config.get("OnBuild") or ():
        try:
            parsed = parse(f"FROM scratch\n{text}").instructions[1:]
        except Wrong as error:
            raise Wrong(line, 1, f"the base image's ONBUILD {text!r}: {error.why}") from None
        found += [replace(one, line=line, column=1) for one in parsed]
    return found


# instructions


def _env(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    environment = state.environment
    for name, value in _pairs(one, state.scope, given.escape):
        environment[name] = value
    return state.with_config(Env=[f"{name}={value}" for name, value in environment.items()]), None


def _label(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    labels = {**(state.config.get("Labels") or {}), **dict(_pairs(one, state.scope, given.escape))}
    return state.with_config(Labels=labels), None


def _maintainer(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    return replace(state, author=one.rest.strip()), None


def _arg(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    arguments = dict(state.arguments)
    for name, default in _declared(one, state.scope, given.escape):
        value = given.arguments.get(name, default)
        if value is None:
            value = given.defaults.get(name, given.platform.get(name))
        if value is not None:
            arguments[name] = value
    return replace(state, arguments=arguments), None


def _workdir(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    path = posixpath.normpath(posixpath.join(state.cwd, expand(one.rest.strip(), state.scope, given.escape)))
    path = "/" + path.lstrip("/")
    return state.with_config(WorkingDir=path), Make(path, str(state.config.get("User") or ""))


def _user(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    user = expand(one.rest.strip(), state.scope, given.escape)
    if not user or " " in user:
        raise ValueError(f"expected a user, or user:group, but found {one.rest.strip()!r}")
    return state.with_config(User=user), None


def _entrypoint(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    state = state.with_config(Entrypoint=_command(one, state))
    return (state if state.command_is_ours else state.with_config(Cmd=None)), None


def _cmd(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    return replace(state.with_config(Cmd=_command(one, state)), command_is_ours=True), None


def _expose(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    ports = dict(state.config.get("ExposedPorts") or {})
    for word in split(expand(one.rest, state.scope, given.escape), given.escape):
        numbers, _, protocol = word.partition("/")
        first, _, last = numbers.partition("-")
        if (
            not first.isdecimal()
            or not (last or first).isdecimal()
            or protocol.lower() not in ("", "tcp", "udp", "sctp")
        ):
            raise ValueError(f"expected a port such as 80 or 53/udp, but found {word!r}")
        if not 0 < int(first) <= int(last or first) < 65536:
            raise ValueError(f"{word!r} is no range of ports")
        ports |= {f"{port}/{protocol.lower() or 'tcp'}": {} for port in range(int(first), int(last or first) + 1)}
    return state.with_config(ExposedPorts=ports), None


def _volume(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    words = one.exec if one.exec is not None else split(one.rest, given.escape)
    paths = [expand(word, state.scope, given.escape) for word in words]
    if not all(path.startswith("/") or path for path in paths) or not paths:
        raise ValueError("expected the path of a directory")
    volumes = {**(state.config.get("Volumes") or {}), **{path: {} for path in paths}}
    return state.with_config(Volumes=volumes), None


def _stopsignal(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    import signal

    word = expand(one.rest.strip(), state.scope, given.escape)
    name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
    known = word.isdecimal() and 0 < int(word) < 65
    if not known and name not in signal.Signals.__members__ and not name.startswith(("SIGRTMIN", "SIGRTMAX")):
        raise ValueError(f"unknown signal {word!r}")
    return state.with_config(StopSignal=word), None


def _healthcheck(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    kind, _, rest = one.rest.strip().partition(" ")
    if kind.upper() == "NONE":
        return state.with_config(Healthcheck={"Test": ["NONE"]}), None
    if kind.upper() != "CMD" or not rest.strip():
        raise ValueError(f"expected CMD and a command, or NONE, but found {one.rest.strip()!r}")
    inner = replace(one, rest=rest.strip(), exec=_exec(rest.strip()))
    test = ["CMD", *inner.exec] if inner.exec is not None else ["CMD-SHELL", rest.strip()]
    check: dict[str, Any] = {"Test": test}
    names = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    for flag, key in names.items():
        if (value := one.flag(flag)) is not None:
            check[key] = int(units.duration(expand(value, state.scope, given.escape)) * 1e9)
    if (retries := one.flag("retries")) is not None:
        if not retries.isdecimal():
            raise ValueError(f"--retries must be a number, not {retries!r}")
        check["Retries"] = int(retries)
    return state.with_config(Healthcheck=check), None


def _shell(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    if not one.exec:
        raise ValueError('expected the JSON form, as in SHELL ["/bin/bash", "-c"]')
    return state.with_config(Shell=list(one.exec)), None


def _onbuild(one: Instruction, state: State, given: Given) -> tuple[State, None]:
    word = one.rest.split(None, 1)[0].upper()
    if word in ("ONBUILD", "FROM", "MAINTAINER"):
        raise ValueError(f"{word} may not follow it")
    parse(f"FROM scratch\n{_with_documents(one)}")  # a mistake is told here, not to who builds from this image
    return state.with_config(OnBuild=[*(state.config.get("OnBuild") or ()), _with_documents(one)]), None


def _run(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    files: list[tuple[str, str]] = []
    if one.exec is not None:
        arguments = one.exec
    elif one.heredocs and one.rest.strip().startswith("<<") and " " not in one.rest.strip():
        (document,) = one.heredocs[:1]
        if document.content.startswith("#!"):  # a script of its own
            files.append(("/dev/pipes/EOF", document.content))
            arguments = ("/dev/pipes/EOF",)
        else:
            arguments = (*state.shell, document.content)
    else:
        text = one.rest if not one.heredocs else _with_documents(one, one.rest)
        arguments = (*state.shell, text)
    visible = {name: value for name, value in state.arguments.items() if name not in PREDEFINED}
    environment = {**visible, **state.environment}
    proxies = {name: value for name, value in given.arguments.items() if name in PREDEFINED and name not in environment}
    network = one.flag("network") or "default"
    if network not in ("default", "none"):
        raise ValueError(f"--network must be default or none, not {network!r}: steps see no host's network")
    if (one.flag("security") or "sandbox") != "sandbox":
        raise ValueError("--security=insecure is refused: steps run confined as services do")
    mounts = tuple(_mount(value, state, given) for name, value in one.flags if name == "mount")
    return state, Run(
        tuple(arguments),
        tuple(files),
        tuple(sorted(environment.items())),
        tuple(sorted(proxies.items())),
        str(state.config.get("User") or ""),
        state.cwd,
        mounts,
        network,
    )


def _copy(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    words = list(one.exec) if one.exec is not None else split(one.rest, given.escape)
    documents = {document.name: document for document in one.heredocs}
    filled = [word if word.startswith("<<") else expand(word, state.scope, given.escape) for word in words]
    if len(filled) < 2:
        raise ValueError("expected at least one source and a destination")
    texts = []
    sources = []
    for word in filled[:-1]:
        name = word.lstrip("<-").strip("'\"")
        if word.startswith("<<") and name in documents:
            document = documents[name]
            content = (
                expand(document.content, state.scope, given.escape, quotes=False)
                if document.expand
                else document.content
            )
            texts.append((name, content))
        else:
            sources.append(word)

    def flag(name: str) -> str:
        return expand(one.flag(name) or "", state.scope, given.escape)

    checksum = flag("checksum")
    if one.keyword == "ADD":
        for source in sources:
            if source.startswith(("git@", "git://")) or source.endswith(".git"):
                raise ValueError(f"{source!r}: repositories are not fetched; clone it beside the Dockerfile")
            if "://" in source and not checksum.startswith("sha256:"):
                raise ValueError(f"{source!r} is fetched only where --checksum=sha256:… says what it must be")
    if (link := one.flag("link")) not in (None, "", "true", "false"):
        raise ValueError(f"--link is true or false, not {link!r}")
    return state, Copy(
        tuple(sources),
        filled[-1],
        state.cwd,
        tuple(texts),
        flag("from") or None,
        flag("chown"),
        flag("chmod"),
        tuple(expand(value, state.scope, given.escape) for name, value in one.flags if name == "exclude"),
        one.keyword == "ADD",
        checksum,
    )


_TABLE: dict[str, Callable[[Instruction, State, Given], tuple[State, Step | None]]] = {
    "ENV": _env,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ARG": _arg,
    "WORKDIR": _workdir,
    "USER": _user,
    "ENTRYPOINT": _entrypoint,
    "CMD": _cmd,
    "EXPOSE": _expose,
    "VOLUME": _volume,
    "STOPSIGNAL": _stopsignal,
    "HEALTHCHECK": _healthcheck,
    "SHELL": _shell,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "COPY": _copy,
    "ADD": _copy,
}


# parts


def _command(one: Instruction, state: State) -> list[str] | None:
    if one.exec is not None:
        return list(one.exec)
    return [*state.shell, one.rest.strip()] if one.rest.strip() else None


def _exec(rest: str) -> tuple[str, ...] | None:
    from orchestrator.images.build.dockerfile import _exec as read

    return read(rest)


def _pairs(one: Instruction, scope: Mapping[str, str], escape: str) -> list[tuple[str, str]]:
    """`k=v k2=v2`, or the old `k rest of the line`. All of a line see the values from before it."""
    words = split(one.rest.strip(), escape)
    if words and "=" not in words[0]:
        name, _, rest = one.rest.strip().partition(" ")
        if not rest.strip():
            raise ValueError(f"{name!r} has no value: write {name}=…")
        return [(expand(name, scope, escape), expand(rest.strip(), scope, escape))]
    pairs = []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError(f"expected NAME=value, but found {word!r}")
        pairs.append((expand(name, scope, escape), expand(value, scope, escape)))
    return pairs


def _declared(one: Instruction, scope: Mapping[str, str], escape: str) -> list[tuple[str, str | None]]:
    found = []
    for word in split(one.rest.strip(), escape):
        name, equals, default = word.partition("=")
        if not name.replace("_", "a").isalnum() or name[0].isdigit():
            raise ValueError(f"{name!r} is no variable's name")
        value = expand(default, scope, escape) if equals else None
        scope = {**scope, **({name: value} if value is not None else {})}
        found.append((name, value))
    return found


def _with_documents(one: Instruction, head: str | None = None) -> str:
    """The instruction with its here-documents, for the shell to read them."""
    text = one.rest if head is None else head
    for document in one.heredocs:
        text += f"\n{document.content}{document.name}"
    return text + ("\n" if one.heredocs else "")


def _mount(text: str, state: State, given: Given) -> Mount:
    words = dict(_option(part) for part in expand(text, state.scope, given.escape).split(",") if part)
    kind = words.pop("type", "bind")
    target = words.pop("target", "") or words.pop("dst", "") or words.pop("destination", "")
    if kind not in ("bind", "cache", "tmpfs", "secret"):
        hint = ": no agent or key is handed into a step" if kind == "ssh" else ""
        raise ValueError(f"--mount=type={kind} is refused{hint}; known are bind, cache, tmpfs and secret")
    known = {
        "bind": ("source", "src", "from", "rw", "readwrite", "ro", "readonly"),
        "cache": ("id", "source", "src", "from", "ro", "readonly", "rw", "readwrite", "sharing", "mode", "uid", "gid"),
        "tmpfs": ("size",),
        "secret": ("id", "required", "mode", "uid", "gid", "env"),
    }[kind]
    if unknown := sorted(words.keys() - set(known)):
        raise ValueError(f"--mount=type={kind} has no {unknown[0]}; it has {', '.join(known)}")
    source = words.get("source") or words.get("src") or ""
    name = words.get("id") or ""
    if kind == "secret":
        name = name or posixpath.basename(target)
        if not name:
            raise ValueError("--mount=type=secret needs an id or a target")
        if not target and not words.get("env"):
            target = f"/run/secrets/{name}"
    elif not target:
        raise ValueError(f"--mount=type={kind} needs a target")
    if target:
        target = posixpath.normpath(posixpath.join(state.cwd, target))
    written = _yes(words, "rw", "readwrite")
    return Mount(
        kind,
        target,
        source,
        words.get("from"),
        name or (target if kind == "cache" else ""),
        (kind == "bind" and not written) or _yes(words, "ro", "readonly"),
        _yes(words, "required"),
        _sharing(words.get("sharing", "shared")),
        int(words["mode"], 8) if words.get("mode") else None,
        int(words.get("uid") or 0),
        int(words.get("gid") or 0),
        units.size(words["size"]) if words.get("size") else None,
        words.get("env") or "",
    )


def _option(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    return name.strip().lower(), value.strip() if equals else "true"


def _yes(words: Mapping[str, str], *names: str) -> bool:
    return any(words.get(name, "false").lower() in ("true", "1") for name in names)


def _sharing(word: str) -> str:
    if word not in ("shared", "private", "locked"):
        raise ValueError(f"sharing must be shared, private or locked, not {word!r}")
    return word


__all__ = ["Copy", "Given", "Heredoc", "Make", "Mount", "Run", "State", "Step", "apply", "global_arguments", "triggers"]
