"""What the store has, told as docker tells it; and what may go from it. Reading small files: no process is needed.

Pinned is what containers were made from, what the kept revisions of every stack name, and what something is being made
of just now: a collection leaves it alone, whatever its name has come to mean.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from orchestrator.agent.circle import Circle
from orchestrator.errors import Conflict, Missing, Mistake
from orchestrator.images import collecting, lookup, source
from orchestrator.images import config as configs
from orchestrator.images import reference as references
from orchestrator.images.config import Config
from orchestrator.images.manifest import Manifest
from orchestrator.images.store import Damaged, Entry, Store
from orchestrator.stack.store import from_json

SHORT = 12  # digits of an id that a person types


class Shelf:
    """The store as it is just now."""

    def __init__(self, circle: Circle) -> None:
        self._circle = circle
        self.store = Store(circle.root.images)
        self.entries = self.store.entries()

    # looking

    def find(self, written: str) -> Entry:
        """By name, by id (of the configuration, as docker shows it) or by digest. Raises Missing, Conflict."""
        by_name = None
        try:
            by_name = self.store.find(lookup.complete(written))
        except Missing:
            pass
        if by_name is not None:
            return by_name
        code = written.removeprefix("sha256:")
        if len(code) >= 3 and all(digit in "0123456789abcdef" for digit in code):
            found = {
                entry.manifest.digest: entry
                for entry in self.entries
                if self.id(entry).startswith(code) or entry.manifest.digest.partition(":")[2].startswith(code)
            }
            if len(found) > 1:
                raise Conflict(f"cannot tell which image {written!r} is: {len(found)} begin like that")
            if found:
                return next(iter(found.values()))
        raise Missing(f"cannot find image '{written}': it is not in the store; `pyorch image ls` shows what is")

    def id(self, entry: Entry) -> str:
        """64 digits: those of its configuration's digest."""
        manifest = self._manifest(entry)
        return (manifest.config.digest if manifest else entry.manifest.digest).partition(":")[2]

    def rows(self, every: bool, filters: Iterable[str] = ()) -> list[dict[str, Any]]:
        """One a name, the newest first; nameless ones are shown where `every`, or where the filter asks for them."""
        used = self._containers()
        found = []
        for entry in self.entries:
            row = self._row(entry, used)
            if _passes(row, list(filters), every):
                found.append(row)
        return sorted(found, key=lambda row: (-row["pulled"], row["Repository"], row["Tag"]))

    def _row(self, entry: Entry, used: dict[str, int]) -> dict[str, Any]:
        repository, tag, digest = _named(entry)
        config = self._config(entry)
        return {
            "ID": self.id(entry),
            "Repository": repository,
            "Tag": tag,
            "Digest": entry.repository_digest or digest or "<none>",
            "Platform": str(entry.platform or ""),
            "Containers": used.get(entry.manifest.digest, 0),
            "created": created(config),
            "pulled": entry.pulled,
            "size": self.size(entry),
            "manifest": entry.manifest.digest,
            "name": entry.name,
            "labels": dict(config.labels) if config else {},
            "whole": config is not None,
        }

    def size(self, entry: Entry) -> int:
        """Bytes on the disk of its unpacked layers, shared ones too."""
        return sum(self._layer_sizes(entry).values())

    def inspect(self, written: str) -> dict[str, Any]:
        """The fields of `docker image inspect`. Raises Missing, Damaged."""
        entry = self.find(written)
        try:
            manifest = self.store.manifest(entry.manifest.digest)
            config = self.store.config(manifest)
        except FileNotFoundError as error:
            raise Damaged(f"cannot inspect image '{written}': it is not whole in the store; pull it again") from error
        names = [one for one in self.entries if one.manifest.digest == entry.manifest.digest and one.name]
        raw = config.raw
        return {
            "Id": manifest.config.digest,
            "RepoTags": [references.parse(one.name).familiar for one in names if _is_tag(one)],
            "RepoDigests": sorted({
                f"{references.parse(one.name).familiar_name}@{one.repository_digest}"
                for one in names if one.repository_digest and _is_registry(one)
            }),
            "Parent": "",
            "Comment": raw.get("comment", ""),
            "Created": config.created,
            "DockerVersion": raw.get("docker_version", ""),
            "Author": raw.get("author", ""),
            "Config": raw.get("config") or {},
            "Architecture": config.platform.architecture,
            "Variant": config.platform.variant,
            "Os": config.platform.os,
            "Size": self.size(entry),
            "RootFS": {"Type": "layers", "Layers": list(config.diff_ids)},
            "Metadata": {"LastTagTime": _moment(entry.pulled)},
            "Descriptor": entry.manifest.json(),
            "Names": [one.name for one in names],
            "Layers": [layer.json() for layer in manifest.layers],
        }  # fmt: skip

    def history(self, written: str) -> list[dict[str, Any]]:
        """The newest step first, as `docker history`."""
        entry = self.find(written)
        config = self._config(entry)
        if config is None:
            raise Damaged(f"cannot tell the history of '{written}': it is not whole in the store; pull it again")
        sizes = iter(self._layer_sizes(entry).values())
        rows = []
        for step in config.history:
            size = 0 if step.get("empty_layer") else next(sizes, 0)
            rows.append(
                {
                    "ID": "<missing>",
                    "created": str(step.get("created") or config.created),
                    "CreatedBy": str(step.get("created_by") or ""),
                    "Comment": str(step.get("comment") or ""),
                    "size": size,
                }
            )
        if rows:
            rows[-1]["ID"] = self.id(entry)
        return rows[::-1]

    def of_containers(self, stack: str | None) -> list[dict[str, Any]]:
        """`docker compose images`: one row a container."""
        rows = []
        for record in self._circle.containers:
            if stack is not None and record.stack != stack:
                continue
            entry = self.store.by_digest(record.definition.image_digest) if record.definition.image_digest else None
            repository, tag = _split(record.image)
            rows.append(
                {
                    "ContainerName": record.name,
                    "Repository": repository,
                    "Tag": tag,
                    "Platform": str(entry.platform or "") if entry else "",
                    "ID": self.id(entry) if entry else "",
                    "size": self.size(entry) if entry else 0,
                    "created": created(self._config(entry)) if entry else "",
                }
            )
        return sorted(rows, key=lambda row: str(row["ContainerName"]))

    # removing

    def pinned(self) -> dict[str, str]:
        """Digest of each manifest that must stay → why."""
        found: dict[str, str] = {}
        store = self._circle.store
        for wish in self._circle.wishes.all():
            name = wish.stack.name
            for revision in range(wish.revision, 0, -1):
                document = store.revision(name, revision)
                services = from_json(document).services.values() if document else ()
                for service in services:
                    found.setdefault(service.image_digest, f"revision {revision} of stack '{name}' uses it")
        for record in self._circle.containers:
            found[record.definition.image_digest] = f"container {record.name} was made from it"
        found.pop("", None)
        return found

    def remove(self, written: list[str], force: bool) -> list[dict[str, str]]:
        """What `docker rmi` says: {"Untagged": name} and {"Deleted": digest}. Raises Missing, Conflict; then nothing
        of it is done."""
        pinned = self.pinned()
        gone: list[Entry] = []
        for word in written:
            entry = self.find(word)
            same = [one for one in self.entries if one.manifest.digest == entry.manifest.digest]
            by_name = entry.name and _names_it(entry, word)
            names = [entry] if by_name else same
            if not by_name and len(same) > 1 and not force:
                raise Conflict(f"cannot remove image '{word}': it has several names; name one, or use --force")
            last = len(names) == len(same)
            if last and not force and (why := pinned.get(entry.manifest.digest)):
                raise Conflict(f"cannot remove image '{word}': {why}; --force takes its name away")
            gone += names
        told = [{"Untagged": _shown(one)} for one in gone if one.name]
        kept = [one for one in gone if one.manifest.digest in pinned]
        self.store.forget([one for one in gone if one not in kept])
        self.store.forget(kept, keep_nameless=True)
        self.entries = self.store.entries()
        left = {one.manifest.digest for one in self.entries}
        told += [{"Deleted": digest} for digest in dict.fromkeys(o.manifest.digest for o in gone) if digest not in left]
        collecting.collect(self.store)
        return told

    def prune(self, every: bool, until: float | None = None) -> dict[str, Any]:
        """Nameless images, or `every` image and the build cache, that nothing needs; then whatever no image needs.

        `until`: only what was pulled before. Returns {"ImagesDeleted": […], "SpaceReclaimed": bytes}.
        """
        pinned = self.pinned()
        gone = [
            entry
            for entry in self.entries
            if (every or not entry.name)
            and entry.manifest.digest not in pinned
            and (until is None or entry.pulled < until)
        ]
        self.store.forget(gone)
        told = [{"Untagged": _shown(one)} for one in gone if one.name]
        told += [{"Deleted": digest} for digest in dict.fromkeys(one.manifest.digest for one in gone)]
        self.entries = self.store.entries()
        given = collecting.forget_built(self.store) if every and until is None else 0
        return {"ImagesDeleted": told, "SpaceReclaimed": given + collecting.collect(self.store)}

    def usage(self) -> dict[str, Any]:
        """A row of `docker system df`: what the store takes on the disk, and how much of it nothing needs."""
        pinned = self.pinned()
        spare = [entry for entry in self.entries if entry.manifest.digest not in pinned]
        kept_blobs, kept_layers = collecting.needed(self.store, [one for one in self.entries if one not in spare])
        whole, kept = collecting.of_images(self.store), collecting.taken(self.store, kept_blobs, kept_layers)
        manifests = {entry.manifest.digest for entry in self.entries}
        return {
            "Type": "Images",
            "TotalCount": len(manifests),
            "Active": len(manifests & set(pinned)),
            "size": whole,
            "reclaimable": max(whole - kept, 0),
        }

    def build_usage(self) -> dict[str, Any]:
        """Likewise of the build cache: what it keeps that no image has; all of it can go."""
        count, size = collecting.cached(self.store)
        return {"Type": "Build Cache", "TotalCount": count, "Active": 0, "size": size, "reclaimable": size}

    # inside

    def _manifest(self, entry: Entry) -> Manifest | None:
        try:
            return self.store.manifest(entry.manifest.digest)
        except (Damaged, FileNotFoundError):
            return None

    def _config(self, entry: Entry) -> Config | None:
        manifest = self._manifest(entry)
        try:
            return self.store.config(manifest) if manifest else None
        except (Damaged, FileNotFoundError):
            return None

    def _layer_sizes(self, entry: Entry) -> dict[str, int]:
        config = self._config(entry)
        found = {}
        for ids in zip(config.diff_ids, configs.chain(config.diff_ids), strict=True) if config else ():
            path = self.store.layer(*ids)
            found[ids[1]] = int(self.store.notes(path).get("size") or 0) if path else 0
        return found

    def _containers(self) -> dict[str, int]:
        counts: dict[str, int] = {}
        for record in self._circle.containers:
            digest = record.definition.image_digest
            counts[digest] = counts.get(digest, 0) + 1
        return counts


def created(config: Config | None) -> str:
    return config.created if config else ""


def _named(entry: Entry) -> tuple[str, str, str]:
    """(repository, tag, digest) as people write them."""
    if not entry.name:
        return "<none>", "<none>", ""
    if not _is_registry(entry):
        return entry.name, "", ""
    parsed = references.parse(entry.name)
    return parsed.familiar_name, parsed.tag or "<none>", parsed.digest or ""


def _split(image: str) -> tuple[str, str]:
    if source.files(image) or source.is_live(image):
        return image, ""
    try:
        parsed = references.parse(image)
    except ValueError:
        return image, ""
    return parsed.familiar_name, parsed.tag or "<none>"


def _shown(entry: Entry) -> str:
    return references.parse(entry.name).familiar if _is_registry(entry) else entry.name


def _is_registry(entry: Entry) -> bool:
    try:
        references.parse(entry.name)
    except ValueError:
        return False
    return not entry.name.startswith(("oci:/", "oci-archive:", "docker-archive:"))


def _is_tag(entry: Entry) -> bool:
    return _is_registry(entry) and references.parse(entry.name).tag is not None


def _names_it(entry: Entry, word: str) -> bool:
    try:
        return lookup.complete(word) == entry.name
    except Missing:
        return False


def _passes(row: dict[str, Any], filters: list[str], every: bool) -> bool:
    dangling = row["name"] == ""
    asked = {word.partition("=")[0]: word.partition("=")[2] for word in filters}
    if unknown := sorted(asked.keys() - {"dangling", "reference", "label"}):
        raise Mistake(f"cannot filter by '{unknown[0]}': known are dangling, reference and label")
    if "dangling" in asked and dangling != (asked["dangling"].lower() in ("true", "1")):
        return False
    if "dangling" not in asked and dangling and not every:
        return False
    if pattern := asked.get("reference"):
        whole = f"{row['Repository']}:{row['Tag']}"
        if not (fnmatch.fnmatchcase(whole, pattern) or fnmatch.fnmatchcase(row["Repository"], pattern)):
            return False
    if label := asked.get("label"):
        key, equals, value = label.partition("=")
        return key in row["labels"] and (not equals or row["labels"][key] == value)
    return True


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds else ""
