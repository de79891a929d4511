"""What a service asks of its node, from the words of the file to the scheduler's `Request`."""

from __future__ import annotations

from orchestrator.scheduler.node import HostPort, Request
from orchestrator.stack.model import Service, Stack


def asked(service: Service, stack: Stack) -> Request:
    """All that one replica of `service` asks for. Volumes by the names the host knows; external ones pin nothing."""
    volumes = (stack.volumes.get(mount.source or "") for mount in service.mounts if mount.kind == "volume")
    return Request(
        cpus=service.reservations.cpus,
        memory=service.reservations.memory,
        pids=service.limits.pids or 0,
        devices=service.reservations.devices,
        ports=tuple(
            HostPort(port.published, port.protocol, port.host_ip)
            for port in service.ports
            if port.published is not None
        ),
        service=f"{stack.name}/{service.name}",
        volumes=tuple(dict.fromkeys(volume.name for volume in volumes if volume is not None and not volume.external)),
    )
