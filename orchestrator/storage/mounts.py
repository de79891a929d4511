"""A service's volumes, binds and tmpfs as the mounts of an OCI runtime spec."""

from __future__ import annotations

import os
from typing import Any

from orchestrator.errors import HostRefused, Missing
from orchestrator.root import Root
from orchestrator.stack.model import Mount, Service, Stack
from orchestrator.storage import volumes

# Words of Compose that mean nothing here: SELinux labels and the caches of Docker's desktop; an image of ours has
# nothing to copy up.
NO_MATTER = frozenset({"z", "Z", "nocopy", "cached", "delegated", "consistent"})


def container_mounts(root: Root, service: Service, stack: Stack, container: str) -> list[dict[str, Any]]:
    """OCI mounts (runtime-spec config.md, "Mounts") of one container; anonymous volumes are made on the way.

    Raises Missing where a bind source or a volume is not there: the engine never makes one up.
    """
    return [
        _oci(root, stack, mount, _anonymous(container, number), service.name)
        for number, mount in enumerate(service.mounts)
    ]


def drop_anonymous(root: Root, container: str) -> None:
    """The anonymous volumes of a container go with it."""
    for name in volumes.listing(root):
        if name.startswith(_anonymous(container, "")):
            volumes.drop(root, name)


def _anonymous(container: str, number: int | str) -> str:
    return f"anonymous_{container}_{number}"


def _oci(root: Root, stack: Stack, mount: Mount, anonymous: str, service: str) -> dict[str, Any]:
    access = "ro" if mount.read_only else "rw"
    if mount.kind == "tmpfs":
        size = [f"size={mount.size}"] if mount.size is not None else []
        mode = f"mode={mount.mode:o}" if mount.mode is not None else "mode=1777"
        options = ["nosuid", "nodev", access, mode, *size, *mount.options]
        return {"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    if mount.kind == "bind":
        source = _bind_source(mount, service)
    elif mount.source is None:
        volumes.make(root, anonymous, {})
        source = volumes.path(root, anonymous)
    else:
        source = volumes.path(root, stack.volumes[mount.source].name)
    options = ["rbind", access, "rprivate", *(option for option in mount.options if option not in NO_MATTER)]
    return {"destination": mount.target, "type": "bind", "source": source, "options": options}


def _bind_source(mount: Mount, service: str) -> str:
    assert mount.source is not None, "a bind has a source: the stack was checked"
    if not os.path.lexists(mount.source):
        if not mount.create_host_path:
            raise Missing(
                f"cannot mount {mount.source} at {mount.target} of {service!r}: it does not exist; "
                "make it, or write create_host_path: true"
            )
        try:
            os.makedirs(mount.source)
        except OSError as error:
            raise HostRefused(f"cannot make {mount.source}, the bind source of {service!r}: {error}") from error
    return mount.source
