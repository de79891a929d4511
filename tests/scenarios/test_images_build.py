"""Dockerfiles become images, on our own runtime: what is built, what is not built again, what others make of it."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.registry import busybox_image, needs_registry, registry
from tests.scenarios.conftest import Pyorch

pytestmark = needs_registry


class Builds:
    """A stack `b` of one service `a` that is built from ./ctx; FROM base is busybox."""

    def __init__(self, pyorch: Pyorch) -> None:
        self.pyorch = pyorch
        self.context = pyorch.directory / "ctx"
        self.context.mkdir()

    def write(self, dockerfile: str, keys: str = "") -> None:
        base = f"oci:{self.pyorch.directory}/base"
        (self.context / "Dockerfile").write_text(dockerfile.replace("FROM base", f"FROM {base}"))
        self.pyorch.write(f"name: b\nservices:\n  a:\n    build: {{context: ./ctx{', ' if keys else ''}{keys}}}\n")

    def __call__(self, dockerfile: str, keys: str = "", *flags: str) -> str:
        """What was said about it."""
        self.write(dockerfile, keys)
        done = self.pyorch.run("build", "--progress", "plain", *flags)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def fails(self, dockerfile: str, keys: str = "") -> str:
        self.write(dockerfile, keys)
        done = self.pyorch.run("build", "--progress", "plain")
        assert done.returncode != 0, done.stderr
        return done.stderr

    def inside(self, script: str) -> str:
        """What a container of it says."""
        self.pyorch.write(
            "name: b\nservices: {a: {image: b-a, entrypoint: [/bin/sleep], command: ['1000']}}\n", "run.yaml"
        )
        self.pyorch.ok("up", "-d", "run.yaml")
        return self.pyorch.ok("-f", "run.yaml", "exec", "-T", "a", "/bin/sh", "-c", script)

    def config(self) -> dict[str, object]:
        (found,) = json.loads(self.pyorch.ok("image", "inspect", "b-a"))
        return dict(found["Config"])


@pytest.fixture
def build(pyorch: Pyorch) -> Builds:
    busybox_image(pyorch.directory / "base")
    return Builds(pyorch)


def test_a_dockerfile_of_many_stages_is_built_and_others_read_it(build: Builds, tmp_path: Path) -> None:
    (build.context / "src").mkdir()
    (build.context / "src/main").write_text("main")
    (build.context / "src/secret.key").write_text("hidden")
    (build.context / ".dockerignore").write_text("**/*.key\n")
    said = build(
        "ARG NAME=unset\nFROM base AS tools\nRUN echo tool > /tool && mkdir /many && touch /many/1 /many/2\n"
        "FROM base AS never\nRUN false\n"
        "FROM base\nARG NAME\nENV GREETING=hi-$NAME\nWORKDIR /app\nCOPY --chown=web:web src ./\n"
        "COPY --from=tools --chmod=0700 /tool /many /opt/\nCOPY <<end /app/conf\nname=$NAME\nend\n"
        "RUN <<end\nid -u > who\nrm /bin/wget\nmkdir -m 1777 /w\nend\nUSER web\nRUN id -u >> /w/who2\n"
        'ENTRYPOINT ["/bin/sleep"]\nCMD ["1000"]\n',
        "args: {NAME: you}, labels: {made: here}, tags: ['b-a:second']",
    )
    assert "RUN false" not in said, "a stage that nothing needs is not built"
    script = "cat /app/main /app/conf /app/who /w/who2; echo $GREETING; ls /app /opt; ls -ln /app/main /opt/tool"
    told = build.inside(script)
    assert told.startswith("mainname=you\n0\n1000\nhi-you\n")
    assert "secret.key" not in told
    assert "/opt:\n1\n2\ntool\n" in told
    assert "-rwx------    1 0        0 " in told
    assert "1000     1000" in told
    assert build.inside("ls /bin/wget 2>&1 || true").startswith("ls: /bin/wget")
    assert build.config()["Labels"] == {"made": "here"}
    assert build.config()["Entrypoint"] == ["/bin/sleep"]
    build.pyorch.ok("image", "save", "-o", str(tmp_path / "out.tar"), "b-a:second")
    subprocess.run(["skopeo", "inspect", f"oci-archive:{tmp_path}/out.tar:docker.io/library/b-a:second"], check=True)
    if shutil.which("podman"):
        home = build.pyorch.directory  # a short path: podman asks for one
        podman = ["podman", "--root", f"{home}/p", "--runroot", f"{home}/r", "--storage-driver=vfs"]
        subprocess.run([*podman, "load", "-i", str(tmp_path / "out.tar")], check=True, capture_output=True)
        inspect = [*podman, "image", "inspect", "docker.io/library/b-a:second"]
        shown = subprocess.run(inspect, capture_output=True, check=True)
        assert json.loads(shown.stdout)[0]["Config"]["Entrypoint"] == ["/bin/sleep"]


def test_a_step_is_made_again_only_when_it_means_something_else(build: Builds) -> None:
    text = "FROM base\nARG V=1\nCOPY a b* /in/\nRUN cat /in/a > /out\nRUN echo later\n"
    (build.context / "a").write_text("1")
    (build.context / "b1").write_text("x")
    build(text)
    first = build.pyorch.ok("build", "-q")
    os.utime(build.context / "a", (1, 1))
    (build.context / "unread").write_text("y")
    assert build(text).count("CACHED") == 3, "times and files that nothing reads mean nothing"
    assert build.pyorch.ok("build", "-q") == first, "the same image, to the last bit"
    (build.context / "a").write_text("2")
    assert "CACHED" not in build(text)
    assert build.inside("cat /out") == "2"
    (build.context / "b2").write_text("one more that fits")
    assert "CACHED" not in build(text)
    assert build(text, "args: {V: 2}").count("CACHED") == 1, "an ARG is part of what RUN means, not of COPY"
    assert "CACHED" not in build(text, "", "--no-cache")


def test_a_step_that_reads_a_stage_depends_on_what_it_reads(build: Builds) -> None:
    text = "FROM base AS s\nCOPY a /a\nCOPY b /b\nFROM base\nCOPY --from=s /a /a\nRUN cat /a\n"
    for name in ("a", "b"):
        (build.context / name).write_text(name)
    build(text)
    (build.context / "b").write_text("other")
    said = build(text)
    assert "CACHED [s 2/2]" not in said
    assert "CACHED [stage-1 1/2] COPY --from=s /a /a" in said
    assert "CACHED [stage-1 2/2] RUN cat /a" in said


def test_mounts_of_a_step_are_there_and_leave_nothing_in_the_image(build: Builds) -> None:
    (build.context / "data").write_text("from-context")
    (build.pyorch.directory / "token").write_text("top-secret")
    text = (
        "FROM base\nRUN --mount=type=secret,id=token,mode=0440 --mount=type=cache,target=/cache"
        " --mount=type=bind,target=/ctx,rw --mount=type=tmpfs,target=/fast"
        " cat /run/secrets/token /ctx/data && ls -l /run/secrets/token && touch /ctx/mine /fast/x"
        " && echo $(cat /cache/count 2>/dev/null)x > /cache/count && cat /cache/count > /count\n"
    )
    build.write(text, "secrets: [token]")
    stack = build.pyorch.directory / "stack.yaml"
    stack.write_text(stack.read_text() + "secrets: {token: {file: ./token}}\n")
    for count in ("x", "xx"):
        said = build.pyorch.run("build", "--no-cache", "--progress", "plain").stderr
        assert "top-secretfrom-context" in said, said
        assert "-r--r-----" in said
        assert build.inside("cat /count; ls -d /ctx /fast /cache /run/secrets 2>/dev/null || true") == f"{count}\n"
    assert not (build.context / "mine").exists()
    layers = Path(build.pyorch.root.images, "layers")
    assert subprocess.run(["grep", "-rl", "top-secret", layers], capture_output=True, text=True).stdout == ""


def test_a_cache_may_begin_as_a_stage(build: Builds) -> None:
    text = (
        "FROM base AS seed\nRUN mkdir -p /s/in && echo seed > /s/in/f\nFROM base\n"
        "RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/in/f > /out && echo more > /c/in/f\n"
        "RUN --mount=type=cache,from=seed,source=/s,target=/c cat /c/in/f >> /out\n"
    )
    build(text)
    assert build.inside("cat /out") == "seed\nmore\n"
    assert "there is no '/none'" in build.fails(text.replace("source=/s", "source=/none"))


def test_steps_have_a_network_with_a_way_out_and_no_sight_of_the_hosts(build: Builds) -> None:
    said = build("FROM base\nRUN cat /proc/net/dev && cat /proc/net/route\nRUN --network=none cat /proc/net/dev\n")
    assert "eth0:" in said.split("--network=none")[0]
    assert "eth0:" not in said.split("--network=none")[1]
    bridges = [name for name in os.listdir("/sys/class/net") if name.startswith(f"po{build.pyorch.root.instance}")]
    assert bridges == [], "the network of builds goes with the last of them"


def test_add_unpacks_archives_and_fetches_only_what_it_can_verify(build: Builds) -> None:
    source = build.pyorch.directory / "tree"
    source.mkdir()
    (source / "file").write_text("packed")
    for name, flag in (("a.tar", ""), ("b.tar.gz", "z"), ("c.tar.xz", "J"), ("d.tar.bz2", "j")):
        subprocess.run(["tar", "-C", source, f"-c{flag}f", build.context / name, "file"], check=True)
    with Served(source) as url:
        digest = hashlib.sha256(b"packed").hexdigest()
        build(
            "FROM base\nADD a.tar /a\nADD b.tar.gz /b\nADD c.tar.xz /c/\nADD d.tar.bz2 /d\nCOPY a.tar /e/\n"
            f"ADD --checksum=sha256:{digest} {url}/file /f\n"
        )
        assert build.inside("cat /a/file /b/file /c/file /d/file /f; ls /e") == "packed" * 5 + "a.tar\n"
        said = build.fails(f"FROM base\nADD --checksum=sha256:{'0' * 64} {url}/file /f\n")
        assert f"has the digest sha256:{digest}, and --checksum says" in said


def test_what_an_archive_holds_keeps_its_owners(build: Builds) -> None:
    source = build.pyorch.directory / "tree"
    source.mkdir()
    (source / "file").write_text("x")
    os.chown(source / "file", 2510, 2516)
    (source / "file").chmod(0o640)
    subprocess.run(["tar", "-C", source, "-cf", build.context / "a.tar", "file"], check=True)
    build("FROM base\nRUN mkdir -p /w/file/in /v && touch /v/tree\nADD a.tar /w\nCOPY a.tar /v/\n")
    assert build.inside("cat /w/file") == "x", "a file of an archive takes the place of a directory"
    subprocess.run(["tar", "-C", source.parent, "-cf", build.context / "b.tar", "tree"], check=True)
    build("FROM base\nRUN mkdir /v && touch /v/tree\nADD b.tar /v\n")
    assert build.inside("cat /v/tree/file") == "x", "and a directory that of a file"
    build("FROM base\nADD a.tar /1\nADD --chown=7:8 --chmod=0777 a.tar /2/\nCOPY --chown=7:8 --chmod=0777 a.tar /3/\n")
    told = build.inside("stat -c '%u %g %a' /1/file /2/file /3/a.tar")
    assert told == "2510 2516 640\n" * 2 + "7 8 777\n"


class Served:
    """A directory over HTTP on loopback."""

    def __init__(self, directory: Path) -> None:
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return None

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *given: Quiet(*given, directory=str(directory))
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_a_stage_that_fails_ends_the_others(build: Builds) -> None:
    said = build.fails(
        "FROM base AS slow\nRUN sleep 987\nFROM base AS broken\nRUN exit 5\n"
        "FROM base\nCOPY --from=slow /bin/sh /1\nCOPY --from=broken /bin/sh /2\n"
    )
    assert "Dockerfile:4:1: RUN: the command ended with exit code 5" in said
    assert not sleepers()


def test_what_was_made_before_a_step_failed_is_not_made_again(build: Builds) -> None:
    text = "FROM base\nRUN busybox head -c 30000000 /dev/urandom > /large\nRUN false\n"
    build.fails(text)
    assert build(text.replace("RUN false", "RUN true")).count("CACHED") == 1
    rows = {row["Type"]: row["Size"] for row in build.pyorch.lines("system", "df", "--format", "json")}
    scale = {"B": 1, "kB": 1e3, "MB": 1e6}
    parts = [re.fullmatch(r"([\d.]+)(\w+)", rows[name]) for name in ("Images", "Build Cache")]
    shown = sum(float(part[1]) * scale[part[2]] for part in parts if part)
    du = subprocess.run(["du", "-s", "--block-size=1", build.pyorch.root.images], capture_output=True, text=True)
    assert abs(int(du.stdout.split()[0]) - shown) < 500_000, "what is shown is what the disk has"


def test_forms_that_people_write(build: Builds) -> None:
    (build.context / "sub").mkdir()
    (build.context / "sub/file").write_text("f")
    (build.context / "sub/link").symlink_to("file")
    (build.context / "top").symlink_to("sub/file")
    (build.context / ".dockerignore").write_text("Dockerfile*\n")
    build(
        "ARG TAG=x\nFROM base AS first\nARG KEPT=kept\nENV who=web dir=/data port=80\n"
        "FROM first\nRUN echo $KEPT$TAG > /arguments\nUSER $who\nUSER root\nWORKDIR $dir/in\nVOLUME $dir\nEXPOSE $port\n"
        "COPY . .\nCOPY top /followed\nCOPY sub/f* /one\nENV OLD style of writing\n"
        "RUN <<script\n#!/bin/sh\necho from a script > /script\nscript\n"
        "RUN cat <<doc > /doc\n$OLD\ndoc\n"
        'RUN ["/bin/sh", "-c", "echo exec > /exec"]\n'
        'CMD ["/bin/sleep", "1000"]\n'
    )
    script = "ls -l sub; cat /followed /one /script /doc /exec /arguments; ls"
    told = build.inside(f"cd /data/in && {script}")
    assert "link -> file" in told
    assert "fffrom a script\nstyle of writing\nexec\nkept\n" in told
    assert told.endswith("sub\ntop\n")
    assert build.config()["ExposedPorts"] == {"80/tcp": {}}


def test_what_is_copied_follows_the_links_of_the_root(build: Builds) -> None:
    (build.context / "f").write_text("f")
    build(
        "FROM base\nRUN mkdir /deep && busybox ln -s /made/later /one && busybox ln -s ../up /deep/two"
        " && busybox ln -s /three /three\nCOPY f /one/\nCOPY f /deep/two/x/\nADD f /deep/two/..\nWORKDIR /one/w\n"
    )
    assert build.inside("cat /made/later/f /up/x/f /deep/f; ls -d /made/later/w") == "fff/made/later/w\n"
    build("FROM base\nUSER nobody-here\nWORKDIR /tmp\n")
    assert "there is no user 'nobody-here'" in build.fails("FROM base\nUSER nobody-here\nWORKDIR /new\n")
    said = build.fails("FROM base\nRUN busybox ln -s /three /three\nCOPY f /three/\n")
    assert "COPY: " in said
    assert "/three" in said


def test_patterns_mean_what_is_there(build: Builds) -> None:
    for name in ("package.json", "a.txt", "b.txt"):
        (build.context / name).write_text(name)
    build("FROM base\nCOPY package.json yarn.lock* /app/\nCOPY *.txt /texts\nCOPY *.none /nothing/\nCOPY a.tx? /one\n")
    assert build.inside("cat /one; cd /; ls app texts; ls -d nothing || true") == (
        "a.txtapp:\npackage.json\n\ntexts:\na.txt\nb.txt\n"
    )


def test_of_an_ignored_directory_is_seen_what_is_brought_back(build: Builds) -> None:
    for name in ("kept/in/a", "kept/b", "gone/c"):
        (build.context / name).parent.mkdir(parents=True, exist_ok=True)
        (build.context / name).touch()
    (build.context / "kept/in").chmod(0o750)
    (build.context / ".dockerignore").write_text("**\n!kept/in/a\n")
    build("FROM base\nCOPY . /all\nCOPY k?pt g* /some/\n")
    assert build.inside("cd all; find . -type f; cd /some; find . -type f; stat -c %a /all/kept/in") == (
        "./kept/in/a\n./in/a\n750\n"
    )
    assert "there is no 'gone': .dockerignore hides it" in build.fails("FROM base\nCOPY gone /gone\n")


def test_a_root_from_nothing(build: Builds) -> None:
    source = build.pyorch.directory / "rootfs"
    (source / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "", source / "bin/busybox")
    for name in ("sh", "cat", "sleep"):
        (source / "bin" / name).symlink_to("busybox")
    subprocess.run(["tar", "-C", source, "-czf", build.context / "rootfs.tar.gz", "."], check=True)
    build('FROM scratch\nADD rootfs.tar.gz /\nRUN echo alive > /alive\nCMD ["sh"]\n')
    assert build.inside("cat /alive") == "alive\n"


def test_onbuild_of_a_base_is_carried_out_by_who_builds_from_it(build: Builds) -> None:
    (build.context / "src").write_text("mine")
    base = f"oci:{build.pyorch.directory}/base"
    build.pyorch.write(
        "name: b\nservices:\n"
        f'  base: {{build: {{context: ./ctx, dockerfile_inline: "FROM {base}\\nONBUILD COPY src /src\\n"}}}}\n'
        '  a: {build: {context: ./ctx, dockerfile_inline: "FROM b-base\\nRUN cat /src > /out\\n"}}\n'
    )
    build.pyorch.ok("build", "base")
    build.pyorch.ok("build", "a")
    assert build.inside("cat /out") == "mine"


def test_up_builds_what_is_missing_and_with_build_what_has_changed(build: Builds) -> None:
    build.write('FROM base\nCOPY is /\nCMD ["/bin/sleep", "1000"]\n')
    (build.context / "is").write_text("1")
    build.pyorch.ok("up", "-d", "--wait")
    (build.context / "is").write_text("2")
    build.pyorch.ok("up", "-d")
    assert build.pyorch.ok("exec", "-T", "a", "cat", "/is") == "1"
    told = build.pyorch.run("up", "-d", "--build").stderr
    assert "image.digest changed" in told
    assert build.pyorch.ok("exec", "-T", "a", "cat", "/is") == "2"
    build.write("FROM base\nRUN exit 7\n")
    done = build.pyorch.run("up", "-d", "--build")
    assert done.returncode == 1
    assert "the command ended with exit code 7" in done.stderr
    assert build.pyorch.ok("exec", "-T", "a", "cat", "/is") == "2", "what runs goes on"


@pytest.mark.parametrize(
    ("dockerfile", "keys", "why"),
    [
        ("FROM base\nCOPY none /\n", "", "Dockerfile:2:1: COPY: there is no 'none'"),
        ("FROM base\nCOPY ../../etc/passwd /x\n", "", "there is no '../../etc/passwd'"),
        ("FROM base\nCOPY link /x\n", "", "there is no 'link'"),
        ("FROM base\nRUN true\nEXPOSE x\n", "", "Dockerfile:3:8: EXPOSE: expected a port"),
        ("FROM base\nCOPY a b /one\n", "", "several files cannot become the one file"),
        ("FROM base\nCOPY --chown=nobody-here a /\n", "", "there is no user 'nobody-here'"),
        ("FROM base\nRUN no-such-program\n", "", "exit code 127"),
        ('FROM base\nRUN ["no-such-program"]\n', "", "command 'no-such-program' not found in the image"),
        ("FROM base AS x\n", "target: y", "there is no stage 'y'; there are x"),
        ("FROM 127.0.0.1:1/none\n", "", "cannot pull image '127.0.0.1:1/none'"),
        ("FROM base\n", "dockerfile: None", "there is no"),
    ],
)
def test_what_cannot_be_built_is_said_with_its_place(build: Builds, dockerfile: str, keys: str, why: str) -> None:
    (build.context / "a").write_text("a")
    (build.context / "b").write_text("b")
    (build.context / "link").symlink_to("/etc/no-such-file-in-a-context")
    assert why in build.fails(dockerfile, keys)
    names = {row["Repository"] for row in build.pyorch.lines("image", "ls", "-a", "--format", "json")}
    assert "b-a" not in names


def test_a_build_that_is_killed_leaves_no_process_and_no_image(build: Builds) -> None:
    build.write("FROM base\nRUN echo begun && sleep 987\n")
    command = build.pyorch.command("build", "--progress", "plain")
    with subprocess.Popen(
        command, env=build.pyorch.environment, cwd=build.pyorch.directory, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr
        while "| begun" not in running.stderr.readline():
            pass
        os.kill(build.pyorch.status()["agent"]["pid"], signal.SIGKILL)
        running.communicate()
    build.pyorch.until(lambda: not sleepers())
    build.pyorch.ok("agent", "start")
    rows = build.pyorch.lines("image", "ls", "-a", "--format", "json")
    assert [row for row in rows if row["Repository"] == "b-a"] == []
    build("FROM base\nRUN true\n")
    ingest = os.listdir(Path(build.pyorch.root.images, "ingest"))
    assert [name for name in ingest if not name.endswith(".part")] == []


def sleepers() -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = Path("/proc", pid, "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if command.startswith(b"sleep\x00987\x00"):
            found.append(pid)
    return found


def test_what_was_built_is_pushed_and_its_cache_can_be_given_back(build: Builds, tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as hub:
        build.write("FROM base\nRUN echo x > /x\n")
        stack = build.pyorch.directory / "stack.yaml"
        stack.write_text(stack.read_text() + f"    image: {hub.host}/built:1\n")
        build.pyorch.ok("build", "--push")
        inspect = ["skopeo", "inspect", "--tls-verify=false", f"docker://{hub.host}/built:1"]
        assert b"GREETING=hello" in subprocess.run(inspect, capture_output=True, check=True).stdout
    build.pyorch.ok("image", "prune", "-af")
    rows = {row["Type"]: row for row in build.pyorch.lines("system", "df", "--format", "json")}
    assert (rows["Images"]["Size"], rows["Build Cache"]["Size"]) == ("0B", "0B")
