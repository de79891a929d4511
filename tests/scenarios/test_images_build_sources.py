"""What a build reads and from where: repositories, named contexts, other services' images, caches of other machines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.registry import busybox_image, needs_registry, registry
from tests.scenarios.conftest import Pyorch
from tests.scenarios.test_images_build import Builds

pytestmark = needs_registry


@pytest.fixture
def build(pyorch: Pyorch) -> Builds:
    busybox_image(pyorch.directory / "base")
    return Builds(pyorch)


def commit(directory: Path, files: dict[str, str]) -> str:
    """A repository's new commit with these files in it."""
    git = ["git", "-C", str(directory), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    if not (directory / ".git").exists():
        directory.mkdir()
        subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_a_repository_is_a_context_and_nothing_in_it_runs(build: Builds, tmp_path: Path) -> None:
    base = f"oci:{build.pyorch.directory}/base"
    source = tmp_path / "repo"
    first = commit(source, {"app/Dockerfile": f"FROM {base}\nCOPY word /word\n", "app/word": "one"})
    (source / ".git/hooks/post-checkout").write_text("#!/bin/sh\ntouch /tmp/a-hook-ran\n")
    (source / "app/out").symlink_to("/etc")
    commit(source, {"app/word": "two"})

    def told(context: str) -> str:
        build.pyorch.write(f"name: b\nservices: {{a: {{build: {{context: '{context}'}}}}}}\n")
        done = build.pyorch.run("build")
        return done.stderr if done.returncode else build.inside("cat /word")

    assert told(f"file://{source}#main:app") == "two"
    assert told(f"file://{source}#{first}:app") == "one"
    assert "it has no nobranch" in told(f"file://{source}#nobranch:app")
    assert "has no directory 'none'" in told(f"file://{source}#main:none")
    assert "has no directory 'app/out'" in told(f"file://{source}#main:app/out")
    assert "is not fetched" in told("https://example.org/context.tar.gz")
    ingest = Path(build.pyorch.root.images, "ingest")
    assert [path.name for path in ingest.iterdir() if not path.name.endswith(".part")] == []


def test_add_of_a_repository_is_known_by_its_commit(build: Builds, tmp_path: Path) -> None:
    source = tmp_path / "lib.git"
    first = commit(source, {"sub/a": "1", "b": "2"})
    text = f"FROM base\nADD file://{source}#main /lib\nADD --checksum={first[:12]} file://{source}#main:sub /sub/\n"
    build(text)
    assert build.inside("cat /lib/sub/a /lib/b /sub/a; ls -A /lib") == "121b\nsub\n"
    assert build(text).count("CACHED") == 2
    second = commit(source, {"b": "3"})
    said = build.fails(text)
    assert f"is at commit {second}, and --checksum says {first[:12]}" in said
    assert "Dockerfile:3:1: ADD" in said


def test_named_contexts_are_directories_images_layouts_repositories_and_other_services(
    build: Builds, tmp_path: Path
) -> None:
    base = f"oci:{build.pyorch.directory}/base"
    commit(tmp_path / "repo", {"from": "repository"})
    extra = build.pyorch.directory / "extra"
    extra.mkdir()
    (extra / "from").write_text("directory")
    (build.context / "Dockerfile").write_text(
        "FROM docker.io/library/alpine\nCOPY --from=docker.io/library/dir:latest from /1\nCOPY --from=repo from /2\nCOPY --from=other /from /3\n"
        "COPY --from=image /bin/sh /4\nRUN --mount=type=bind,from=dir,target=/m cat /m/from > /5\n"
    )
    build.pyorch.write(
        "name: b\nservices:\n"
        "  a:\n    build:\n      context: ./ctx\n      additional_contexts:\n"
        f"        dir: ./extra\n        repo: 'file://{tmp_path}/repo'\n        other: service:other\n"
        f"        'alpine:latest': oci-layout://./base\n        image: 'docker-image://{base}'\n"
        "  other:\n    image: made/other:2\n"
        f'    build: {{context: ., dockerfile_inline: "FROM {base}\\nRUN sleep 1; printf service > /from\\n"}}\n'
    )
    done = build.pyorch.run("build", "a")
    assert done.returncode == 0, done.stderr
    assert build.inside("cat /1 /2 /3 /5") == "directoryrepositoryservicedirectory"
    twice = "additional_contexts: {alpine: ., 'docker.io/library/alpine': ..}"
    assert "has 'alpine' and 'docker.io/library/alpine', which are one name" in build.fails("FROM alpine\n", twice)


def test_parents_symbolic_modes_and_exclusions(build: Builds) -> None:
    for name in ("x/a.txt", "x/deep/er/b.txt", "x/deep/c.md", "y/d.txt"):
        (build.context / name).parent.mkdir(parents=True, exist_ok=True)
        (build.context / name).write_text(name)
    (build.context / "x/deep").chmod(0o750)
    build(
        "FROM base\nCOPY --parents x/a.txt y /p1/\nCOPY --parents ./x/**/*.txt /p2/\nCOPY --parents x/./deep /p3/\n"
        "COPY --exclude=*.md --exclude=deep/er x /p4/\nCOPY --chmod=go=,u+x x /p5/\nCOPY --chmod=0600 x /p6/\nCOPY x/deep /p7\n"
    )
    told = build.inside(
        "cd /; find p1 p2 p3 p4 -type f | sort; stat -c '%a %n' p2/x/deep p5/deep p5/a.txt p6/a.txt p6/deep p7 p7/er"
    )
    assert told.split("\n")[:-1] == [
        "p1/x/a.txt", "p1/y/d.txt", "p2/x/a.txt", "p2/x/deep/er/b.txt", "p3/deep/c.md", "p3/deep/er/b.txt",
        "p4/a.txt", "p4/deep/c.md",
        "750 p2/x/deep", "700 p5/deep", "700 p5/a.txt", "600 p6/a.txt", "600 p6/deep", "755 p7", "755 p7/er",
    ]  # fmt: skip


def test_the_network_of_the_host_is_for_whom_the_stack_allows_it(build: Builds) -> None:
    mine = Path("/proc/self/ns/net").readlink()
    text = "FROM base\nRUN --network=host readlink /proc/self/ns/net\nRUN readlink /proc/self/ns/net\n"
    assert "entitlements: [network.host]" in build.fails(text)
    said = build(text, "entitlements: [network.host]")
    assert said.count(str(mine)) == 1
    said = build("FROM base\nRUN echo all; readlink /proc/self/ns/net\n", "network: host")
    assert str(mine) in said


def test_a_cache_travels_to_another_machine(build: Builds, tmp_path: Path) -> None:
    text = "FROM base AS tools\nRUN echo t > /t\nFROM base\nCOPY word /word\nCOPY --from=tools /t /t\nRUN cat /word /t > /out\n"
    (build.context / "word").write_text("w")

    def empty() -> None:
        build.pyorch.ok("image", "rm", "-f", "b-a")
        build.pyorch.ok("image", "prune", "-af")
        assert "CACHED" not in build(text, "no_cache: true"), "nothing is left of it"
        build.pyorch.ok("image", "rm", "-f", "b-a")
        build.pyorch.ok("image", "prune", "-af")

    with registry(tmp_path / "registry") as hub:
        ref = f"{hub.host}/cache:1"
        build(text, f"cache_to: ['type=registry,ref={ref},mode=max', 'type=local,dest={tmp_path}/local']")
        empty()
        assert build(text, f"cache_from: ['{ref}']").count("CACHED") == 4, "of every stage"
        empty()
        said = build(text, f"cache_from: ['type=local,src={tmp_path}/local']")
        assert said.count("CACHED") == 3, "of the stages that the image is made of"
        assert build.inside("cat /out") == "wt\n"
        build.pyorch.ok("down")
        inspect = ["skopeo", "inspect", "--tls-verify=false", f"docker://{ref}"]
        subprocess.run(inspect, check=True, capture_output=True)
        build.write(text, "cache_to: [type=inline]")
        stack = build.pyorch.directory / "stack.yaml"
        stack.write_text(stack.read_text() + f"    image: {hub.host}/whole:1\n")
        build.pyorch.ok("build", "--push")
        build.pyorch.ok("image", "rm", "-f", f"{hub.host}/whole:1")
        empty()
        assert build(text, f"cache_from: ['{hub.host}/whole:1']").count("CACHED") == 3
    base = f"oci:{build.pyorch.directory}/base"
    said = build(text, f"cache_from: ['127.0.0.1:1/none:1', '{base}'], no_cache: false")
    assert "it gives nothing: another builder made it" in said
    assert "cannot pull image '127.0.0.1:1/none:1'" in said, "and the build goes on"
