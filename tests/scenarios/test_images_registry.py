"""Images of a real registry: what others pushed runs, is fetched once, and is what its digest says."""

from __future__ import annotations

import base64
import fcntl
import gzip
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry import (
    PASSWORD,
    USER,
    Layout,
    Proxy,
    Registry,
    Trouble,
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


def test_an_image_that_skopeo_pushed_runs_as_it_says(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    config = {
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo $GREETING $(id -un) $(pwd) $(cat /data/file); sleep 1000"],
        "User": "web",
        "WorkingDir": "/work",
        "StopSignal": "SIGKILL",
        "Healthcheck": {"Test": ["CMD", "/bin/true"], "Interval": 100_000_000},
    }
    reference = hub.push(busybox_image(tmp_path, [tar_of({"data/file": b"two layers"})], config), "runs:1")
    pyorch.up(f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n")
    pyorch.until(lambda: "hello web /work two layers" in pyorch.ok("logs", "a"))
    assert pyorch.ps()["seen-a-1"]["Health"] == "healthy"


def test_dockers_own_manifests_and_a_hundred_layers_run_too(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    extra = [tar_of({f"layer{number}": str(number).encode(), "same": str(number).encode()}) for number in range(110)]
    reference = hub.push(busybox_image(tmp_path, extra), "many:1", "--format", "v2s2")
    pyorch.up(f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n")
    assert pyorch.ok("exec", "-T", "a", "cat", "/layer0", "/same") == "0109"
    (found,) = json.loads(pyorch.ok("image", "inspect", reference))
    assert found["Descriptor"]["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_a_moved_tag_replaces_containers_only_where_the_policy_asks(
    pyorch: Pyorch, hub: Registry, tmp_path: Path
) -> None:
    reference = hub.push(busybox_image(tmp_path / "1"), "moves:1")
    stack = f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n"
    pyorch.up(stack)
    first = pyorch.ps()["seen-a-1"]["ID"]
    hub.push(busybox_image(tmp_path / "2", [tar_of({"new": b"er"})]), "moves:1")
    pyorch.up(stack)
    assert pyorch.ps()["seen-a-1"]["ID"] == first
    told = pyorch.run("up", "-d", "--wait", "--pull", "always").stderr
    assert "image.digest changed" in told
    assert pyorch.ok("exec", "-T", "a", "cat", "/new") == "er"


def test_what_cannot_be_pulled_changes_nothing(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    reference = hub.push(busybox_image(tmp_path), "stays:1")
    pyorch.up(f"name: seen\nservices: {{a: {{image: '{reference}'}}}}\n")
    before = {name: row["ID"] for name, row in pyorch.ps().items()}
    pyorch.write(f"name: seen\nservices: {{a: {{image: '{hub.host}/none:1'}}, b: {{image: '{reference}'}}}}\n")
    done = pyorch.run("up", "-d")
    assert done.returncode == 1
    assert f"cannot pull image '{hub.host}/none:1': there is no such image in {hub.host}" in done.stderr
    assert {name: row["ID"] for name, row in pyorch.ps().items()} == before


# trouble on the way


@pytest.fixture
def between(hub: Registry) -> Iterator[Proxy]:
    """A registry that things go wrong with: `hub`, through a proxy."""
    with proxy(hub.host) as made:
        yield made


def layered(hub: Registry, directory: Path, name: str) -> tuple[Layout, str]:
    """An image with a layer of 3 MB that nothing compresses."""
    layout = busybox_image(directory, [tar_of({"data/noise": os.urandom(3_000_000)})])
    hub.push(layout, name)
    return layout, json.loads((directory / "index.json").read_text())["manifests"][0]["digest"]


def noise_of(layout: Layout) -> str:
    """The digest of its last layer."""
    index = json.loads((layout.path / "index.json").read_text())
    manifest = json.loads(layout.file(index["manifests"][0]["digest"]).read_text())
    return str(manifest["layers"][-1]["digest"])


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("blobs/", cut=100_000, times=3),
        Trouble("blobs/", flip=True, times=1),
        Trouble("blobs/", status=500, times=3),
        Trouble("manifests/", status=503, times=2),
        Trouble("blobs/", status=429, headers={"Retry-After": "1"}, times=1),
        Trouble("blobs/", status=416, times=1),
    ],
    ids=["truncated", "one bit wrong", "500", "503 of the manifest", "429", "416"],
)
def test_a_registry_in_trouble_is_asked_again_and_what_came_is_whole(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path, trouble: Trouble
) -> None:
    layout, _ = layered(hub, tmp_path, "trouble:1")
    between.troubles.append(trouble)
    pyorch.ok("image", "pull", f"{between.host}/trouble:1")
    assert trouble.times == 0, "it did go wrong"
    stored = Path(pyorch.root.images, "blobs/sha256", noise_of(layout).removeprefix("sha256:"))
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == stored.name


def test_a_blob_that_is_always_wrong_is_never_used(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    layout, _ = layered(hub, tmp_path, "wrong:1")
    digest = noise_of(layout)
    between.troubles += [Trouble(digest, flip=True) for _ in range(9)]
    done = pyorch.run("image", "pull", f"{between.host}/wrong:1")
    assert done.returncode == 1
    assert f"blob {digest} comes with another content, of digest sha256:" in done.stderr
    assert not Path(pyorch.root.images, "blobs/sha256", digest.removeprefix("sha256:")).exists()
    assert pyorch.lines("image", "ls", "-a", "--format", "json") == []


def test_a_killed_pull_leaves_nothing_to_see_and_the_next_goes_on_where_it_stopped(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    layout, _ = layered(hub, tmp_path, "killed:1")
    digest = noise_of(layout)
    pyorch.ok("agent", "start")
    between.troubles.append(Trouble(digest, hang=0.05))
    part = Path(pyorch.root.images, "ingest", digest.replace(":", "-") + ".part")
    with subprocess.Popen(
        pyorch.command("image", "pull", f"{between.host}/killed:1"), env=pyorch.environment, stderr=subprocess.DEVNULL
    ) as command:
        pyorch.until(lambda: part.exists() and part.stat().st_size > 500_000)
        os.kill(pyorch.status()["agent"]["pid"], signal.SIGKILL)
        command.wait()
    pyorch.until(lambda: len(between.requests(digest)) == 1)
    size = pyorch.until(lambda: steady(part))
    pyorch.ok("agent", "start")
    assert pyorch.lines("image", "ls", "-a", "--format", "json") == []
    pyorch.ok("image", "pull", f"{between.host}/killed:1")
    assert between.requests(digest)[-1]["range"] == f"bytes={size}-"
    assert not part.exists()


def steady(path: Path) -> int:
    """Its size, once nobody writes to it any more: the lock of whoever did is free."""
    with open(path, "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        return os.fstat(file.fileno()).st_size


def test_a_damaged_blob_in_the_store_is_fetched_again(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    layout, _ = layered(hub, tmp_path, "rotten:1")
    pyorch.ok("image", "pull", f"{hub.host}/rotten:1")
    blob = Path(pyorch.root.images, "blobs/sha256", noise_of(layout).removeprefix("sha256:"))
    with open(blob, "r+b") as file:
        file.seek(1000)
        file.write(b"rot")
    done = pyorch.run("image", "save", "-o", str(tmp_path / "out.tar"), f"{hub.host}/rotten:1")
    assert done.returncode == 1
    assert f"blob sha256:{blob.name} in the store is damaged; pull the image again" in done.stderr
    assert not (tmp_path / "out.tar").exists()
    pyorch.ok("image", "pull", f"{hub.host}/rotten:1")
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(
    pyorch: Pyorch, hub: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    honest = tar_of({"a": b"honest"})
    layout.add([honest], compress=lambda data: gzip.compress(tar_of({"a": b"other"})))
    index = json.loads((tmp_path / "index.json").read_text())
    assert index
    reference = hub.push(layout, "lies:1")
    done = pyorch.run("image", "pull", reference)
    assert done.returncode == 1
    assert "but the image's configuration says sha256:" in done.stderr
    assert os.listdir(Path(pyorch.root.images, "layers")) == []


def test_an_index_gives_the_image_for_this_machine_and_names_what_there_is_instead(
    pyorch: Pyorch, hub: Registry, tmp_path: Path
) -> None:
    layout = Layout(tmp_path)
    for architecture in (architecture_here(), "s390x"):
        layout.add([tar_of({"is": architecture.encode()})], platform=("linux", architecture))
    layout.index()
    reference = hub.push(layout, "many:1", "--all")
    pyorch.ok("image", "pull", reference)
    pyorch.ok("image", "pull", "--platform", "linux/s390x", reference)
    shown = {row["Platform"] for row in pyorch.lines("image", "ls", "--format", "json")}
    assert shown == {f"linux/{architecture_here()}", "linux/s390x"}
    done = pyorch.run("image", "pull", "--platform", "linux/mips64le", reference)
    assert done.returncode == 1
    assert "there is none for linux/mips64le; there are: linux/" in done.stderr


def architecture_here() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def test_layers_compressed_with_zstd_or_not_at_all_are_read_too(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    for number, (compress, suffix) in enumerate([(zstd, "+zstd"), (bytes, "")]):
        layout = Layout(tmp_path / str(number))
        layout.add([tar_of({"a": b"x" * 100_000})], compress=compress, suffix=suffix)
        pyorch.ok("image", "pull", f"oci:{layout.path}")


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


# who may


def test_a_registry_with_a_password_is_entered_with_what_docker_login_left(pyorch: Pyorch, tmp_path: Path) -> None:
    with registry(tmp_path / "registry", password=True) as closed:
        reference = closed.push(busybox_image(tmp_path / "image"), "closed:1")
        done = pyorch.run("image", "pull", reference)
        assert done.returncode == 1
        assert f"it is not for everybody: log in with `docker login {closed.host}`" in done.stderr
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        helper = tmp_path / "bin/docker-credential-test"
        helper.parent.mkdir()
        answer = json.dumps({"Username": USER, "Secret": PASSWORD})
        helper.write_text(f"#!/bin/sh\n[ $1 = get ] && [ $(cat) = {closed.host} ] && echo '{answer}'\n")
        helper.chmod(0o755)
        for number, login in enumerate(
            [{"auths": {closed.host: {"auth": token}}}, {"credHelpers": {closed.host: "test"}}, {"credsStore": "test"}]
        ):
            config = tmp_path / f"config{number}"
            config.mkdir()
            (config / "config.json").write_text(json.dumps(login))
            path = f"{helper.parent}:{os.environ['PATH']}"
            pyorch.ok("image", "pull", reference, env=pyorch.environment | {"DOCKER_CONFIG": str(config), "PATH": path})
            pyorch.ok("image", "rm", reference)
        pyorch.ok("image", "pull", f"oci:{tmp_path}/image")
        pyorch.ok("image", "tag", f"oci:{tmp_path}/image", f"{closed.host}/given:2")
        environment = pyorch.environment | {"DOCKER_CONFIG": str(tmp_path / "config0")}
        pyorch.ok("image", "push", f"{closed.host}/given:2", env=environment)
        skopeo = ["skopeo", "inspect", "--tls-verify=false", "--creds", f"{USER}:{PASSWORD}"]
        there = subprocess.run([*skopeo, f"docker://{closed.host}/given:2"], capture_output=True, text=True, check=True)
        assert "GREETING=hello" in there.stdout


def test_a_token_server_is_asked_and_no_other_host_ever_sees_the_password(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    hub.push(busybox_image(tmp_path), "token:1")
    config = tmp_path / "config"
    config.mkdir()
    token = base64.b64encode(b"me:my-password").decode()
    (config / "config.json").write_text(json.dumps({"auths": {between.host: {"auth": token}}}))
    bearer = f'Bearer realm="http://{between.host}/token",service="hub",scope="repository:token:pull"'
    between.tokens["/token"] = "the-token"
    between.troubles += [
        Trouble("manifests/", status=401, headers={"WWW-Authenticate": bearer}),
        Trouble("blobs/", status=307, headers={"Location": f"http://{hub.host}/v2/token/blobs/none"}),
    ]
    done = pyorch.run(
        "image", "pull", f"{between.host}/token:1", env=pyorch.environment | {"DOCKER_CONFIG": str(config)}
    )
    assert done.returncode == 1, "the redirect led to nothing"
    (asked,) = between.requests("/token?")
    assert asked["authorization"] == f"Basic {token}"
    assert between.requests("manifests/")[1]["authorization"] == "Bearer the-token"


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("file:///etc/shadow", "redirects from http to file"),
        ("http://169.254.169.254/latest", "redirects to 169.254.169.254, which is not followed"),
    ],
)
def test_a_redirect_to_where_no_blob_can_be_is_not_followed(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path, where: str, why: str
) -> None:
    hub.push(busybox_image(tmp_path), "astray:1")
    between.troubles.append(Trouble("blobs/", status=307, headers={"Location": where}, times=-1))
    done = pyorch.run("image", "pull", f"{between.host}/astray:1")
    assert done.returncode == 1
    assert why in done.stderr


def test_a_mirror_is_asked_first_and_its_trouble_is_nobodys(
    pyorch: Pyorch, hub: Registry, between: Proxy, tmp_path: Path
) -> None:
    hub.push(busybox_image(tmp_path), "mirrored:1")
    settings = Path(pyorch.root.state, "images.yaml")
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f"registries: {{'{hub.host}': {{mirrors: ['http://127.0.0.1:1', 'http://{between.host}']}}}}\n")
    pyorch.ok("image", "pull", f"{hub.host}/mirrored:1")
    assert between.requests("manifests/1")
    settings.write_text("registries: {x: {plain_htpp: true}}\n")
    done = pyorch.run("image", "pull", f"{hub.host}/mirrored:1")
    assert "has the unknown word plain_htpp; known: mirrors, plain_http, ca" in done.stderr


# files, and what is kept


def test_what_docker_podman_and_skopeo_pack_is_read_and_what_we_pack_they_read(pyorch: Pyorch, tmp_path: Path) -> None:
    layout = busybox_image(tmp_path / "image", [tar_of({"data/file": b"packed"})])
    copy = ["skopeo", "copy", "-q", "--insecure-policy", f"oci:{layout.path}"]
    subprocess.run([*copy, f"docker-archive:{tmp_path}/docker.tar:app/one:1"], check=True)
    subprocess.run([*copy, f"oci-archive:{tmp_path}/oci.tar:app/two:1"], check=True)
    assert pyorch.ok("image", "load", "-i", str(tmp_path / "docker.tar")) == "Loaded image: docker.io/app/one:1\n"
    assert pyorch.ok("image", "load", "-i", str(tmp_path / "oci.tar")) == "Loaded image: docker.io/app/two:1\n"
    pyorch.ok("image", "save", "-o", str(tmp_path / "ours.tar"), "app/one:1")
    for kind in ("docker-archive", "oci-archive"):
        subprocess.run(["skopeo", "inspect", f"{kind}:{tmp_path}/ours.tar:docker.io/app/one:1"], check=True)
    images = [f"docker-archive:{tmp_path}/docker.tar", f"oci-archive:{tmp_path}/oci.tar", f"oci:{layout.path}:latest"]
    services = "\n".join(f"      s{number}: {{image: '{image}'}}" for number, image in enumerate(images))
    pyorch.up(f"    name: files\n    services:\n{services}\n")
    for number in range(3):
        assert pyorch.ok("exec", "-T", f"s{number}", "cat", "/data/file") == "packed"


def test_what_containers_and_kept_revisions_use_is_not_collected(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    one = hub.push(busybox_image(tmp_path / "1", [tar_of({"one": b"1"})]), "kept:1")
    two = hub.push(busybox_image(tmp_path / "2", [tar_of({"two": b"2" * 5000})]), "kept:2")
    pyorch.up(f"name: kept\nservices: {{a: {{image: '{one}'}}}}\n")
    pyorch.up(f"name: kept\nservices: {{a: {{image: '{two}'}}}}\n")
    done = pyorch.run("image", "rm", two)
    assert done.returncode == 1
    assert "container kept-a-1 was made from it" in done.stderr
    pyorch.ok("image", "prune", "-af")
    assert len(pyorch.lines("image", "ls", "--format", "json")) == 2, "the former revision can be gone back to"
    pyorch.ok("down")
    said = pyorch.ok("image", "prune", "-af")
    assert f"untagged: {one}" in said
    assert os.listdir(Path(pyorch.root.images, "layers")) == []
    (row,) = [row for row in pyorch.lines("system", "df", "--format", "json") if row["Type"] == "Images"]
    assert (row["TotalCount"], row["Size"]) == ("0", "0B")


def test_a_locked_stack_runs_what_the_tag_stood_for(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    reference = hub.push(busybox_image(tmp_path / "1", [tar_of({"is": b"old"})]), "locked:1")
    pyorch.write(f"name: locked\nservices: {{a: {{image: '{reference}'}}}}\n")
    pyorch.ok("lock")
    digest = next(line for line in (pyorch.directory / "stack.lock").read_text().splitlines() if "sha256" in line)
    shown = pyorch.ok("config", "--resolve-image-digests")
    assert f"image: {reference}@{digest.rpartition(' ')[2]}" in shown
    hub.push(busybox_image(tmp_path / "2", [tar_of({"is": b"new"})]), "locked:1")
    pyorch.ok("up", "-d", "--locked")
    assert pyorch.ok("exec", "-T", "a", "cat", "/is") == "old"
    assert pyorch.run("lock", "--check").returncode == 1
    pyorch.write(f"name: locked\nservices: {{a: {{image: '{reference}2'}}}}\n")
    assert "stack.lock does not say which it is; run 'pyorch lock' again" in pyorch.run("up", "-d", "--locked").stderr


def test_the_fiftieth_container_of_an_image_costs_no_disk(pyorch: Pyorch, hub: Registry, tmp_path: Path) -> None:
    reference = hub.push(busybox_image(tmp_path, [tar_of({"big": b"x" * 5_000_000})]), "fifty:1")
    pyorch.up(f"name: fifty\nservices: {{a: {{image: '{reference}', scale: 2}}}}\n")
    rows = {row["Type"]: row for row in pyorch.lines("system", "df", "--format", "json")}
    pyorch.ok("up", "-d", "--wait", "--scale", "a=6")
    after = {row["Type"]: row for row in pyorch.lines("system", "df", "--format", "json")}
    assert after["Images"]["Size"] == rows["Images"]["Size"]
    assert after["Containers"]["Size"].endswith("kB")


def test_a_full_disk_in_the_middle_of_a_pull_is_said_and_the_store_is_whole(
    pyorch: Pyorch, hub: Registry, tmp_path: Path
) -> None:
    layout = busybox_image(tmp_path, [tar_of({"zeros": b"\0" * 90_000_000})])  # small to fetch, large to unpack
    reference = hub.push(layout, "large:1")
    small = hub.push(busybox_image(tmp_path / "small"), "small:1")
    os.makedirs(pyorch.root.images)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", pyorch.root.images], check=True)
    try:
        with open(Path(pyorch.root.images, "ballast"), "wb") as ballast:
            ballast.write(bytes(80_000_000))
        pyorch.ok("image", "pull", small)
        done = pyorch.run("image", "pull", reference)
        assert done.returncode == 1
        assert "no room left on the disk" in done.stderr
        assert [row["Tag"] for row in pyorch.lines("image", "ls", "-a", "--format", "json")] == ["1"]
        pyorch.up(f"name: still\nservices: {{a: {{image: '{small}'}}}}\n")
        pyorch.ok("down", "-t", "0")
        os.unlink(Path(pyorch.root.images, "ballast"))
        pyorch.ok("image", "prune", "-f")
        pyorch.ok("image", "pull", reference)
    finally:
        pyorch.run("agent", "stop", "--all")
        subprocess.run(["umount", pyorch.root.images], check=True)
