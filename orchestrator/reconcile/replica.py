"""One replica of a service: its slot, its name, and the digest of its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.stack.model import Service


@dataclass(frozen=True, slots=True)
class Replica:
    """`meaning`: flattened key path → JSON text of everything that a running container was made from.

    Left out, because the agent obeys them on the living container: depends_on, replicas, restart, healthcheck,
    stop_signal, stop_grace_period, ports (published by the agent), reservations, extensions.
    """

    stack: str
    service: str
    slot: int
    name: str
    digest: str
    meaning: Mapping[str, str]
    definition: Service


# meaning(service, stack), digest(meaning) and changes(old, new) live here too.
