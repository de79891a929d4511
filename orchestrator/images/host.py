"""`host:/`: the programs of this machine, and nothing that is anybody's secret.

The root is an overlay of two layers: below, the machine's own "/"; over it a mask. Of the top level only the
directories of programs show through. /etc is a snapshot of what everyone may read, less keys and password hashes: a
file that appears on the host later never appears in a container. The other places of a root are empty directories.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from typing import Any

from orchestrator.errors import HostRefused
from orchestrator.images import mask
from orchestrator.images.image import Image
from orchestrator.images.mask import Directory, Entry, File, Hidden, Link
from orchestrator.root import Root

# What shows through of "/". On a merged-/usr system all but usr are symlinks into it.
PROGRAMS = frozenset({"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"})

# What is there instead of the host's own, in the order of making.
PLACES: tuple[Entry, ...] = (
    *(
        Directory(name, opaque=True)
        for name in ("home", "var", "run", "mnt", "media", "srv", "opt", "proc", "sys", "dev")
    ),
    Directory("root", 0o700, opaque=True),
    Directory("tmp", 0o1777, opaque=True),
    Directory("run/lock", 0o1777),
    *(Directory(f"var/{name}") for name in ("cache", "lib", "local", "log", "mail", "opt", "spool")),
    Directory("var/tmp", 0o1777),
    Link("var/run", "/run"),
    Link("var/lock", "/run/lock"),
)

# Plain files to bind a container's own over; machine-id(5): an empty one reads "not known yet".
OWN_FILES = ("hosts", "hostname", "resolv.conf", "machine-id")

# Never shown, whoever may read them: names below /etc.
SECRET_NAMES = (
    *("shadow*", "gshadow*", "sudoers*", "ssl/private", "ssh/ssh_host_*", "*.key", "*.keytab", "*secrets*"),
    *("*.p12", "*.pfx", "*.kdbx", "*.netrc", "wireguard", "NetworkManager/system-connections", "letsencrypt"),
)
_SECRET_NAME = re.compile("|".join(translate(f"*/{name}") for name in SECRET_NAMES))

# … and what is a secret under any name: a PEM private key, a crypt(5) hash, a URL with a password in it.
# Each begins with a literal, which makes the search of a megabyte take one millisecond and not twenty.
SECRET_CONTENT = (
    re.compile(rb"PRIVATE KEY-----"),
    re.compile(rb"\$(?:1|2[abxy]?|5|6|7|md5|sha1|y|gy|argon2i?d?)\$[./A-Za-z0-9$=,+-]{8}"),
    re.compile(rb"://[^/\s:@]+:[^/\s:@]+@"),
)


def prepare(root: Root) -> Image:
    """Image of this machine as it is now; the mask is made anew only when the machine has changed."""
    try:
        home, seen = _home(root), signature("/")
        digest = _remembered(home, seen)
        if digest is None:
            entries = survey("/")
            digest = mask.digest(entries)
            _make(home, digest, entries)
            _remember(home, seen, digest)
    except OSError as error:
        raise HostRefused(f"cannot make the root of 'host:/': {error}") from error
    layer = os.path.join(home, f"host-{digest[:16]}")
    return Image("host:/", f"sha256:{digest}", (layer, "/"), mounts=tuple(_program_mounts(_mount_points())))


def collect(root: Root, in_use: Callable[[str], bool]) -> None:
    """Remove the masks of the machine as it was before: a container needs the one it has (`in_use`, by its path)."""
    home = os.path.join(root.run, "masks")
    try:
        with open(os.path.join(home, "host.json"), encoding="utf-8") as file:
            newest = f"host-{json.load(file)['digest'][:16]}"
        for entry in list(os.scandir(home)):
            if entry.is_dir(follow_symlinks=False) and entry.name != newest and not in_use(entry.path):
                shutil.rmtree(entry.path)
    except FileNotFoundError:
        return  # no mask was ever made
    except OSError as error:
        raise HostRefused(f"cannot remove what is no longer used below {home}: {error}") from error


def survey(host: str) -> list[Entry]:
    """What the mask over the root directory `host` must say, parents first. Reads, changes nothing."""
    ours = {place.path for place in PLACES} | PROGRAMS | {"etc"}
    hidden = [Hidden(name) for name in sorted(os.listdir(host)) if name not in ours]
    etc = [Directory("etc", opaque=True), *(File(f"etc/{name}") for name in OWN_FILES), *_readable(host, "etc")]
    if not any(entry.path == "etc/mtab" for entry in etc):
        etc.append(Link("etc/mtab", "/proc/self/mounts"))
    return [*hidden, *PLACES, *etc, *_hidden_settings(host)]


def signature(host: str) -> str:
    """Changes whenever `survey` could say something else; some milliseconds (ctime: no change goes by unseen)."""
    trees = [path for tree in ("etc", "usr/etc", "usr/local/etc") if os.path.isdir(path := os.path.join(host, tree))]
    seen: list[object] = [sorted(os.listdir(host)), *(os.stat(tree).st_ctime_ns for tree in trees)]
    for tree in trees:  # grows as directories are found
        with os.scandir(tree) as found:
            for child in found:
                if child.is_dir(follow_symlinks=False):
                    trees.append(child.path)
                if not child.is_symlink():  # a new target is a new link, and its directory tells
                    known = child.stat(follow_symlinks=False)
                    seen.append((child.path, known.st_ino, known.st_mode, known.st_size, known.st_ctime_ns))
    return hashlib.sha256(repr(seen).encode()).hexdigest()


def _readable(host: str, tree: str) -> Iterator[Entry]:
    """Everything below `tree` that every user of the host may read and that is no secret."""
    with os.scandir(os.path.join(host, tree)) as found:
        children = sorted(found, key=lambda child: child.name)
    for child in children:
        path = f"{tree}/{child.name}"
        with contextlib.suppress(FileNotFoundError):  # gone since: then it is not there, and the next look sees it
            known = child.stat(follow_symlinks=False)
            if _SECRET_NAME.match(path) or path.removeprefix("etc/") in OWN_FILES:
                continue
            mode, owner = stat.S_IMODE(known.st_mode), (known.st_uid, known.st_gid)
            if stat.S_ISLNK(known.st_mode):
                yield Link(path, os.readlink(child.path))
            elif stat.S_ISDIR(known.st_mode) and mode & 0o005 == 0o005:
                yield Directory(path, mode, owner)
                yield from _readable(host, path)
            elif stat.S_ISREG(known.st_mode) and mode & 0o004:
                content = _read(child.path)
                if not any(secret.search(content) for secret in SECRET_CONTENT):
                    yield File(path, content, mode, owner)


def _hidden_settings(host: str) -> Iterator[Entry]:
    """The same rule for settings kept below /usr, where the layers are merged: what is no one's to read is hidden."""
    for tree in ("usr/etc", "usr/local/etc"):
        if not os.path.isdir(os.path.join(host, tree)):
            continue
        shown = {entry.path for entry in _readable(host, tree)}
        every = {
            os.path.relpath(os.path.join(directory, name), host)
            for directory, directories, files in os.walk(os.path.join(host, tree))
            for name in (*directories, *files)
        }
        secrets = sorted(every - shown)
        tops = [path for path in secrets if os.path.dirname(path) not in secrets]
        for parent in sorted({parent for path in tops for parent in _parents(path)}):
            known = os.stat(os.path.join(host, parent))
            yield Directory(parent, stat.S_IMODE(known.st_mode), (known.st_uid, known.st_gid))
        yield from map(Hidden, tops)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def _mount_points() -> set[str]:
    """proc_pid_mountinfo(5), field 5; blanks and the like in it are written as \\040."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return {re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split(" ")[4]) for line in file}


def _program_mounts(points: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Overlayfs does not cross mounts: file systems mounted below the directories of programs are bound read-only."""
    for point in sorted(points):
        if point.split("/")[1] in PROGRAMS:
            yield {"destination": point, "type": "bind", "source": point, "options": ["bind", "ro", "nosuid", "nodev"]}


def _home(root: Root) -> str:
    """RUN/masks: in memory, as RUN is.

    It cannot be on the disk: overlayfs refuses a lower layer that lies inside another lower layer (ELOOP, "overlapping
    lowerdir path"), and every directory of the root file system lies inside "/".
    """
    home = os.path.join(root.run, "masks")
    os.makedirs(home, mode=0o700, exist_ok=True)
    return home


def _remembered(home: str, seen: str) -> str | None:
    """The digest of the mask made for the machine that had this signature, if it still stands."""
    try:
        with open(os.path.join(home, "host.json"), encoding="utf-8") as file:
            known = json.load(file)
    except FileNotFoundError:
        return None
    standing = known["signature"] == seen and os.path.isdir(os.path.join(home, f"host-{known['digest'][:16]}"))
    return str(known["digest"]) if standing else None


def _remember(home: str, seen: str, digest: str) -> None:
    file = os.path.join(home, "host.json")
    with open(f"{file}.new", "w", encoding="utf-8") as new:
        json.dump({"signature": seen, "digest": digest}, new)
    os.rename(f"{file}.new", file)


def _make(home: str, digest: str, entries: list[Entry]) -> None:
    """By rename: a mask that bears its name is whole."""
    final, building = os.path.join(home, f"host-{digest[:16]}"), os.path.join(home, "building")
    if os.path.isdir(final):
        return
    if os.path.isdir(building):  # a former agent died over it
        shutil.rmtree(building)
    mask.build(entries, building)
    os.rename(building, final)
