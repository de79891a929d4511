"""One service of the file → `Service`. Reads like the Compose Specification's list of keys; mistakes are collected."""

from __future__ import annotations

import os
import re
from typing import Any, get_args

from orchestrator import units
from orchestrator.health.check import Check
from orchestrator.policy import pull
from orchestrator.policy.pull import PullPolicy
from orchestrator.policy.restart import Condition, RestartPolicy
from orchestrator.stack import grants, mounts, networks, ports, probes, resources, rollout
from orchestrator.stack.build import build
from orchestrator.stack.context import Context, text, words
from orchestrator.stack.forms import listed, paired
from orchestrator.stack.healing import healing, on_change
from orchestrator.stack.limits import limits, reserved
from orchestrator.stack.logging import logging
from orchestrator.stack.lookup import lookup
from orchestrator.stack.model import Dependency, Port, Service
from orchestrator.stack.placement import placement
from orchestrator.stack.places import Path, did_you_mean
from orchestrator.stack.sandbox import sandbox
from orchestrator.stack.signals import signal_name

# ruff: noqa: SIM905 (words in a row read better than a column of quotes)
CAPABILITIES = frozenset(
    """
    AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
    FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN
    NET_BIND_SERVICE NET_BROADCAST NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYS_ADMIN SYS_BOOT SYS_CHROOT
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG SYSLOG WAKE_ALARM ALL
    """.split()
)
FILES = ("oci", "oci-archive", "docker-archive")  # transports of images in files of this machine
_CONDITIONS: dict[str, Any] = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
# Where empty: files write `${NAME:-}` there.
_AS_IF_UNWRITTEN = ("hostname", "restart", "stop_signal", "mac_address", "platform", "user")
_CONTAINER_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]*[a-zA-Z0-9])?")


def service(context: Context, name: str, data: dict[str, Any]) -> tuple[Service, list[tuple[Port, Path]]]:
    """The service, and where each of its ports was written."""
    path: Path = ("services", name)
    data = {key: value for key, value in data.items() if value != "" or key not in _AS_IF_UNWRITTEN}
    deploy = data.get("deploy") or {}
    check, disabled = healthcheck(context, data.get("healthcheck") or {}, (*path, "healthcheck"))
    published = ports.ports(context, data.get("ports") or [], (*path, "ports"))
    change = rollout.change(context, data, path)
    place = placement(context, data, path)
    made = Service(
        name=name,
        image=_image(context, data, path),
        command=context.read(data, path, "command", words, None),
        entrypoint=context.read(data, path, "entrypoint", words, None),
        environment=environment(context, data, path),
        working_dir=data.get("working_dir") or None,
        user=text(data["user"]) if "user" in data else None,
        hostname=context.read(data, path, "hostname", _hostname, None),
        depends_on=dependencies(data),
        healthcheck=check,
        healthcheck_disabled=disabled,
        restart=restart(context, data, deploy, path),
        ports=tuple(port for port, _ in published),
        networks=networks.attachments(context, data, path),
        network_mode=data.get("network_mode") or None,
        mounts=mounts.owner(context, data, mounts.mounts(context, data, path)),
        volumes_from=mounts.volumes_from(context, data, path),
        grants=grants.grants(context, data, path),
        labels=resources.labels(data.get("labels")),
        stop_signal=context.read(data, path, "stop_signal", signal_name, None),
        stop_grace_period=context.read(data, path, "stop_grace_period", units.duration, 10.0),
        init=bool(data.get("init", False)),
        read_only=bool(data.get("read_only", False)),
        cap_add=_capabilities(context, data, path, "cap_add"),
        cap_drop=_capabilities(context, data, path, "cap_drop"),
        replicas=_replicas(context, data, deploy, path),
        limits=limits(context, data, path),
        reservations=reserved(context, data, path),
        placement=place,
        container_name=context.read(data, path, "container_name", _container_name, None),
        platform=context.read(data, path, "platform", str, None),
        build=build(context, data, path),
        pull_policy=context.read(data, path, "pull_policy", pull.parse, PullPolicy()),
        attach=bool(data.get("attach", True)),
        annotations=context.read(data, path, "annotations", _annotations, {}),
        logging=logging(context, data, path),
        lookup=lookup(context, data, path),
        sandbox=sandbox(context, data, path),
        update=change.update,
        rollback=change.rollback,
        canary=change.canary,
        drain=change.drain,
        job=change.job or ("once-per-change" if place.job else None),
        pre_start=change.pre_start,
        post_start=change.post_start,
        pre_stop=change.pre_stop,
        probes=probes.probes(context, data, path),
        healing=healing(context, data, path),
        on_change=on_change(data),
        extensions={key: value for key, value in data.items() if key.startswith("x-")},
    )
    _expose(context, data, path)
    return made, published


def _image(context: Context, data: dict[str, Any], path: Path) -> str:
    if data.get("image"):
        image = str(data["image"])
        transport, _, place = image.partition(":")
        if transport == "dir" or (transport in FILES and place.startswith(".")):
            file, colon, tag = place.partition(":") if transport in FILES else (place, "", "")
            return f"{transport}:{os.path.normpath(os.path.join(context.directory, file))}{colon}{tag}"
        return image
    if data.get("build"):
        return f"{context.stack}-{path[-1]}"
    if not {(*path, "image"), (*path, "build"), (*path, "extends"), (*path, "provider")} & context.complaints.broken:
        context.complain(path, "'image' is missing; for programs of this machine write image: host:/", key=True)
    return ""


def environment(context: Context, data: dict[str, Any], path: Path) -> dict[str, str]:
    """The variables; env_file and the caller's values are in them already. A name without value is left out."""
    result: dict[str, str] = {}
    for name, value in (data.get("environment") or {}).items():
        if not name or "\0" in name or "=" in name:
            context.complain((*path, "environment", name), f"expected a variable's name, but found {name!r}", key=True)
        elif value is not None:
            result[name] = text(value)
    return result


def _hostname(word: str) -> str:
    if len(word) > 63 or not _HOSTNAME.fullmatch(word):
        raise ValueError(f"expected a host name of letters, digits, '-', '_' and '.' (at most 63), but found {word!r}")
    return word


def _annotations(value: Any) -> dict[str, str]:
    found = paired(value)
    for name in found:
        if name.startswith("org.pyorch."):
            raise ValueError(f"annotation {name!r}: names that begin with org.pyorch. are pyorch's own")
    return found


def _container_name(word: str) -> str:
    if not _CONTAINER_NAME.fullmatch(word):
        raise ValueError(f"expected a name of letters, digits, '_', '.' and '-' (two or more), but found {word!r}")
    return word


def dependencies(data: dict[str, Any]) -> dict[str, Dependency]:
    """depends_on, and what follows from links and from stepping into another service's namespaces."""
    found = {key: _dependency(value) for key, value in (data.get("depends_on") or {}).items()}
    for word in listed(data.get("links")):
        found.setdefault(word.partition(":")[0], Dependency(restart=True))
    for key in ("network_mode", "pid", "ipc"):
        kind, _, name = str(data.get(key) or "").partition(":")
        if kind == "service" and name:
            found.setdefault(name, Dependency(restart=True))
    return found


def _dependency(value: dict[str, Any]) -> Dependency:
    condition = _CONDITIONS[value.get("condition", "service_started")]
    return Dependency(condition, bool(value.get("restart", False)), bool(value.get("required", True)))


def healthcheck(context: Context, data: dict[str, Any], path: Path) -> tuple[Check | None, bool]:
    """(the check, whether the image's own is switched off too)."""
    test = data.get("test")
    if data.get("disable") or test == ["NONE"] or test == "NONE":
        return None, True
    if not test:
        if data and (*path, "test") not in context.complaints.broken:
            context.complain(
                path, "'test' is missing: what is to be run, such as [CMD, curl, -f, http://localhost]", key=True
            )
        return None, False
    words = ("CMD-SHELL", test) if isinstance(test, str) else tuple(word for word in test if word is not None)
    if words[0] not in ("CMD", "CMD-SHELL"):
        context.complain(
            (*path, "test"), f"the list must begin with CMD, CMD-SHELL or NONE, but begins with {words[0]!r}"
        )
    elif len(words) < 2 or (words[0] == "CMD-SHELL" and len(words) > 2):
        wanted = "one text" if words[0] == "CMD-SHELL" else "a command"
        context.complain((*path, "test"), f"{words[0]} must be followed by {wanted}")

    usual = Check(())

    def seconds(key: str, default: float) -> float:
        return context.read(data, path, key, units.duration, default) or default  # 0 means the default, as in Docker

    return Check(
        tuple(map(str, words)),
        seconds("interval", usual.interval),
        seconds("timeout", usual.timeout),
        data.get("retries") or usual.retries,
        seconds("start_period", usual.start_period),
        seconds("start_interval", usual.start_interval),
    ), False


def restart(context: Context, data: dict[str, Any], deploy: dict[str, Any], path: Path) -> RestartPolicy:
    """`restart`, over it `deploy.restart_policy`, and the back-off of `x-pyorch.restarts`."""
    usual = RestartPolicy()
    condition, attempts = context.read(data, path, "restart", _restart, (usual.condition, usual.max_attempts))
    window = delay = None
    if (policy := deploy.get("restart_policy")) is not None:
        here = (*path, "deploy", "restart_policy")
        condition = context.read(policy, here, "condition", _condition, "always")
        attempts = policy.get("max_attempts")
        delay = context.read(policy, here, "delay", units.duration, None)
        window = context.read(policy, here, "window", units.duration, None)
    words = (data.get("x-pyorch") or {}).get("restarts") or {}
    here = (*path, "x-pyorch", "restarts")
    return RestartPolicy(
        condition,
        attempts,
        window,
        delay,
        context.read(words, here, "initial", units.duration, usual.initial),
        float(words.get("factor", usual.factor)),
        context.read(words, here, "max", units.duration, usual.max),
        context.read(words, here, "reset_after", units.duration, usual.reset_after),
        words.get("give_up_after"),
        heal=condition != "no" or ("restart" not in data and policy is None),
    )


def _condition(word: str) -> Condition:
    """`deploy.restart_policy.condition` in the words of `restart`."""
    named: dict[str, Condition] = {"any": "always", "none": "no", "on-failure": "on-failure", "": "always"}
    if word not in named:
        raise ValueError(
            f"expected none, on-failure or any, but found {word!r}{did_you_mean(word, filter(None, named))}"
        )
    return named[word]


def _restart(word: str) -> tuple[Condition, int | None]:
    name, colon, count = word.partition(":")
    for condition in get_args(Condition):
        if name == condition and not colon:
            return condition, None
    if name == "on-failure" and count.isdecimal():
        return "on-failure", int(count[:9]) or None
    hint = did_you_mean(word, get_args(Condition))
    raise ValueError(f"expected no, always, unless-stopped, on-failure or on-failure:N, but found {word!r}{hint}")


def _capabilities(context: Context, data: dict[str, Any], path: Path, key: str) -> tuple[str, ...]:
    result = []
    for index, word in enumerate(data.get(key) or ()):
        name = (word or "").upper().removeprefix("CAP_")
        if word is not None and name not in CAPABILITIES:
            context.complain((*path, key, index), f"unknown capability {word!r}{did_you_mean(name, CAPABILITIES)}")
        elif name:
            result.append(name)
    return tuple(dict.fromkeys(result))


def _replicas(context: Context, data: dict[str, Any], deploy: dict[str, Any], path: Path) -> int:
    scale, replicas = data.get("scale"), deploy.get("replicas")
    if None not in (scale, replicas) and scale != replicas:
        context.complain((*path, "scale"), f"is {scale}, but deploy.replicas is {replicas}; write one of the two")
    chosen = replicas if replicas is not None else scale
    return 1 if chosen is None else int(chosen)


def _expose(context: Context, data: dict[str, Any], path: Path) -> None:
    """`expose` publishes nothing and services of a network reach every port anyway: only its form is checked."""
    for index, word in enumerate(data.get("expose") or ()):
        if word is not None and not re.fullmatch(r"\d{1,5}(-\d{1,5})?(/(tcp|udp))?", str(word)):
            context.complain((*path, "expose", index), f"expected a port such as 80 or 80/udp, but found {word!r}")
