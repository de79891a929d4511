"""A new container, as far as it is files: its record, its bundle with the OCI spec, its place for what it writes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator import images
from orchestrator.agent.containers import Record, scrap, write_text
from orchestrator.agent.lending import lend
from orchestrator.errors import Conflict, HostRefused, OrchestratorError
from orchestrator.network import bridges, etc
from orchestrator.reconcile.replica import Replica, contents
from orchestrator.reconcile.world import Wanted
from orchestrator.runtime import devices, processors, ulimits
from orchestrator.runtime.spec import container_spec
from orchestrator.stack.model import Device, Sandbox, Service, Stack
from orchestrator.storage import materials, prepared
from orchestrator.storage import mounts as storage_mounts

if TYPE_CHECKING:
    from orchestrator.agent.deeds import Hands


def prepare(
    hands: Hands, replica: Replica, wish: Wanted, node: str, placement: Mapping[str, Any] | None = None
) -> Record:
    """Everything of a new container that is files: identity first, so that a scan can name what it finds."""
    service = replica.definition
    _same_machine(service)
    processors.must_be_there(service.sandbox.cpuset)
    image = hands.image(service)
    command = _command(service, image)
    stop_signal = service.stop_signal or image.stop_signal or "SIGTERM"
    record = hands.containers.add(replica, wish.revision, service.image, " ".join(command), stop_signal, node)
    record.placement = placement or {}
    if service.reservations.devices:
        try:
            record.devices = lend(service, record.name, node, hands.devices_of(node), hands.containers)
        except OrchestratorError:
            hands.containers.forget(record)
            raise
    bundle = hands.root.bundle(record.id)
    try:
        for attached, key in _networks_of(service, wish.stack):
            wanted_address = service.networks[key].ipv4_address
            record.addresses[attached] = hands.wiring.lease(wish.stack.networks[key], record.name, wanted_address)
            record.network_keys[attached] = key
        os.mkdir(bundle, 0o700)
        os.mkdir(f"{bundle}/etc", 0o700)
        record.contents = contents(service, wish.stack)
        hands.containers.write_identity(record)
        _write_names(hands, record, bundle)
        mounts = [
            *storage_mounts.oci(hands.root, hands.place_of(replica, wish), record.id, hands.lent(service, wish.stack)),
            *materials.mounts(hands.root, service, wish.stack, record.id),
            *_etc_mounts(bundle),
        ]
        walls, hostname = service.sandbox, _hostname(service, record)
        granted, lowered = ulimits.grantable(service.sandbox.ulimits)
        for why in lowered:
            hands.note("trouble", record.name, why, "container", record.stack, service=record.service)
        spec = container_spec(
            service=service,
            image=image,
            container=record.id,
            root=hands.root,
            hostname=hostname,
            mounts=mounts,
            memory_ceiling=hands.memory_ceiling,
            ulimits=granted,
            devices=_devices(walls, record),
            block_io=devices.block_io(walls.blkio),
        )
        if any(wish.stack.networks[key].enable_ipv6 for key in record.network_keys.values()):
            spec["linux"]["sysctl"] |= {f"net.ipv6.conf.{name}.disable_ipv6": "0" for name in ("all", "default")}
        if record.one_off and walls.stdin_open and not walls.tty:
            spec["annotations"]["org.pyorch.stdin"] = "once"  # what is piped into `run` has an end
        os.mkdir(own := hands.root.container(record.id), 0o700)
        for part in ("upper", "work"):  # the log's directory is made when there is something to log
            os.mkdir(f"{own}/{part}", 0o755)
        write_text(f"{bundle}/config.json", json.dumps(spec), 0o600)
    except OSError as error:
        _take_back(hands, record)
        raise HostRefused(f"cannot prepare {record.name}: {error}") from error
    except BaseException:
        _take_back(hands, record)
        raise
    return record


def _take_back(hands: Hands, record: Record) -> None:
    prepared.release(hands.root, record.id)
    scrap(hands.containers.forget(record))


def _devices(walls: Sandbox, record: Record) -> tuple[list[dict[str, Any]], list[dict[str, Any]]] | None:
    if walls.privileged:
        return devices.everything()
    lent = [Device(path, path) for paths in record.devices.values() for path in paths]
    if walls.devices or lent or walls.device_cgroup_rules:
        return devices.described([*walls.devices, *lent], walls.device_cgroup_rules)
    return None


def _hostname(service: Service, record: Record) -> str:
    """The host's own where its network or its names are shared, as in Docker."""
    of_host = service.network_mode == "host" or service.sandbox.uts == "host"
    return service.hostname or (os.uname().nodename if of_host else record.id)


def _write_names(hands: Hands, record: Record, bundle: str) -> None:
    hostname, domain = _hostname(record.definition, record), record.definition.sandbox.domainname
    servers, lookup = hands.wiring.nameservers(record), record.definition.lookup
    names = (*((f"{hostname}.{domain}",) if domain else ()), hostname, record.name)
    gateway, local = next(iter(servers), "127.0.0.1"), etc.LOCAL
    if record.definition.network_mode == "host":
        servers, local = [*lookup.dns] or bridges.nameservers(), _of_host("hosts", etc.LOCAL)
    six = (hands.wiring.six(record, name) for name in record.addresses)
    own = (*record.addresses.values(), *filter(None, six))
    texts = {
        "hostname": f"{hostname}\n",
        "hosts": etc.hosts(own, names, lookup.extra_hosts, gateway, local),
        "resolv.conf": etc.resolv_conf(servers, lookup.dns_search, lookup.dns_opt),
    }
    if record.definition.network_mode == "host" and not (lookup.dns or lookup.dns_search or lookup.dns_opt):
        texts["resolv.conf"] = _of_host("resolv.conf", texts["resolv.conf"])
    for name, text in texts.items():
        write_text(f"{bundle}/etc/{name}", text, 0o644)


def _of_host(name: str, otherwise: str) -> str:
    try:
        with open(f"/etc/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return otherwise


MACHINES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "i686": "386",
    "armv7l": "arm",
    "s390x": "s390x",
    "ppc64le": "ppc64le",
}


def _same_machine(service: Service) -> None:
    """Raises Conflict where `platform` asks for another kind of processor than ours, and nobody emulates it."""
    if not service.platform:
        return
    system, _, rest = service.platform.partition("/")
    wanted, ours = rest.partition("/")[0], MACHINES.get(os.uname().machine, os.uname().machine)
    emulated = any(
        MACHINES.get(name) == wanted and os.path.exists(f"/proc/sys/fs/binfmt_misc/qemu-{name}") for name in MACHINES
    )
    if system != "linux" or (wanted not in ("", ours) and not emulated):
        raise Conflict(
            f"cannot run platform {service.platform}: this machine is linux/{ours}, and nothing here emulates another"
        )


def _command(service: Service, image: images.Image) -> list[str]:
    """What will run. Compose: an own entrypoint makes the image's command void."""
    if service.entrypoint is not None:
        return [*service.entrypoint, *(service.command or ())]
    command = service.command if service.command is not None else (image.command or ())
    return [*(image.entrypoint or ()), *command]


def _networks_of(service: Service, stack: Stack) -> list[tuple[str, str]]:
    """(host-side name, key) of a service's networks: the highest priority first."""
    keys = sorted(service.networks, key=lambda key: (-service.networks[key].priority, stack.networks[key].internal))
    return [(stack.networks[key].name, key) for key in keys]


def _etc_mounts(bundle: str) -> list[dict[str, Any]]:
    return [
        {
            "destination": f"/etc/{name}",
            "source": os.path.join(bundle, "etc", name),
            "type": "bind",
            "options": ["bind", "rw"],
        }
        for name in ("hosts", "resolv.conf", "hostname")
    ]
