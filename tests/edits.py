"""Somebody who edits a stack file, again and again and at random: services come, go and are renamed; ports, variables,
replicas, volumes, networks, dependencies, configs and checks change; comments and the order of keys, too."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import yaml

NAMES = ("api", "web", "db", "cache", "queue", "mail", "log", "cron")
WAITS = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]


class Writer:
    """`text` is the file as it is now. `ports`: host ports it may publish; `most`: services, and replicas of each."""

    def __init__(self, chance: Random, ports: Callable[[], int], most: int = 5) -> None:
        self.chance, self.ports, self.most = chance, ports, most
        self.services: dict[str, dict[str, Any]] = {}
        self.edits = 0
        self.comment = ""
        for _ in range(chance.randint(1, 3)):
            self._add()

    @property
    def text(self) -> str:
        networks = {name for one in self.services.values() for name in one.get("networks", ())}
        volumes = {mount.partition(":")[0] for one in self.services.values() for mount in one.get("volumes", ())}
        configs = {name for one in self.services.values() for name in one.get("configs", ())}
        whole = {
            "name": "edits",
            "services": self.services,
            "networks": {name: {} for name in networks},
            "volumes": {name: {} for name in volumes},
            "configs": {name: {"content": f"{name} says {name}"} for name in configs},
        }
        return self.comment + yaml.safe_dump({key: value for key, value in whole.items() if value}, sort_keys=False)

    def edit(self) -> str:
        """One edit; its name."""
        self.edits += 1
        edits = [self._add, self._remove, self._rename, self._variable, self._port, self._replicas, self._volume]
        edits += [self._network, self._needs, self._config, self._check, self._roll, self._limit, self._nothing]
        chosen = self.chance.choice(edits)
        chosen()
        return chosen.__name__.removeprefix("_")

    def nothing(self) -> None:
        """Another comment, another order of the keys: it means what it meant."""
        self.edits += 1
        self._nothing()

    def _one(self) -> dict[str, Any]:
        return self.services[self.chance.choice(sorted(self.services))]

    def _add(self) -> None:
        free = [name for name in NAMES if name not in self.services]
        if free and len(self.services) < self.most:
            self.services[self.chance.choice(free)] = {
                "image": "host:/", "command": WAITS, "restart": "always", "stop_grace_period": "1s",
            }  # fmt: skip

    def _remove(self) -> None:
        if len(self.services) > 1:
            gone = self.chance.choice(sorted(self.services))
            del self.services[gone]
            for one in self.services.values():
                one["depends_on"] = [name for name in one.get("depends_on", ()) if name != gone]

    def _rename(self) -> None:
        free = [name for name in NAMES if name not in self.services]
        old, new = self.chance.choice(sorted(self.services)), self.chance.choice(free)
        self.services = {new if name == old else name: one for name, one in self.services.items()}
        for one in self.services.values():
            one["depends_on"] = [new if name == old else name for name in one.get("depends_on", ())]

    def _variable(self) -> None:
        self._one()["environment"] = {"V": str(self.edits)}

    def _port(self) -> None:
        one = self._one()
        one["ports"] = [] if one.get("ports") else [f"{self.ports()}:8000"]

    def _replicas(self) -> None:
        self._one().setdefault("deploy", {})["replicas"] = self.chance.randint(1, 3)

    def _volume(self) -> None:
        one = self._one()
        one["volumes"] = [] if one.get("volumes") else [f"{self.chance.choice(('data', 'more'))}:/data"]

    def _network(self) -> None:
        self._one()["networks"] = self.chance.sample(("front", "back"), self.chance.randint(1, 2))

    def _needs(self) -> None:
        """Of those written above it: never in a circle."""
        names = list(self.services)
        at = self.chance.randrange(len(names))
        self.services[names[at]]["depends_on"] = self.chance.sample(names[:at], self.chance.randint(0, min(at, 2)))

    def _config(self) -> None:
        one = self._one()
        one["configs"] = [] if one.get("configs") else [self.chance.choice(("motd", "rules"))]

    def _check(self) -> None:
        one = self._one()
        if one.pop("healthcheck", None) is None:
            one["healthcheck"] = {"test": ["CMD", "true"], "interval": "1s"}

    def _roll(self) -> None:
        order = self.chance.choice(("start-first", "stop-first"))
        self._one().setdefault("deploy", {})["update_config"] = {"order": order, "parallelism": 2}

    def _limit(self) -> None:
        limits = {"pids": self.chance.randint(50, 100)}
        self._one().setdefault("deploy", {})["resources"] = {"limits": limits}

    def _nothing(self) -> None:
        self.comment = f"# edit {self.edits}\n"
        for name, one in self.services.items():
            self.services[name] = {key: one[key] for key in self.chance.sample(sorted(one), len(one))}
