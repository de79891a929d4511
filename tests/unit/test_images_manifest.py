"""Manifests, indexes and configurations: the right platform is chosen, and what is malformed is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.images import config, manifest
from orchestrator.images.manifest import Descriptor, Index, Manifest, Platform, choose

DIGEST = "sha256:" + "b" * 64


def offered(*platforms: str) -> list[Descriptor]:
    return [
        Descriptor(manifest.OCI_MANIFEST, f"sha256:{number:064x}", 1, manifest.platform(text))
        for number, text in enumerate(platforms)
    ]


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], 1),
        ("linux/arm64", ["linux/arm64/v8", "linux/amd64"], 0),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v5", "linux/arm/v7"], 2),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v6"], 1),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6"], 1),
        ("linux/amd64", ["linux/amd64/v3", "linux/amd64"], 1),
    ],
)
def test_the_nearest_platform_that_runs_here_is_chosen(wanted: str, there: list[str], chosen: int) -> None:
    candidates = offered(*there)
    assert choose(candidates, manifest.platform(wanted)) == candidates[chosen]


def test_attestations_are_no_platform_and_what_there_is_is_named() -> None:
    attestation = Descriptor(manifest.OCI_MANIFEST, DIGEST, 1, Platform("unknown", "unknown"))
    with pytest.raises(ValueError, match=r"none for linux/amd64; there are: linux/arm64, linux/s390x"):
        choose([attestation, *offered("linux/arm64", "linux/s390x")], Platform("linux", "amd64"))


def document(**changes: Any) -> bytes:
    usual: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": {"mediaType": manifest.OCI_CONFIG, "digest": DIGEST, "size": 2},
        "layers": [{"mediaType": manifest.OCI_LAYER + "+gzip", "digest": DIGEST, "size": 3}],
    }
    return json.dumps(usual | changes).encode()


def test_a_manifest_and_an_index_are_told_apart_by_what_they_hold() -> None:
    assert isinstance(manifest.parse(document()), Manifest)
    assert isinstance(manifest.parse(document(mediaType=None)), Manifest)
    index = json.dumps({"schemaVersion": 2, "manifests": []}).encode()
    assert manifest.parse(index, "text/plain") == Index(())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no JSON object"),
        (document(schemaVersion=1), "schema 1"),
        (document(schemaVersion=None), "schemaVersion is None"),
        (document(layers=None), "'layers' is no list"),
        (document(layers=[7]), "no JSON object"),
        (document(layers=[{"digest": "sha256:../../x", "size": 1}]), "has the digest"),
        (document(layers=[{"digest": DIGEST, "size": -1}]), "has the size -1"),
        (document(layers=[{"digest": DIGEST, "size": True}]), "has the size True"),
        (
            document(config={"mediaType": "application/vnd.cncf.helm", "digest": DIGEST, "size": 1}),
            "no container image",
        ),
        (document(mediaType="application/x-foo"), "unknown kind"),
        (document(layers=[{"mediaType": "text/plain", "digest": DIGEST, "size": 1}]), "of the unknown kind"),
        (document(layers=[{"mediaType": "x.tar", "digest": DIGEST, "size": 1}] * 501), "501 layers"),
    ],
)
def test_a_malformed_manifest_is_said(content: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        manifest.parse(content)


def test_a_configuration_gives_what_a_container_inherits() -> None:
    inner = {
        "Env": ["A=1", "B=x=y"],
        "Entrypoint": ["/e"],
        "Cmd": None,
        "User": "web",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1_500_000_000, "Retries": 2},
        "Labels": {"l": "v"},
    }
    text = json.dumps({"os": "linux", "architecture": "amd64", "config": inner, "rootfs": {"diff_ids": [DIGEST]}})
    parsed = config.parse(text.encode())
    assert parsed.environment == {"A": "1", "B": "x=y"}
    assert (parsed.entrypoint, parsed.command, parsed.user) == (("/e",), None, "web")
    assert (parsed.exposed, parsed.volumes, parsed.stop_signal) == (("80/tcp",), ("/data",), "SIGQUIT")
    assert parsed.healthcheck == config.Healthcheck(("CMD", "x"), interval=1.5, retries=2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{}", "rootfs.diff_ids"),
        ('{"rootfs": {"diff_ids": ["../x"]}}', "no digest"),
        ('{"rootfs": {"diff_ids": []}, "config": []}', ""),
        ('{"rootfs": {"diff_ids": []}, "config": 7}', "'config' is no JSON object"),
        ('{"rootfs": {"diff_ids": []}, "config": {"Cmd": 7}}', "Cmd is no list of texts"),
        ('{"rootfs": {"diff_ids": []}, "config": {"User": 7}}', "User is no text"),
        ('{"rootfs": {"diff_ids": []}, "config": {"Healthcheck": "x"}}', "Healthcheck"),
    ],
)
def test_a_malformed_configuration_is_said(text: str, why: str) -> None:
    if not why:
        assert config.parse(text.encode()).command is None  # PHP's empty object
        return
    with pytest.raises(ValueError, match=why):
        config.parse(text.encode())


def test_chain_ids_are_those_of_the_specification() -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert config.chain([one]) == [one]
    assert config.chain([one, two])[1] == "sha256:" + __import__("hashlib").sha256(f"{one} {two}".encode()).hexdigest()
