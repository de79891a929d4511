"""Names of images: completed as Docker completes them, refused with the reason."""

from __future__ import annotations

import pytest

from orchestrator.images.reference import one_spelling, parse
from orchestrator.images.source import Files, files

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("written", "complete", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx:latest"),
        ("index.docker.io/user/app:2", "docker.io/user/app:2", "user/app:2"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest", "localhost:5000/app:latest"),
        ("registry.example:5000/a/b/c:x", "registry.example:5000/a/b/c:x", "registry.example:5000/a/b/c:x"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ("Host/app", "Host/app:latest", "Host/app:latest"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
        ("a__b/c-d.e", "docker.io/a__b/c-d.e:latest", "a__b/c-d.e:latest"),
    ],
)
def test_a_name_is_completed(written: str, complete: str, familiar: str) -> None:
    assert str(parse(written)) == complete
    assert parse(written).familiar == familiar


def test_an_image_has_one_spelling_and_what_is_no_name_keeps_its_own() -> None:
    ways = ("alpine", "alpine:latest", "library/alpine", "docker.io/alpine", "index.docker.io/library/alpine:latest")
    assert {one_spelling(way) for way in ways} == {"docker.io/library/alpine:latest"}
    assert one_spelling("alpine:3") == "docker.io/library/alpine:3"
    assert one_spelling("Tools") == "Tools"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("Nginx", "lower case"),
        ("", "no repository's name"),
        ("nginx:", "no tag"),
        ("nginx:a b", "no tag"),
        ("nginx@sha256:12", "no digest"),
        ("../../etc", "no r"),
        ("-x/y", "no repository's name"),
        ("a/" + "b" * 255, "longer than 255"),
        ("reg.example:port/x", "host name"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(written)


def test_a_transport_before_a_path_means_files_and_without_one_a_registry() -> None:
    assert files("oci:/srv/layout:v1") == Files("oci", "/srv/layout", "v1")
    assert files("docker-archive:/a.tar:app:1") == Files("docker-archive", "/a.tar", "app:1")
    assert files("oci-archive:/a.tar") == Files("oci-archive", "/a.tar")
    assert files("oci:latest") is None  # an image called "oci"
