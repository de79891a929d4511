"""What a container leaves that is gone: volumes that nobody named, and layers of a machine that has changed since."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from orchestrator import images
from orchestrator.agent.containers import Record
from orchestrator.reconcile.replica import count
from orchestrator.reconcile.world import Wanted
from orchestrator.root import Root
from orchestrator.storage import mounts, volumes

if TYPE_CHECKING:
    from orchestrator.agent.deeds import Hands


def volumes_of(hands: Hands, record: Record, had: list[dict[str, Any]], wish: Wanted | None) -> None:
    """Anonymous ones wait for the next container in the slot where one is wanted. After a plain `down` they are
    nobody's and stay, as with Compose; in all other cases they go with the container."""
    service = wish.stack.services.get(record.service) if wish is not None and not wish.down else None
    slot = (record.stack, record.service, record.slot)
    if wish is None or service is None or record.service not in wish.active or record.slot > count(wish, service):
        drop = wish is None or not wish.down or wish.remove_volumes
        mounts.leave(hands.root, slot, had, drop=drop)
    elif record.created_wall < wish.renewed.get(record.service, 0.0):
        others = mounts.users(hands.root, [other.id for other in hands.containers])  # a successor may be there already
        mounts.leave(hands.root, slot, [mount for mount in had if mount["volume"] not in others], drop=True)
    if any(mount["volume"] for mount in had):
        volumes.unmount_unused(hands.root, mounts.users(hands.root, [other.id for other in hands.containers]))


def anonymous(root: Root, records: Iterable[Record]) -> Iterator[tuple[str, str]]:
    """Volumes that nobody named: (name, whose they are in words)."""
    for record in records:
        for mount in mounts.of_bundle(root.bundle(record.id)):
            target = mount["destination"]
            if mount["volume"] == volumes.anonymous(record.stack, record.service, record.slot, target):
                yield mount["volume"], f"{target} of {record.name}"


def layers(hands: Hands) -> None:
    """Of what images have made, what a container needs is kept, and what the next one would use."""
    if not len(hands.containers):
        hands.images.clear()
    images.collect(hands.root, lambda layer: _in_use(hands, layer))


def _in_use(hands: Hands, layer: str) -> bool:
    """By an image looked at in this turn, a volume that is just being filled, or a container's bundle."""
    known = (*(image.layers for image in hands.images.values()), *hands.looked_at)
    if any(layer in layers for layers in known):
        return True
    for record in hands.containers:
        with contextlib.suppress(FileNotFoundError), open(f"{hands.root.bundle(record.id)}/config.json", "rb") as file:
            if layer.encode() in file.read():
                return True
    return False
