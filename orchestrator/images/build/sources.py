"""Addresses of git repositories, where Docker takes one for a context or a source of ADD. Pure.

https://docs.docker.com/build/concepts/context/#git-repositories: `URL#ref:directory`; what ends in `.git`, or names no
other protocol than git's or ssh, is a repository.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCP = re.compile(r"[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:.+")
_HOSTS = ("github.com/", "gitlab.com/", "bitbucket.org/")


@dataclass(frozen=True, slots=True)
class GitSource:
    """`ref`: a branch, tag or commit, "" for the remote's HEAD. `directory`: below the top, "" for the top."""

    url: str
    ref: str = ""
    directory: str = ""

    def __str__(self) -> str:
        return self.url + (f"#{self.ref}" + (f":{self.directory}" if self.directory else "") if self.fragment else "")

    @property
    def fragment(self) -> bool:
        return bool(self.ref or self.directory)


def repository(text: str) -> GitSource | None:
    """The repository that an address means; None where it means something else.

    Raises ValueError for a directory that leads out of it.
    """
    url, _, fragment = text.partition("#")
    scheme, separator, path = url.partition("://")
    if separator:
        plain = scheme in ("git", "ssh", "file", "git+ssh", "git+https", "git+file")
        if not plain and not (scheme in ("https", "http") and path.rstrip("/").endswith(".git")):
            return None
        url = f"{scheme.removeprefix('git+')}://{path}"
    elif url.startswith(_HOSTS):
        url = f"https://{url}"
    elif not _SCP.fullmatch(url):
        return None
    ref, _, directory = fragment.partition(":")
    if ".." in directory.split("/"):
        raise ValueError(f"{text!r}: the directory {directory!r} leads out of the repository")
    return GitSource(url, ref, directory.strip("/"))
