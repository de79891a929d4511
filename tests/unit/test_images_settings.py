"""images.yaml: how each registry is spoken to."""

from __future__ import annotations

import pytest

from orchestrator.errors import Mistake
from orchestrator.images.settings import parse


@pytest.mark.parametrize(
    ("text", "registry", "urls"),
    [
        ("", "docker.io", ["https://registry-1.docker.io"]),
        ("", "registry.lan:5000", ["https://registry.lan:5000"]),
        ("", "127.0.0.1:5000", ["http://127.0.0.1:5000"]),
        ("", "[::1]:5000", ["http://[::1]:5000"]),
        ("registries: {'registry.lan:5000': {plain_http: true}}", "registry.lan:5000", ["http://registry.lan:5000"]),
        ("registries: {localhost: {plain_http: false}}", "localhost", ["https://localhost"]),
        ("registries: {localhost: {ca: /ca.pem}}", "localhost", ["https://localhost"]),
        (
            "registries: {docker.io: {mirrors: ['http://mirror.lan/']}}",
            "docker.io",
            ["http://mirror.lan", "https://registry-1.docker.io"],
        ),
    ],
)
def test_a_registry_is_asked_there(text: str, registry: str, urls: list[str]) -> None:
    assert [url for url, _ in parse(text, "images.yaml").endpoints(registry)] == urls


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("registries: {a.lan: {plain_http: 'yes'}}", "plain_http must be true or false, not 'yes'"),
        ("registries: {a.lan: {insecure: true}}", "registries.a.lan has the unknown word insecure"),
        ("registries: {a.lan: {mirrors: [b.lan]}}", "must be a list of URLs"),
        ("limits: {layers: 1}", "limits has the unknown word layers"),
        ("[", "cannot use images.yaml"),
    ],
)
def test_what_cannot_be_meant_is_said(text: str, why: str) -> None:
    with pytest.raises(Mistake, match=why):
        parse(text, "images.yaml")
