"""Ways to a registry and odd things in it: certificates, proxies, tokens, lies, and images of unusual make."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry import (
    Layout,
    Proxy,
    Registry,
    Trouble,
    Tunnel,
    busybox_files,
    busybox_image,
    needs_registry,
    proxy,
    registry,
    tar_of,
)
from tests.scenarios.conftest import Pyorch

pytestmark = needs_registry


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def between(hub: Registry) -> Iterator[Proxy]:
    with proxy(hub.host) as made:
        yield made


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """An authority of our own; a certificate and key of registry.test by it."""
    place = tmp_path_factory.mktemp("tls")
    own = [place / name for name in ("ca.pem", "ca.key", "own.pem", "own.key", "own.csr")]
    authority, authority_key, certificate, key, request = own
    new = ["openssl", "req", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    _quietly([*new, "-x509", "-days", "2", "-subj", "/CN=ours", "-keyout", authority_key, "-out", authority])
    _quietly([*new, "-subj", "/CN=registry.test", "-keyout", key, "-out", request])
    (place / "names").write_text("subjectAltName=DNS:registry.test\n")
    by = ["-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-extfile", place / "names", "-days", "2"]
    _quietly(["openssl", "x509", "-req", "-in", request, *by, "-out", certificate])
    return authority, certificate, key


def _quietly(command: list[object]) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)


def _settings(pyorch: Pyorch, text: str) -> None:
    path = Path(pyorch.root.state, "images.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _login(tmp_path: Path, value: object) -> dict[str, str]:
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker/config.json").write_text(json.dumps(value))
    return {"DOCKER_CONFIG": str(tmp_path / "docker")}


def test_a_registry_with_an_own_authority_behind_a_proxy(
    pyorch: Pyorch, certificates: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    authority, certificate, key = certificates
    tunnel = Tunnel()
    try:
        with registry(tmp_path / "registry", tls=(certificate, key)) as far:
            port = far.host.rpartition(":")[2]
            far.push(busybox_image(tmp_path / "image"), "far:1")
            name = f"registry.test:{port}"
            through = pyorch.environment | {"HTTPS_PROXY": tunnel.url, "NO_PROXY": "other.test"}
            done = pyorch.run("image", "pull", f"{name}/far:1", env=through)
            assert "certificate verify failed" in done.stderr
            _settings(pyorch, f"registries: {{'{name}': {{ca: {tmp_path}/none.pem}}}}\n")
            done = pyorch.run("image", "pull", f"{name}/far:1", env=through)
            assert f"cannot trust registry '{name}' by the certificates in {tmp_path}/none.pem" in done.stderr
            _settings(pyorch, f"registries: {{'{name}': {{ca: {authority}}}}}\n")
            pyorch.ok("image", "pull", f"{name}/far:1", env=through)
            assert set(tunnel.seen) == {name}
            seen = len(tunnel.seen)
            done = pyorch.run("image", "pull", f"{name}/far:1", env=through | {"NO_PROXY": ".test"})
            assert "cannot be reached" in done.stderr, "nobody but the proxy knows that name"
            assert len(tunnel.seen) == seen
    finally:
        tunnel.close()


@contextlib.contextmanager
def certificates_of(host: str) -> Iterator[Path]:
    """Where Docker looks for them; what had to be made for it goes again."""
    place = Path("/etc/docker/certs.d", host)
    missing = [path for path in place.parents if not path.exists()]
    place.mkdir(parents=True)
    try:
        yield place
    finally:
        shutil.rmtree(place)
        for path in missing:
            path.rmdir()


def test_a_registry_that_wants_a_certificate_is_shown_the_one_that_lies_for_it(
    pyorch: Pyorch, certificates: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    authority, certificate, key = certificates
    with registry(tmp_path / "registry") as plain:
        plain.push(busybox_image(tmp_path / "image"), "far:1")
    tunnel = Tunnel()
    try:
        with registry(tmp_path / "registry", tls=(certificate, key), clients=authority) as far:
            host = f"registry.test:{far.host.rpartition(':')[2]}"

            def pull() -> str:
                return pyorch.run(
                    "image", "pull", f"{host}/far:1", env=pyorch.environment | {"HTTPS_PROXY": tunnel.url}
                ).stderr

            with certificates_of(host) as place:
                assert "certificate verify failed" in pull()
                shutil.copy(authority, place / "ca.crt")
                assert "alert" in pull(), "nobody has said who we are"
                shutil.copy(certificate, place / "client.cert")
                assert f"cannot use certificate {place}/client.cert: there is no {place}/client.key beside it" in pull()
                shutil.copy(key, place / "client.key")
                pull()
                assert [row["Tag"] for row in pyorch.lines("image", "ls", "--format", "json")] == ["1"]
    finally:
        tunnel.close()


def test_an_identity_token_is_exchanged_and_a_helper_may_give_one(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    hub.push(busybox_image(tmp_path / "image"), "identity:1")
    bearer = f'Bearer realm="http://{between.host}/token",service="hub",scope="repository:identity:pull"'
    between.tokens["/token"] = "exchanged"
    helper = tmp_path / "bin/docker-credential-keeper"
    helper.parent.mkdir()
    helper.write_text('#!/bin/sh\necho \'{"Username": "<token>", "Secret": "from-helper"}\'\n')
    helper.chmod(0o755)
    logins = {
        "kept": {"auths": {between.host: {"identitytoken": "kept"}}},
        "from-helper": {"credsStore": "keeper"},
    }
    for secret, login in logins.items():
        between.troubles.append(Trouble("manifests/1", status=401, headers={"WWW-Authenticate": bearer}))
        path = f"{helper.parent}:{os.environ['PATH']}"
        env = pyorch.environment | _login(tmp_path, login) | {"PATH": path}
        pyorch.ok("image", "pull", f"{between.host}/identity:1", env=env)
        (method, body) = between.bodies["/token"][-1]
        assert method == "POST"
        assert f"refresh_token={secret}" in body
        assert "scope=repository%3Aidentity%3Apull" in body
        assert between.requests("manifests/1")[-1]["authorization"] == "Bearer exchanged"


def test_a_blob_may_lie_on_another_host_which_is_told_no_secret(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    layout = busybox_image(tmp_path / "image")
    hub.push(layout, "elsewhere:1")
    layers = json.loads(layout.file(layout.manifests[0]["digest"]).read_text())["layers"]
    code = base64.b64encode(b"me:my-password").decode()
    basic = {"WWW-Authenticate": 'Basic realm="x"'}
    with proxy(hub.host) as other:
        where = f"http://{other.host}/v2/elsewhere/blobs/{layers[0]['digest']}"
        between.troubles += [
            Trouble("manifests/1", status=401, headers=basic),
            Trouble(layers[0]["digest"], status=307, headers={"Location": where}),
        ]
        env = pyorch.environment | _login(tmp_path, {"auths": {between.host: {"auth": code}}})
        pyorch.ok("image", "pull", f"{between.host}/elsewhere:1", env=env)
        assert between.requests("blobs/")[-1]["authorization"] == f"Basic {code}"
        (asked,) = other.requests("blobs/")
        assert "authorization" not in asked


def test_a_registry_may_say_when_to_come_again(pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path) -> None:
    hub.push(busybox_image(tmp_path / "image"), "later:1")
    between.troubles.append(Trouble("manifests/1", status=429, headers={"Retry-After": "1"}))
    pyorch.ok("image", "pull", f"{between.host}/later:1")
    first, second = between.times("manifests/1")
    assert second - first >= 1


def test_a_manifest_that_is_not_what_its_registry_says_is_refused(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    hub.push(busybox_image(tmp_path / "image"), "lies:1")
    between.troubles.append(Trouble("manifests/1", flip=True, times=-1))
    done = pyorch.run("image", "pull", f"{between.host}/lies:1")
    assert "its manifest is said to have the digest sha256:" in done.stderr


def test_images_of_unusual_make_run(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    zstd = pytest.importorskip("backports.zstd")
    table = b"\x5e\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"table"  # zstd:chunked ends with frames to be skipped

    def chunked(data: bytes) -> bytes:
        half = len(data) // 2
        return zstd.compress(data[:half]) + zstd.compress(data[half:]) + table

    layout = Layout(tmp_path / "odd")
    layers = [tar_of(busybox_files()), tar_of({}), tar_of({"odd": b"yes"})]
    layout.add(layers, {"Cmd": ["/bin/sh", "-c", "cat /odd; sleep 1000"]}, compress=chunked, suffix="+zstd")
    attestation = layout.add([tar_of({"statement": b"{}"})], platform=("unknown", "unknown"))
    attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    layout.index()
    reference = hub.push(layout, "odd:1", "--all")
    pyorch.up(f"name: odd\nservices: {{a: {{image: '{reference}'}}}}\n")
    pyorch.until(lambda: "yes" in pyorch.ok("logs", "a"))


def test_a_layer_that_is_there_twice_is_mounted_once(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    """As Docker makes them: each RUN that changes nothing gives the same empty layer."""
    layout = Layout(tmp_path / "twice")
    again, gone = tar_of({"f": b"again"}), tar_of({".wh.f": b""})
    layers = [tar_of(busybox_files()), tar_of({}), again, tar_of({}), gone, again, tar_of({})]
    layout.add(layers, {"Cmd": ["/bin/sh", "-c", "cat /f; sleep 1000"]})
    reference = hub.push(layout, "twice:1")
    pyorch.up(f"name: t\nservices: {{a: {{image: '{reference}'}}}}\n")
    pyorch.until(lambda: "again" in pyorch.ok("logs", "a"))
    (pyorch.directory / "Dockerfile").write_text(
        f"FROM {reference} AS s\nWORKDIR /x\nWORKDIR /y\nRUN rmdir /x\nWORKDIR /x\nFROM {reference}\nCOPY --from=s /f /g\n"
    )
    pyorch.write("name: u\nservices: {a: {build: .}}\n", "build.yaml")
    pyorch.ok("build", "build.yaml")
    pyorch.ok("build", "build.yaml")


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": []}, "Docker's schema 1"),
        (
            {"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.empty.v1+json"}},
            "it is no container image",
        ),
        (
            {"schemaVersion": 2, "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}},
            "no container image",
        ),
        ({"schemaVersion": 2, "config": {}, "layers": ["foreign"]}, "a foreign layer, as images of Windows have them"),
        ({"schemaVersion": 2, "config": {}, "layers": "x"}, "its 'layers' is no list"),
        ({"schemaVersion": 2, "config": {"digest": "sha256:../../x"}}, "has the digest 'sha256:../../x'"),
        ({"schemaVersion": 2, "manifests": [{"digest": 7}]}, "has the digest 7"),
        ({"schemaVersion": 2, "manifests": []}, "there is none for linux/amd64"),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path, manifest: dict[str, object], why: str
) -> None:
    layout = busybox_image(tmp_path / "image")
    hub.push(layout, "wrong:1")
    real = json.loads(layout.file(layout.manifests[0]["digest"]).read_text())
    if isinstance(manifest.get("config"), dict):
        manifest["config"] = real["config"] | manifest["config"]  # type: ignore[operator]
    if manifest.get("layers") == ["foreign"]:
        code = hashlib.sha256(gzip.compress(b"")).hexdigest()
        kind = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        manifest["layers"] = [{"mediaType": kind, "digest": f"sha256:{code}", "size": 9, "urls": ["https://x.test/y"]}]
    between.answers["/v2/wrong/manifests/1"] = json.dumps({"layers": real["layers"]} | manifest).encode()
    done = pyorch.run("image", "pull", f"{between.host}/wrong:1")
    assert done.returncode == 1
    assert why in done.stderr, done.stderr
    assert pyorch.ok("image", "ls", "-aq") == ""


@pytest.mark.skipif(not shutil.which("podman"), reason="needs podman (Debian)")
def test_what_podman_pushed_runs(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    home = pyorch.directory  # a short path: podman asks for one
    podman = ["podman", "--root", f"{home}/p", "--runroot", f"{home}/r", "--storage-driver=vfs"]
    busybox_image(tmp_path / "image")
    code = subprocess.run([*podman, "pull", "-q", f"oci:{tmp_path}/image"], check=True, capture_output=True, text=True)
    for number, kind in enumerate(("oci", "v2s2")):
        push = [*podman, "push", "-q", "--tls-verify=false", "--format", kind, code.stdout.strip()]
        subprocess.run([*push, f"{hub.host}/podman:{number}"], check=True, capture_output=True)
        pyorch.up(f"name: p{number}\nservices: {{a: {{image: '{hub.host}/podman:{number}'}}}}\n")
        pyorch.ok("-p", f"p{number}", "down", "-t", "0")
