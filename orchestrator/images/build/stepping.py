"""Instructions that change files: WORKDIR, RUN, COPY and ADD become steps for the builder. Pure.

ValueError (WrongWord, where it is known which word) says what is amiss.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from orchestrator import units
from orchestrator.images.build import modes
from orchestrator.images.build.configuring import with_documents
from orchestrator.images.build.dockerfile import Instruction
from orchestrator.images.build.sources import repository
from orchestrator.images.build.state import PREDEFINED, Copy, Given, Make, Mount, Run, State, Step
from orchestrator.images.build.words import WrongWord, expand, split

CHECKSUMS = ("sha256", "sha384", "sha512")
_BIND = ("source", "src", "from", "rw", "readwrite", "ro", "readonly")
_CACHE = ("id", "source", "src", "from", "ro", "readonly", "rw", "readwrite", "sharing", "mode", "uid", "gid")
_RELABEL = ("z", "relabel")  # of SELinux, which podman asks for and nothing here needs
_MOUNTS = {
    "bind": (*_BIND, *_RELABEL),
    "cache": (*_CACHE, *_RELABEL),
    "tmpfs": ("size",),
    "secret": ("id", "required", "mode", "uid", "gid", "env"),
}


def workdir(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    path = posixpath.normpath(posixpath.join(state.cwd, expand(one.rest.strip(), state.scope, given.escape)))
    path = "/" + path.lstrip("/")
    return state.with_config(WorkingDir=path), Make(path, str(state.config.get("User") or ""))


# RUN


def run(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    arguments, files = _program(one, state)
    visible = {name: value for name, value in state.arguments.items() if name not in PREDEFINED}
    environment = {**visible, **state.environment}
    proxies = {name: value for name, value in given.arguments.items() if name in PREDEFINED and name not in environment}
    if (one.flag("security") or "sandbox") != "sandbox":
        raise WrongWord("--security=insecure is refused: steps run confined as services do", "--security")
    return state, Run(
        arguments,
        files,
        tuple(sorted(environment.items())),
        tuple(sorted(proxies.items())),
        str(state.config.get("User") or ""),
        state.cwd,
        tuple(_mount(value, state, given) for name, value in one.flags if name == "mount"),
        _network(one, given),
    )


def _program(one: Instruction, state: State) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """What is run, and the scripts it needs: path inside → content."""
    if one.exec is not None:
        return one.exec, ()
    alone = one.heredocs and one.rest.strip().startswith("<<") and len(one.rest.split()) == 1
    if not alone:
        return (*state.shell, with_documents(one)), ()
    document = one.heredocs[0]
    if document.content.startswith("#!"):  # a script of its own
        path = f"/dev/pipes/{document.name}"
        return (path,), ((path, document.content),)
    return (*state.shell, document.content), ()


def _network(one: Instruction, given: Given) -> str:
    network = one.flag("network") or "default"
    if network not in ("default", "none", "host"):
        raise WrongWord(f"--network must be default, none or host, not {network!r}", "--network")
    if network == "host" and not given.host_network:
        raise WrongWord(
            "--network=host must be allowed by the stack: write entitlements: [network.host] under build", "--network"
        )
    return network


def _mount(text: str, state: State, given: Given) -> Mount:
    words = dict(_option(part) for part in expand(text, state.scope, given.escape).split(",") if part)
    kind = words.pop("type", "bind")
    target = words.pop("target", "") or words.pop("dst", "") or words.pop("destination", "")
    if kind not in _MOUNTS:
        hint = ": no agent or key is handed into a step" if kind == "ssh" else ""
        raise WrongWord(f"--mount=type={kind} is refused{hint}; known are {', '.join(_MOUNTS)}", text)
    if unknown := sorted(words.keys() - set(_MOUNTS[kind])):
        raise WrongWord(f"--mount=type={kind} has no {unknown[0]}; it has {', '.join(_MOUNTS[kind])}", text)
    name = words.get("id") or ""
    if kind == "secret":
        name = name or posixpath.basename(target)
        if not name:
            raise WrongWord("--mount=type=secret needs an id or a target", text)
        if not target and not words.get("env"):
            target = f"/run/secrets/{name}"
    if target or kind != "secret":  # without a target: the working directory
        target = posixpath.normpath(posixpath.join(state.cwd, target))
    kept = _yes(words, "rw", "readwrite") or _no(words, "ro", "readonly")
    try:
        return Mount(
            kind,
            target,
            words.get("source") or words.get("src") or "",
            words.get("from"),
            name or (target if kind == "cache" else ""),
            (kind == "bind" and not kept) or _yes(words, "ro", "readonly"),
            _yes(words, "required"),
            _sharing(words.get("sharing", "shared")),
            int(words["mode"], 8) if words.get("mode") else None,
            int(words.get("uid") or 0),
            int(words.get("gid") or 0),
            units.size(words["size"]) if words.get("size") else None,
            words.get("env") or "",
        )
    except ValueError as error:
        raise WrongWord(f"--mount: {error}", text) from None


def _option(part: str) -> tuple[str, str]:
    name, equals, value = part.partition("=")
    return name.strip().lower(), value.strip() if equals else "true"


def _yes(words: Mapping[str, str], *names: str) -> bool:
    return any(words.get(name, "false").lower() in ("true", "1") for name in names)


def _no(words: Mapping[str, str], *names: str) -> bool:
    return any(words.get(name, "true").lower() in ("false", "0") for name in names)


def _sharing(word: str) -> str:
    if word not in ("shared", "private", "locked"):
        raise ValueError(f"sharing must be shared, private or locked, not {word!r}")
    return word


# COPY and ADD


def copy(one: Instruction, state: State, given: Given) -> tuple[State, Step]:
    words = list(one.exec) if one.exec is not None else split(one.rest, given.escape)
    marks = [bool(one.heredocs) and word.lstrip("0123456789").startswith("<<") for word in words]
    filled = [
        word if mark else expand(word, state.scope, given.escape) for word, mark in zip(words, marks, strict=True)
    ]
    if len(filled) < 2:
        raise WrongWord("expected at least one source and a destination", one.rest.strip())

    def flag(name: str) -> str:
        return expand(one.flag(name) or "", state.scope, given.escape)

    mode, checksum = flag("chmod"), flag("checksum")
    try:
        modes.parse(mode)
    except ValueError as error:
        raise WrongWord(str(error), one.flag("chmod") or "") from None
    sources = [word for word, mark in zip(filled[:-1], marks, strict=False) if not mark]
    repositories = [source for source in sources if one.keyword == "ADD" and repository(source)]
    fetched = [source for source in sources if one.keyword == "ADD" and "://" in source and source not in repositories]
    _check_remote(one, len(sources), fetched, repositories, checksum)
    _switch(one, "link")
    return state, Copy(
        tuple(source for source in sources if source not in (*fetched, *repositories)),
        filled[-1],
        state.cwd,
        _texts(one, state, given),
        flag("from") or None,
        flag("chown"),
        mode,
        tuple(expand(value, state.scope, given.escape) for name, value in one.flags if name == "exclude"),
        one.keyword == "ADD" and one.flag("unpack") != "false",
        checksum,
        _switch(one, "parents"),
        tuple(fetched),
        tuple(repositories),
    )


def _texts(one: Instruction, state: State, given: Given) -> tuple[tuple[str, str], ...]:
    """Files of here-documents."""
    return tuple(
        (
            document.name,
            expand(document.content, state.scope, given.escape, quotes=False) if document.expand else document.content,
        )
        for document in one.heredocs
    )


def _check_remote(one: Instruction, count: int, fetched: list[str], repositories: list[str], checksum: str) -> None:
    """What comes from elsewhere must say what it is, or be a repository, whose commits say it themselves."""
    if _switch(one, "keep-git-dir"):
        raise WrongWord("--keep-git-dir is refused: a repository is added as its files", "--keep-git-dir")
    if _switch(one, "unpack") and fetched:
        raise WrongWord("--unpack of what is fetched is refused: unpack it in a RUN step", "--unpack")
    if checksum and not (count == 1 and (fetched or repositories)):
        raise WrongWord("--checksum is for one source that is fetched", "--checksum")
    algorithm, _, code = checksum.partition(":")
    for source in fetched:
        if algorithm not in CHECKSUMS or not code:
            raise WrongWord(f"{source!r} is fetched only where --checksum=sha256:… says what it must be", source)


def _switch(one: Instruction, name: str) -> bool:
    value = one.flag(name)
    if value not in (None, "", "true", "false"):
        raise WrongWord(f"--{name} is true or false, not {value!r}", f"--{name}")
    return value in ("", "true")
