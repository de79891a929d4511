"""The one door: reference → Image, made ready on disk; and the way back."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable

from orchestrator.errors import Missing
from orchestrator.images import config as configs
from orchestrator.images import directory, host, reference, source
from orchestrator.images.image import STANDARD_PATH, Image
from orchestrator.images.manifest import Platform
from orchestrator.images.store import Damaged, Entry, Store
from orchestrator.root import Root


class Absent(Missing):
    """The image is not here (any more): it can be fetched."""


def prepare(reference: str, root: Root, digest: str = "", platform: Platform | None = None) -> Image:
    """The image ready to be mounted; cheap when it already is, so that every start may ask.

    `digest`: this very manifest of the store, whatever the name has come to mean since. Raises Absent where the store
    has no such image, Missing where nobody could have it, HostRefused where the kernel said no.
    """
    transport, colon, rest = reference.partition(":")
    match transport:
        case "host" if rest == "/":
            return host.prepare(root)
        case "host" if colon and rest.startswith("/"):
            raise Missing(f"cannot use image '{reference}': the machine's own programs are 'host:/', and no part of it")
        case "dir" if colon:
            return directory.prepare(rest)
    store = Store(root.images)
    if not digest:
        entry = find(store, reference, platform)
        if entry is None:
            raise Absent(f"cannot use image '{reference}': it is not here; pull it")
        digest = entry.manifest.digest
    return _stored(root.images, reference, digest)


def find(store: Store, reference: str, platform: Platform | None = None) -> Entry | None:
    """The store's row for a reference as people write it. Raises Missing where it is no reference."""
    return store.find(complete(reference), platform)


def complete(written: str) -> str:
    """The name under which the store has it. Raises Missing where it is no reference."""
    if source.files(written):
        return written
    try:
        parsed = reference.parse(written)
    except ValueError as error:
        raise Missing(f"cannot use image '{written}': {error}") from error
    return str(parsed.at(parsed.digest)) if parsed.digest else str(parsed)


def _stored(images: str, written: str, digest: str) -> Image:
    """A manifest means the same for ever: only whether its layers still stand is looked at again."""
    try:
        image = _read(images, written, digest)
    except (FileNotFoundError, Damaged) as error:
        raise Absent(f"cannot use image '{written}': {digest} is not whole in the store; pull it again") from error
    if not all(map(os.path.isdir, image.layers)):
        _read.cache_clear()
        raise Absent(f"cannot use image '{written}': layers of {digest} are gone from the store; pull it again")
    return image


@functools.lru_cache(maxsize=512)
def _read(images: str, written: str, digest: str) -> Image:
    store = Store(images)
    config = store.config(store.manifest(digest))
    layers = [store.layer(*ids) for ids in zip(config.diff_ids, configs.chain(config.diff_ids), strict=True)]
    if None in layers:
        raise FileNotFoundError(digest)
    standing = topmost(layer for layer in layers if layer)
    return Image(
        reference=written,
        digest=digest,
        layers=standing or (store.empty(),),
        environment={"PATH": STANDARD_PATH, **config.environment},
        entrypoint=config.entrypoint,
        command=config.command,
        working_dir=config.working_dir or "/",
        user=config.user or None,
        stop_signal=_signal(config.stop_signal),
        healthcheck=config.healthcheck,
        exposed=config.exposed,
        volumes=config.volumes,
        labels=config.labels,
    )


def topmost(layers: Iterable[str]) -> tuple[str, ...]:
    """Directories for overlayfs, the topmost first, of layers, the lowest first. overlayfs takes none twice, and of one
    that is there twice (each RUN that changes nothing makes the same empty one) the lower says nothing: the upper has
    the same files, and hides the same of what is below."""
    return tuple(dict.fromkeys(reversed(list(layers))))


def _signal(word: str) -> str | None:
    """STOPSIGNAL may be written as SIGQUIT, QUIT or 3."""
    import signal

    if word.isdecimal() and int(word) in list(signal.Signals):
        return signal.Signals(int(word)).name
    return (word if word.startswith("SIG") else f"SIG{word}").upper() if word else None


def collect(root: Root, in_use: Callable[[str], bool]) -> None:
    """Remove what was made for earlier states of the machine, but for the layers that are `in_use`."""
    host.collect(root, in_use)
