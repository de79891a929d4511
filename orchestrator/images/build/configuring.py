"""Instructions that change no file: they say how the image is run, and what later ones mean. Pure.

Each takes the instruction, the state before it and what is given from outside, and gives the state after it. ValueError
(WrongWord, where it is known which word) says what is amiss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator import units
from orchestrator.images.build.dockerfile import Instruction, Wrong, json_form, parse
from orchestrator.images.build.state import Given, State
from orchestrator.images.build.words import BLANKS, WrongWord, expand, split


def env(one: Instruction, state: State, given: Given) -> State:
    environment = state.environment
    for name, value in _pairs(one, state.scope, given.escape):
        environment[name] = value
    return state.with_config(Env=[f"{name}={value}" for name, value in environment.items()])


def label(one: Instruction, state: State, given: Given) -> State:
    return state.with_config(
        Labels={**(state.config.get("Labels") or {}), **dict(_pairs(one, state.scope, given.escape))}
    )


def maintainer(one: Instruction, state: State, given: Given) -> State:
    return replace(state, author=one.rest.strip())


def arg(one: Instruction, state: State, given: Given) -> State:
    arguments = dict(state.arguments)
    for name, default in declared(one, state.scope, given.escape):
        value = given.arguments.get(name, default)
        if value is None:
            value = given.defaults.get(name, given.platform.get(name))
        if value is not None:
            arguments[name] = value
    return replace(state, arguments=arguments)


def user(one: Instruction, state: State, given: Given) -> State:
    found = expand(one.rest.strip(), state.scope, given.escape)
    if not found or " " in found:
        raise WrongWord(f"expected a user, or user:group, but found {one.rest.strip()!r}", one.rest.strip())
    return state.with_config(User=found)


def entrypoint(one: Instruction, state: State, given: Given) -> State:
    state = state.with_config(Entrypoint=_command(one, state))
    return state if state.command_is_ours else state.with_config(Cmd=None)


def cmd(one: Instruction, state: State, given: Given) -> State:
    return replace(state.with_config(Cmd=_command(one, state)), command_is_ours=True)


def shell(one: Instruction, state: State, given: Given) -> State:
    if not one.exec:
        raise WrongWord('expected the JSON form, as in SHELL ["/bin/bash", "-c"]', one.rest.strip())
    return state.with_config(Shell=list(one.exec))


def expose(one: Instruction, state: State, given: Given) -> State:
    """A port of the host before it (`8080:80`) says nothing of the image, and Docker takes it so."""
    ports = dict(state.config.get("ExposedPorts") or {})
    for word in split(expand(one.rest, state.scope, given.escape), given.escape):
        numbers, _, protocol = word.rpartition(":")[2].partition("/")
        first, _, last = numbers.partition("-")
        known = protocol.lower() in ("", "tcp", "udp", "sctp")
        if not first.isdecimal() or not (last or first).isdecimal() or not known:
            raise WrongWord(f"expected a port such as 80 or 53/udp, but found {word!r}", word)
        if not 0 < int(first) <= int(last or first) < 65536:
            raise WrongWord(f"{word!r} is no range of ports", word)
        ports |= {f"{port}/{protocol.lower() or 'tcp'}": {} for port in range(int(first), int(last or first) + 1)}
    return state.with_config(ExposedPorts=ports)


def volume(one: Instruction, state: State, given: Given) -> State:
    words = one.exec if one.exec is not None else split(one.rest, given.escape)
    paths = [expand(word, state.scope, given.escape) for word in words]
    if not paths or not all(paths):
        raise ValueError("expected the path of a directory")
    return state.with_config(Volumes={**(state.config.get("Volumes") or {}), **{path: {} for path in paths}})


def stopsignal(one: Instruction, state: State, given: Given) -> State:
    import signal

    word = expand(one.rest.strip(), state.scope, given.escape)
    name = word.upper() if word.upper().startswith("SIG") else f"SIG{word.upper()}"
    known = word.isdecimal() and 0 < int(word) < 65
    if not known and name not in signal.Signals.__members__ and not name.startswith(("SIGRTMIN", "SIGRTMAX")):
        raise WrongWord(f"unknown signal {word!r}", one.rest.strip())
    return state.with_config(StopSignal=word)


_CHECK_TIMES = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def healthcheck(one: Instruction, state: State, given: Given) -> State:
    kind, *rest = one.rest.strip().split(None, 1)
    if kind.upper() == "NONE" and not rest:
        return state.with_config(Healthcheck={"Test": ["NONE"]})
    if kind.upper() != "CMD" or not rest:
        raise WrongWord(f"expected CMD and a command, or NONE, but found {one.rest.strip()!r}", kind)
    words = json_form(rest[0])
    check: dict[str, Any] = {"Test": ["CMD", *words] if words is not None else ["CMD-SHELL", rest[0]]}
    for flag, key in _CHECK_TIMES.items():
        if (value := one.flag(flag)) is not None:
            try:
                check[key] = int(units.duration(expand(value, state.scope, given.escape)) * 1e9)
            except ValueError as error:
                raise WrongWord(f"--{flag}: {error}", value) from None
    if (retries := one.flag("retries")) is not None:
        retries = expand(retries, state.scope, given.escape)
        if not retries.isdecimal():
            raise WrongWord(f"--retries must be a number, not {retries!r}", retries)
        check["Retries"] = int(retries)
    return state.with_config(Healthcheck=check)


def onbuild(one: Instruction, state: State, given: Given) -> State:
    word = one.rest.split(None, 1)[0]
    if word.upper() in ("ONBUILD", "FROM", "MAINTAINER"):
        raise WrongWord(f"{word.upper()} may not follow it", word)
    text = with_documents(one)
    try:
        parse(f"FROM scratch\n{text}")  # a mistake is told here, not to who builds from this image
    except Wrong as error:
        raise WrongWord(error.why, one.rest) from None
    return state.with_config(OnBuild=[*(state.config.get("OnBuild") or ()), text])


# parts


def _command(one: Instruction, state: State) -> list[str] | None:
    if one.exec is not None:
        return list(one.exec)
    return [*state.shell, one.rest.strip()] if one.rest.strip() else None


def _pairs(one: Instruction, scope: Mapping[str, str], escape: str) -> list[tuple[str, str]]:
    """`k=v k2=v2`, or the old `k rest of the line`. All of a line see the values from before it."""
    first, *rest = one.rest.strip().split(None, 1)
    if "=" not in first and first[0] not in "'\"":
        if not rest:
            raise WrongWord(f"{first!r} has no value: write {first}=…", first)
        return [(expand(first, scope, escape), expand(rest[0].strip(BLANKS), scope, escape))]
    pairs = []
    for word in split(one.rest.strip(), escape):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise WrongWord(f"expected NAME=value, but found {word!r}", word)
        pairs.append((expand(name, scope, escape), expand(value, scope, escape)))
    return pairs


def declared(one: Instruction, scope: Mapping[str, str], escape: str) -> list[tuple[str, str | None]]:
    """The names of an ARG, with their values where it gives any."""
    found = []
    for word in split(one.rest.strip(), escape):
        name, equals, default = word.partition("=")
        if not name.replace("_", "a").isalnum() or name[0].isdigit():
            raise WrongWord(f"{name!r} is no variable's name", word)
        value = expand(default, scope, escape) if equals else None
        scope = {**scope, **({name: value} if value is not None else {})}
        found.append((name, value))
    return found


def with_documents(one: Instruction) -> str:
    """The instruction with its here-documents, for the shell to read them."""
    text = one.rest
    for document in one.heredocs:
        text += f"\n{document.content}{document.name}"
    return text + ("\n" if one.heredocs else "")
