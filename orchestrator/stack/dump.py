"""`pyorch config`: the stack as it is understood, written as a Compose file again, in docker compose's long forms."""

from __future__ import annotations

import json
from typing import Any, Literal

import yaml

from orchestrator import units
from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.stack.model import Attachment, Grant, Material, Mount, Network, Port, Service, Stack, Volume

_CONDITIONS = {
    "started": "service_started",
    "healthy": "service_healthy",
    "completed": "service_completed_successfully",
}


class _Dumper(yaml.CSafeDumper):
    """Every value written out where it stands, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(stack: Stack, format: Literal["yaml", "json"] = "yaml") -> str:
    """The whole stack as text; services sorted, defaults filled in, paths absolute, a literal `$` written `$$`."""
    model = plain(stack)
    if format == "json":
        return json.dumps(model, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(model, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def plain(stack: Stack) -> dict[str, Any]:
    """The stack as maps, lists and scalars."""
    model: dict[str, Any] = {
        "name": stack.name,
        "services": {name: _service(stack.services[name]) for name in sorted(stack.services)},
        "networks": {key: _network(network) for key, network in sorted(stack.networks.items())},
        "volumes": {key: _volume(volume) for key, volume in sorted(stack.volumes.items())},
        "configs": {key: _material(thing, stack) for key, thing in sorted(stack.configs.items())},
        "secrets": {key: _material(thing, stack) for key, thing in sorted(stack.secrets.items())},
        **stack.extensions,
    }
    escaped: dict[str, Any] = _escaped({key: value for key, value in model.items() if value})
    return escaped


def _service(service: Service) -> dict[str, Any]:
    written: dict[str, Any] = {
        "cap_add": [*service.cap_add],
        "cap_drop": [*service.cap_drop],
        "configs": [_grant(grant) for grant in service.grants if grant.kind == "config"],
        "depends_on": {
            name: {
                "condition": _CONDITIONS[need.condition],
                **({"restart": True} if need.restart else {}),
                "required": need.required,
            }
            for name, need in sorted(service.depends_on.items())
        },
        "deploy": _deploy(service),
        "environment": dict(sorted(service.environment.items())),
        "healthcheck": _healthcheck(service.healthcheck, service.healthcheck_disabled),
        "hostname": service.hostname,
        "image": service.image,
        "init": service.init,
        "labels": dict(sorted(service.labels.items())),
        "ports": [_port(port) for port in service.ports],
        "read_only": service.read_only,
        "restart": _restart(service.restart),
        "secrets": [_grant(grant) for grant in service.grants if grant.kind == "secret"],
        "stop_grace_period": units.human_seconds(service.stop_grace_period)
        if service.stop_grace_period != 10
        else None,
        "stop_signal": service.stop_signal,
        "user": service.user,
        "volumes": [_mount(mount) for mount in service.mounts],
        "working_dir": service.working_dir,
    }
    return {
        "command": None if service.command is None else [*service.command],
        "entrypoint": None if service.entrypoint is None else [*service.entrypoint],
        **{key: value for key, value in written.items() if value},
        "networks": {key: _attachment(attachment) for key, attachment in service.networks.items()},
        **service.extensions,
    }


def _deploy(service: Service) -> dict[str, Any]:
    limits, asked, policy = service.limits, service.reservations, service.restart
    resources = {
        "limits": _kept(cpus=limits.cpus, memory=limits.memory and str(limits.memory), pids=limits.pids),
        "reservations": _kept(cpus=asked.cpus, memory=asked.memory and str(asked.memory)),
    }
    restarts = None
    if policy.delay is not None or policy.window is not None:  # what `restart` cannot say
        restarts = {
            "condition": {"always": "any", "unless-stopped": "any", "no": "none"}.get(policy.condition, "on-failure"),
            **({"max_attempts": policy.max_attempts} if policy.max_attempts is not None else {}),
            **({"delay": units.human_seconds(policy.delay)} if policy.delay is not None else {}),
            **({"window": units.human_seconds(policy.window)} if policy.window is not None else {}),
        }
    return {
        **({"replicas": service.replicas} if service.replicas != 1 else {}),
        **_kept(resources=_kept(**resources), restart_policy=restarts),
    }


def _restart(policy: RestartPolicy) -> str | None:
    if policy.condition == "on-failure" and policy.max_attempts:
        return f"on-failure:{policy.max_attempts}"
    return None if policy == RestartPolicy() else policy.condition


def _healthcheck(check: Check | None, disabled: bool) -> dict[str, Any] | None:
    if check is None:
        return {"disable": True} if disabled else None
    return {
        "test": [*check.test],
        "timeout": units.human_seconds(check.timeout),
        "interval": units.human_seconds(check.interval),
        "retries": check.retries,
        "start_period": units.human_seconds(check.start_period),
        "start_interval": units.human_seconds(check.start_interval),
    }


def _port(port: Port) -> dict[str, Any]:
    published = None if port.published is None else str(port.published)
    if port.last is not None:
        published = f"{published}-{port.last}"
    address = {} if published is None else {"host_ip": port.host_ip}
    return {
        "mode": "ingress",
        **address,
        "target": port.target,
        **_kept(published=published),
        "protocol": port.protocol,
    }


def _mount(mount: Mount) -> dict[str, Any]:
    kind: dict[str, Any] = {}
    if mount.kind == "bind":
        selinux = next((option for option in mount.options if option in ("z", "Z")), None)
        recursive = mount.recursive or None
        kind = _kept(
            create_host_path=mount.create_host_path,
            selinux=selinux,
            propagation=mount.propagation,
            recursive=recursive,
        )
    elif mount.kind == "volume":
        kind = _kept(nocopy="nocopy" in mount.options, subpath=mount.subpath)
    else:
        kind = _kept(size=mount.size and str(mount.size), mode=mount.mode)
    return {
        "type": mount.kind,
        **_kept(source=mount.source),
        "target": mount.target,
        **_kept(read_only=mount.read_only),
        **({mount.kind: kind} if kind else {}),
    }


def _attachment(attachment: Attachment) -> dict[str, Any] | None:
    return (
        _kept(aliases=[*attachment.aliases], ipv4_address=attachment.ipv4_address, priority=attachment.priority or None)
        or None
    )


def _network(network: Network) -> dict[str, Any]:
    config = _kept(subnet=network.subnet, gateway=network.gateway)
    return {
        "name": network.name,
        **({} if network.external else {"ipam": {"config": [config]} if config else {}}),
        **_kept(external=network.external, internal=network.internal, labels=dict(network.labels)),
    }


def _volume(volume: Volume) -> dict[str, Any]:
    words = _kept(protect=volume.protect, writers=volume.writers)
    return {
        "name": volume.name,
        **_kept(external=volume.external, driver_opts=dict(volume.options), labels=dict(volume.labels)),
        **({"x-pyorch": words} if words else {}),
    }


def _material(thing: Material, stack: Stack) -> dict[str, Any]:
    match thing.source:
        case "external":
            return {"name": thing.name, "external": True}
        case "content":
            content = stack.contents[thing.id].decode("utf-8", "surrogateescape")
            return {"name": thing.name, "content": content, **_kept(labels=dict(thing.labels))}
        case _:
            return {"name": thing.name, thing.source: thing.where, **_kept(labels=dict(thing.labels))}


def _grant(grant: Grant) -> dict[str, Any]:
    owner = {key: str(value) for key, value in (("uid", grant.uid), ("gid", grant.gid)) if value}
    mode = {"mode": f"{grant.mode:04o}"} if grant.mode != 0o444 else {}
    return {"source": grant.source, "target": grant.target, **owner, **mode}


def _kept(**values: Any) -> dict[str, Any]:
    """What is set: neither None, false, zero nor empty."""
    return {key: value for key, value in values.items() if value}


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(inner) for key, inner in value.items()}
    return [_escaped(inner) for inner in value] if isinstance(value, list) else value
