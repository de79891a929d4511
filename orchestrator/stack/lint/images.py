"""What containers are made from."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.stack.lint.finding import Finding, Subject

_OF_THIS_MACHINE = ("host:", "dir:", "oci:", "oci-archive:", "docker-archive:")


def latest_tag(subject: Subject) -> Iterator[Finding]:
    """A name without a version means another image tomorrow."""
    for name, service in subject.services.items():
        image = str(service.get("image") or "")
        if not image or image.startswith(_OF_THIS_MACHINE) or "build" in service or "@" in image:
            continue
        tag = image.rpartition("/")[2].partition(":")[2]
        if tag in ("", "latest"):
            what = "has no tag: latest is meant" if not tag else "is whatever is newest"
            yield Finding(
                ("services", name, "image"), f"'{image}' {what}", "name a version, or a digest (`pyorch lock`)"
            )
