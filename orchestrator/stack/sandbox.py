"""Where a service's walls differ from the usual: privileged, devices, namespaces, ulimits, sysctls … → `Sandbox`."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from orchestrator.stack import disks
from orchestrator.stack.context import Context, size_of, text
from orchestrator.stack.forms import listed, paired
from orchestrator.stack.model import Device, Sandbox
from orchestrator.stack.places import Path, did_you_mean

# getrlimit(2), as Docker names them.
ULIMITS = (
    *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
    *("rtprio", "rttime", "sigpending", "stack"),
)
# Kernel parameters that each namespace has for itself: sysctl/kernel.rst, ipc_namespaces(7), network_namespaces(7).
_IPC = frozenset(
    f"kernel.{name}" for name in ("msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced")
)
# What Docker separates and pyorch does not use: without SELinux and AppArmor profiles of ours there is none to lift.
_MEANINGLESS = frozenset({"apparmor=unconfined", "label=disable"})


def sandbox(context: Context, data: dict[str, Any], path: Path) -> Sandbox:
    options: dict[str, str] = context.read(data, path, "security_opt", _security, {})
    return Sandbox(
        privileged=bool(data.get("privileged", False)),
        new_privileges=options.get("no-new-privileges") == "false",
        seccomp=options.get("seccomp"),
        unmasked=options.get("systempaths") == "unconfined",
        cpuset=context.read(data, path, "cpuset", disks.cpuset, ""),
        blkio=context.read(data, path, "blkio_config", disks.blkio, ()),
        devices=context.read(data, path, "devices", _devices, ()),
        device_cgroup_rules=context.read(data, path, "device_cgroup_rules", _rules, ()),
        ulimits=_ulimits(context, data, path),
        sysctls=_sysctls(context, data, path),
        shm_size=context.read(data, path, "shm_size", size_of, None) or None,
        pid=_namespace(context, data, path, "pid", ()),
        ipc=_namespace(context, data, path, "ipc", ("none", "shareable")),
        uts=_namespace(context, data, path, "uts", (), others=False),
        cgroup=_namespace(context, data, path, "cgroup", (), others=False),
        cgroup_parent=context.read(data, path, "cgroup_parent", _parent, None),
        group_add=tuple(listed(data.get("group_add"))),
        oom_score_adj=context.read(data, path, "oom_score_adj", _score, None),
        domainname=text(data["domainname"]) if data.get("domainname") else None,
        tty=bool(data.get("tty", False)),
        stdin_open=bool(data.get("stdin_open", False)),
    )


def _security(value: Any) -> dict[str, str]:
    """security_opt: "no-new-privileges[:true|false]", "seccomp=unconfined", "apparmor:unconfined", "label:…" …"""
    found: dict[str, str] = {}
    for word in listed(value):
        name, _, setting = re.sub("[:=]", "=", word, count=1).partition("=")
        written = f"{name}={setting}"
        if name == "no-new-privileges" and setting in ("", "true", "false"):
            found[name] = setting or "true"
        elif written in ("seccomp=unconfined", "systempaths=unconfined"):
            found[name] = setting
        elif written in ("seccomp=builtin", *_MEANINGLESS) or name == "label":
            pass
        elif name in ("seccomp", "apparmor"):
            raise ValueError(
                f"{word!r}: a profile of one's own is part of the Compose Specification but pyorch does not obey it"
                f" yet; write {name}=unconfined, or remove it"
            )
        else:
            known = ("no-new-privileges", "seccomp", "systempaths", "apparmor", "label")
            raise ValueError(f"expected one of {', '.join(known)}, but found {word!r}{did_you_mean(name, known)}")
    return found


def _devices(value: Any) -> tuple[Device, ...]:
    """ "/dev/a", "/dev/a:/dev/b", "/dev/a:/dev/b:rw", or the long form."""
    return tuple(_device(item) for item in value or () if item is not None)


def _device(item: Any) -> Device:
    if isinstance(item, dict):
        source, target, rights = item["source"], item.get("target"), item.get("permissions")
    else:
        source, _, rest = str(item).partition(":")
        target, _, rights = rest.partition(":")
        if re.fullmatch("[rwm]{1,3}", target) and not rights:
            target, rights = "", target
    if not str(source).startswith("/"):
        named = "; CDI names are part of the Compose Specification but not obeyed yet" if "=" in str(source) else ""
        raise ValueError(
            f"expected the path of a device of this machine, such as /dev/snd, but found {source!r}{named}"
        )
    rights = rights or "rwm"
    if not re.fullmatch("[rwm]{1,3}", rights):
        raise ValueError(f"expected permissions of 'r', 'w' and 'm', but found {rights!r}")
    if target and not str(target).startswith("/"):
        raise ValueError(f"the path in the container must be absolute, but found {target!r}")
    return Device(posixpath.normpath(source), posixpath.normpath(target or source), rights)


def _rules(value: Any) -> tuple[str, ...]:
    for word in listed(value):
        if not re.fullmatch(r"[abc] (\d+|\*):(\d+|\*) [rwm]{1,3}", word):
            raise ValueError(f"expected TYPE MAJOR:MINOR ACCESS such as 'c 189:* rwm', but found {word!r}")
    return tuple(listed(value))


def _ulimits(context: Context, data: dict[str, Any], path: Path) -> dict[str, tuple[int, ...]]:
    """Name → (soft, hard)."""
    found: dict[str, tuple[int, ...]] = {}
    for name, value in (data.get("ulimits") or {}).items():
        here = (*path, "ulimits", name)
        soft, hard = (value["soft"], value["hard"]) if isinstance(value, dict) else (value, value)
        if name not in ULIMITS:
            context.complain(here, f"unknown limit {name!r}{did_you_mean(name, ULIMITS)}", key=True)
        elif not isinstance(soft, int) or not isinstance(hard, int) or min(soft, hard) < -1:
            context.complain(here, "expected numbers; -1 means no limit")
        elif hard != -1 and (soft == -1 or soft > hard):
            context.complain(here, f"the soft limit {soft} is above the hard limit {hard}")
        else:
            found[name] = (soft, hard)
    return found


def _sysctls(context: Context, data: dict[str, Any], path: Path) -> dict[str, str]:
    found = paired(data.get("sysctls"))
    shared = {"net.": data.get("network_mode") == "host", "ipc": data.get("ipc") == "host"}
    for name in found:
        of_net, of_ipc = name.startswith("net."), name in _IPC or name.startswith("fs.mqueue.")
        here = (*path, "sysctls", name)
        if not of_net and not of_ipc:
            context.complain(here, f"{name} belongs to the whole machine, not to a container; set it on the host")
        elif (of_net and shared["net."]) or (of_ipc and shared["ipc"]):
            context.complain(here, f"{name} is the host's own here (network_mode or ipc: host); set it on the host")
    return found


def _namespace(
    context: Context, data: dict[str, Any], path: Path, key: str, further: tuple[str, ...], *, others: bool = True
) -> str:
    """ "private", "host", and for some "service:X" and "container:X"."""
    word = str(data.get(key) or "private")
    kind, _, name = word.partition(":")
    if word in ("private", "host", *further) or (others and kind in ("service", "container") and name):
        return word
    forms = ", ".join(("private", "host", *further, *(("service:NAME", "container:NAME") if others else ())))
    context.complain((*path, key), f"expected one of {forms}, but found {word!r}")
    return "private"


def _parent(word: str) -> str:
    if not re.fullmatch(r"/?[\w.-]+(/[\w.-]+)*", word) or ".." in word.split("/"):
        raise ValueError(f"expected the path of a control group, but found {word!r}")
    return word.strip("/")


def _score(value: Any) -> int:
    if not -1000 <= int(value) <= 1000:
        raise ValueError(f"expected a number from -1000 to 1000, but found {value!r}")
    return int(value)
