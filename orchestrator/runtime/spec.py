"""A service's container in the industry's own words: the OCI runtime spec (config.json). Pure.

What a container gets where the stack file is silent is decided here, on one page: Docker's defaults, and stricter
where nobody misses anything (no_new_privs, 2048 processes, no core dumps, a bounded number of open files, no raw
frames). https://github.com/opencontainers/runtime-spec
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator.errors import Mistake
from orchestrator.kernel import capabilities
from orchestrator.root import Root
from orchestrator.runtime.walls import (
    MASKED_PATHS,
    READONLY_PATHS,
    closed,
    filesystems,
    namespaces,
    own_devices,
    powers,
    settings,
)  # fmt: skip
from orchestrator.stack.model import Logging, Service

Devices = tuple[list[dict[str, Any]], list[dict[str, Any]]]  # linux.devices, linux.resources.devices

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_PIDS = 2048
CPU_PERIOD = 100_000  # microseconds
SHARES_PER_CPU = 1024

CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip

# Soft and hard; -1: no limit. No core dumps: they would be written into the container's layer, secrets and all.
ULIMITS: dict[str, tuple[int, ...]] = {"nofile": (1024, 524288), "core": (0, 0)}


class Image(Protocol):
    """What is needed of images.image.Image."""

    @property
    def reference(self) -> str: ...
    @property
    def layers(self) -> tuple[str, ...]: ...
    @property
    def environment(self) -> Mapping[str, str]: ...
    @property
    def entrypoint(self) -> Sequence[str] | None: ...
    @property
    def command(self) -> Sequence[str] | None: ...
    @property
    def working_dir(self) -> str | None: ...
    @property
    def user(self) -> str | None: ...
    @property
    def mounts(self) -> Sequence[Mapping[str, Any]]: ...


def container_spec(
    *,
    service: Service,
    image: Image,
    container: str,
    root: Root,
    hostname: str,
    mounts: Sequence[Mapping[str, Any]] = (),
    memory_ceiling: int | None = None,
    ulimits: Mapping[str, tuple[int, ...]] | None = None,
    devices: Devices | None = None,
    block_io: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The spec of one container of `service`, as json.dump takes it.

    `mounts`: OCI mounts for volumes, binds and the files of /etc. `memory_ceiling`: bytes, the
    limit of a service that names none, so that it meets its own end before the machine's memory ends. `ulimits`: what
    can be granted of the service's, see `runtime.ulimits`. `devices`: those of the host, and who may open what, see
    `runtime.devices`; None: the usual. `block_io`: what it may have of which disk.
    Raises Mistake where neither the service nor the image says what to run.
    """
    own = root.container(container)
    walls = service.sandbox
    granted = powers(service, granted_capabilities(service.cap_add, service.cap_drop))
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": walls.tty,
            "args": arguments(service, image),
            "env": [f"{name}={value}" for name, value in environment(service, image, hostname).items()],
            "cwd": service.working_dir or image.working_dir or "/",
            "user": _user(service, image),
            "capabilities": {"bounding": granted, "effective": granted, "permitted": granted},
            "noNewPrivileges": not (walls.new_privileges or walls.privileged),
            "rlimits": [
                {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
                for name, (soft, hard) in {**ULIMITS, **(walls.ulimits if ulimits is None else ulimits)}.items()
            ],
            **({} if walls.oom_score_adj is None else {"oomScoreAdj": walls.oom_score_adj}),
        },
        "root": {"path": "rootfs", "readonly": service.read_only},
        **({} if walls.uts == "host" else {"hostname": hostname}),
        **({"domainname": walls.domainname} if walls.domainname else {}),
        "mounts": [*filesystems(service), *image.mounts, *sorted(mounts, key=_depth)],
        "linux": {
            "cgroupsPath": root.group(container, own_devices(service)),
            "namespaces": namespaces(service),
            "resources": {
                **resources(service, memory_ceiling),
                **({"devices": devices[1]} if devices else {}),
                **({"blockIO": block_io} if block_io else {}),
            },
            **({"devices": devices[0]} if devices else {}),
            "sysctl": settings(service),
            "maskedPaths": closed(walls, MASKED_PATHS),
            "readonlyPaths": closed(walls, READONLY_PATHS),
        },
        "annotations": {
            **service.annotations,
            "org.pyorch.layers": ":".join(image.layers),
            "org.pyorch.upper": f"{own}/upper",
            "org.pyorch.work": f"{own}/work",
            "org.pyorch.log": f"{own}/log",
            **_log_notes(service.logging),
            "org.pyorch.init": "true" if service.init else "false",
            "org.pyorch.seccomp": "unconfined" if walls.privileged else walls.seccomp or _filter(service.cap_add),
            **({"org.pyorch.stdin": "open"} if walls.stdin_open else {}),
        },
    }


def _user(service: Service, image: Image) -> dict[str, Any]:
    user = {"uid": 0, "gid": 0, "username": service.user or image.user or ""}
    return user | ({"additionalGroups": list(service.sandbox.group_add)} if service.sandbox.group_add else {})


def arguments(service: Service, image: Image) -> list[str]:
    """Docker's rule: an entrypoint of the service's own also puts the image's command out of use."""
    entrypoint = service.entrypoint if service.entrypoint is not None else image.entrypoint
    command = service.command
    if command is None and service.entrypoint is None:
        command = tuple(image.command or ())
    whole = [*(entrypoint or ()), *(command or ())]
    if not whole or not whole[0]:
        raise Mistake(
            f"cannot run service '{service.name}': neither the stack file nor image '{image.reference}' says what to "
            "run. Add a `command`."
        )
    return whole


def environment(service: Service, image: Image, hostname: str) -> dict[str, str]:
    """Nothing of the host's; HOME is added inside, where the user is known."""
    terminal = {"TERM": "xterm"} if service.sandbox.tty else {}
    return {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, **terminal, **image.environment, **service.environment}


def granted_capabilities(added: Sequence[str], dropped: Sequence[str]) -> tuple[str, ...]:
    """Docker's rule, names without CAP_: what is added by name stays, even where ALL is dropped."""
    whole = set(capabilities.NAMES) if "ALL" in added else set(CAPABILITIES)
    kept = set() if "ALL" in dropped else whole - set(dropped)
    return tuple(sorted(kept | (set(added) - {"ALL"} - (set(dropped) if "ALL" in added else set()))))


def resources(service: Service, memory_ceiling: int | None = None) -> dict[str, Any]:
    """Limits bind, reservations weigh: a share of the processors, and memory that is taken back last."""
    limits, reserved = service.limits, service.reservations
    memory: dict[str, Any] = {}
    if limit := limits.memory or memory_ceiling:
        memory = {"limit": limit, "swap": limits.memswap or limit}
    if reserved.memory:
        memory["reservation"] = min(reserved.memory, limit or reserved.memory)
    if limits.mem_swappiness is not None:
        memory["swappiness"] = limits.mem_swappiness
    if limits.oom_kill_disable:
        memory["disableOOMKiller"] = True
    return {"cpu": _processors(service), "memory": memory, "pids": {"limit": limits.pids or DEFAULT_PIDS}}


def _processors(service: Service) -> dict[str, Any]:
    limits, share = service.limits, round((service.reservations.cpus or 1) * SHARES_PER_CPU)
    cpu: dict[str, Any] = {"shares": max(2, limits.cpu_shares or share)}
    if limits.cpus:
        cpu |= {"quota": max(1000, round(limits.cpus * CPU_PERIOD)), "period": CPU_PERIOD}
    elif limits.cpu_quota or limits.cpu_period:
        cpu |= {"quota": limits.cpu_quota or -1, "period": limits.cpu_period or CPU_PERIOD}
    return cpu | ({"cpus": service.sandbox.cpuset} if service.sandbox.cpuset else {})


def _log_notes(logging: Logging) -> dict[str, str]:
    """Docker's rule: without max-file there is one file, and it begins anew when it is full."""
    if not logging.kept:
        return {"org.pyorch.log.kept": "false"}
    if logging.max_size is None:
        return {}
    return {"org.pyorch.log.max_size": str(logging.max_size), "org.pyorch.log.max_files": str(logging.max_file or 1)}


def _depth(mount: Mapping[str, Any]) -> int:
    """A mount below another one comes after it."""
    return str(mount["destination"]).rstrip("/").count("/")


def _filter(added: Sequence[str]) -> str:
    """Raw frames (AF_PACKET: every packet of the network to be read and forged) are for those who ask for them."""
    return "packet" if {"ALL", "NET_RAW", "NET_ADMIN"} & set(added) else "default"
