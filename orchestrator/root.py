"""Where one agent's things live. Every host-wide name is derived from the root, so that several live side by side.

STATE survives a reboot (stacks, events, leases, volumes, writable layers, logs); RUN dies with the host (bundles,
zones, sockets). Standard library only, no dataclasses: the command line's fast path and the launcher read this file.
"""

from __future__ import annotations

import os

DEFAULT_STATE = "/var/lib/pyorch"
DEFAULT_RUN = "/run/pyorch"


class Root:
    """`Root("/srv/x")`: state in /srv/x, run in /srv/x/run. `Root()`: PYORCH_ROOT, else the two default places."""

    def __init__(self, directory: str | None = None) -> None:
        directory = directory or os.environ.get("PYORCH_ROOT") or None
        self.directory = os.path.realpath(directory) if directory else DEFAULT_STATE
        self.state = self.directory
        self.run = os.path.join(self.directory, "run") if self.directory != DEFAULT_STATE else DEFAULT_RUN
        self.api_socket = os.path.join(self.run, "api.sock")
        self.launcher_socket = os.path.join(self.run, "launcher.sock")
        self.dns_socket = os.path.join(self.run, "dns.sock")
        self.bundles = os.path.join(self.run, "bundles")
        self.zones = os.path.join(self.run, "zones")
        self.containers = os.path.join(self.state, "containers")  # <id>/upper, <id>/work, <id>/log
        self.volumes = os.path.join(self.state, "volumes")
        self.images = os.path.join(self.state, "images")
        self._instance = ""

    @property
    def instance(self) -> str:
        """6 hex digits keep the longest derived interface name within the kernel's 15 characters."""
        if not self._instance:
            import hashlib  # here, because OpenSSL costs 5 ms and `pyorch ps` needs no host-wide name

            self._instance = hashlib.sha256(self.directory.encode()).hexdigest()[:6]
        return self._instance

    @property
    def cgroup(self) -> str:
        """Below each hierarchy's root, or below the cgroup delegated to us."""
        return f"pyorch-{self.instance}"

    def group(self, container: str, own_devices: bool = False) -> str:
        """Of one container. The usual device rules are those of the parent, so who has others has another one."""
        return f"/{self.cgroup}{'-devices' if own_devices else ''}/{container}"

    @property
    def table(self) -> str:
        """Of nft."""
        return f"pyorch_{self.instance}"

    def bridge(self, number: int) -> str:
        """Name of the bridge of network `number` (0 … 9999)."""
        return f"po{self.instance}b{number}"

    def veth(self, container: str, number: int) -> str:
        """Host end of a container's interface `number`: fresh for each run, see the comment in network/attach."""
        return f"po{container[:10]}{number}"

    def bundle(self, container: str) -> str:
        return os.path.join(self.bundles, container)

    def container(self, container: str) -> str:
        return os.path.join(self.containers, container)
