"""Stacks that follow files and git repositories: real editors' habits, real git over file, http and ssh."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.conftest import Pyorch

SERVICE = "{image: 'host:/', command: [sh, -c, 'exec sleep 1000'], init: true%s}"
ENVIRONMENT = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ann",
    "GIT_AUTHOR_EMAIL": "ann@example.org",
    "GIT_COMMITTER_NAME": "Ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org",
}


class Repository:
    """A repository that somebody else writes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.git("init", "--quiet", "--initial-branch=main", ".")

    def git(self, *words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=self.directory, env=ENVIRONMENT, check=True, capture_output=True, text=True
        ).stdout.strip()

    def commit(self, text: str | None, name: str = "stack.yaml", *options: str) -> str:
        """The commit after `name` became `text` (None: was removed)."""
        file = self.directory / name
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", f"{name} changed", *options)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def stack(value: object = 1) -> str:
    more = f', environment: {{V: "{value}"}}'
    return f"name: synced\nservices:\n  a: {SERVICE % more}\n"


def value(pyorch: Pyorch) -> str:
    """V as the running container has it; "" while there is none."""
    done = pyorch.run("-p", "synced", "exec", "-T", "a", "sh", "-c", "echo $V")
    return done.stdout.strip() if done.returncode == 0 else ""


def status(pyorch: Pyorch, name: str = "s") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pyorch.run("sync", "status", name, "--format", "json").stdout)
    return found


def follow(pyorch: Pyorch, repository: str | Path, *options: str) -> None:
    pyorch.ok("sync", "add", "s", "--repo", str(repository), "--interval", "1h", "--settle", "0.3s", *options)


def synced(pyorch: Pyorch, commit: str) -> dict[str, Any]:
    """Until this commit is up and well."""

    def fact() -> dict[str, Any] | None:
        now = status(pyorch)
        return now if (now["sync"], now["health"], now["live"]) == ("Synced", "Healthy", commit) else None

    found: dict[str, Any] = pyorch.until(fact)
    return found


# files


def test_a_saved_file_is_applied_however_the_editor_saves_it(pyorch: Pyorch) -> None:
    (pyorch.directory / "v1").mkdir()
    (pyorch.directory / "v1" / "a.env").write_text("V=0\n")
    (pyorch.directory / "current").symlink_to("v1")
    file = pyorch.write(f"name: synced\nservices:\n  a: {SERVICE % ', env_file: [current/a.env]'}\n")
    pyorch.ok("up", "-d", "--wait", "--watch", "stack.yaml")
    assert value(pyorch) == "0"

    (pyorch.directory / "v1" / "a.env").write_text("V=1\n")  # in place
    pyorch.until(lambda: value(pyorch) == "1")
    beside = pyorch.directory / "beside"
    beside.write_text("V=2\n")
    beside.rename(pyorch.directory / "v1" / "a.env")  # by rename
    pyorch.until(lambda: value(pyorch) == "2")
    shutil.copytree(pyorch.directory / "v1", pyorch.directory / "v2")
    (pyorch.directory / "v2" / "a.env").write_text("V=3\n")
    (pyorch.directory / "next").symlink_to("v2")
    (pyorch.directory / "next").rename(pyorch.directory / "current")  # a link that is switched
    pyorch.until(lambda: value(pyorch) == "3")

    good = file.read_text()
    file.write_text("services: [")
    pyorch.until(lambda: "cannot apply the changed file" in pyorch.ok("events", "--no-follow"))
    assert value(pyorch) == "3", "a file that cannot be read changes nothing"
    os.kill(pyorch.status()["pid"], signal.SIGKILL)
    file.write_text(good.replace("current/a.env", "v1/a.env"))  # while nobody looks
    pyorch.ok("agent", "start")
    pyorch.until(lambda: value(pyorch) == "2")

    pyorch.ok("down")
    file.write_text(good)
    assert not list(Path(pyorch.root.state, "watched").glob("*.json")), "down ends it"


# git


def test_what_is_committed_runs_and_a_webhook_shortens_the_wait(pyorch: Pyorch, repository: Repository) -> None:
    one = repository.commit(stack(1))
    (pyorch.directory / "secret").write_text("sesame\n")
    port = free_port()
    follow(pyorch, repository.directory, "--webhook", f"127.0.0.1:{port}", "--secret-file", "secret")
    assert synced(pyorch, one)["headline"].endswith("stack.yaml changed")
    assert value(pyorch) == "1"

    two = repository.commit(stack(2))
    assert announce(port, "s", "wrong") == 403
    assert announce(port, "t", "sesame") == 403
    assert status(pyorch)["head"] == one
    assert announce(port, "s", "sesame") == 202
    synced(pyorch, two)
    assert value(pyorch) == "2"
    assert "sync s " + two[:8] in pyorch.ok("-p", "synced", "history")

    os.kill(pyorch.status()["pid"], signal.SIGKILL)
    pyorch.ok("agent", "start")
    assert status(pyorch)["live"] == two, "what is known of a source outlives the agent"
    three = repository.commit(stack(3))
    assert announce(port, "s", "sesame") == 202
    synced(pyorch, three)


def test_each_event_names_its_cause_back_to_the_commit_also_over_the_agents_death(
    pyorch: Pyorch, repository: Repository
) -> None:
    repository.commit(stack(1))
    follow(pyorch, repository.directory)
    synced(pyorch, repository.git("rev-parse", "HEAD"))
    os.kill(pyorch.status()["pid"], signal.SIGKILL)
    pyorch.ok("agent", "start")
    pid = pyorch.pid("synced-a-1")
    os.kill(pid, signal.SIGKILL)
    recorded = lambda: pyorch.lines("-p", "synced", "events", "--json", "--no-follow", "--since", "0")  # noqa: E731
    pyorch.until(lambda: any(event["action"] == "drift" for event in recorded()))
    pyorch.ok("-p", "synced", "start")
    events = {event["number"]: event for event in recorded()}

    def chain(event: dict[str, Any]) -> list[str]:
        return [event["action"], *(chain(events[event["cause"]]) if event["cause"] else [])]

    starts = [event for event in events.values() if event["action"] == "start" and event["subject"] == "synced-a-1"]
    assert chain(starts[0]) == ["start", "apply", "sync", "fetch"]
    assert chain(starts[1]) == ["start", "start"]  # which its user asked for, after
    assert chain(next(event for event in events.values() if event["action"] == "gave_up")) == ["gave_up", "drift"]
    assert chain(next(event for event in events.values() if event["action"] == "synced")) == ["synced", "sync", "fetch"]


def test_a_bad_commit_is_set_aside_and_the_last_good_one_kept(pyorch: Pyorch, repository: Repository) -> None:
    good = repository.commit(stack(1))
    follow(pyorch, repository.directory, "--attempts", "1", "--settle", "3s")
    synced(pyorch, good)
    bad = repository.commit(stack(2).replace("exec sleep 1000", "exit 3"))
    pyorch.ok("sync", "now", "s")
    pyorch.until(lambda: bad in status(pyorch)["quarantined"] and value(pyorch) == "1")
    assert status(pyorch)["sync"] == "OutOfSync"
    assert "last good" not in status(pyorch)["why"] and f"{good[:8]} is kept" in status(pyorch)["why"]
    better = repository.commit(stack(3))
    pyorch.ok("sync", "now", "s")
    synced(pyorch, better)


def test_a_stack_file_that_cannot_be_read_changes_nothing(pyorch: Pyorch, repository: Repository) -> None:
    good = repository.commit(stack(1))
    follow(pyorch, repository.directory, "--attempts", "1")
    synced(pyorch, good)
    repository.commit("services: {a: {imag: x}}\n")
    pyorch.ok("sync", "now", "s")
    pyorch.until(lambda: "did you mean" in json.dumps(events(pyorch)))
    assert value(pyorch) == "1"


def test_prune_takes_away_only_what_was_meant_to_go(pyorch: Pyorch, repository: Repository) -> None:
    more = "".join(f"  {name}: {SERVICE % ''}\n" for name in "bc")
    repository.commit(stack(1) + more)
    follow(pyorch, repository.directory, "--prune")
    synced(pyorch, repository.git("rev-parse", "HEAD"))
    less = repository.commit(stack(1) + f"  b: {SERVICE % ''}\n")
    pyorch.ok("sync", "now", "s")
    synced(pyorch, less)
    assert set(names(pyorch)) == {"synced-a-1", "synced-b-1"}
    repository.commit(f"name: synced\nservices:\n  z: {SERVICE % ''}\n")
    pyorch.ok("sync", "now", "s")
    pyorch.until(lambda: "would remove 2 of 2 services" in status(pyorch)["why"])
    assert set(names(pyorch)) == {"synced-a-1", "synced-b-1"}
    pyorch.ok("sync", "now", "s", "--allow-removal")
    pyorch.until(lambda: set(names(pyorch)) == {"synced-z-1"})


def test_directories_are_stacks_and_removing_one_is_pruning(pyorch: Pyorch, repository: Repository) -> None:
    for name in ("one", "two", "three"):
        repository.commit(stack(1).replace("synced", name), f"stacks/{name}/stack.yaml")
    follow(pyorch, repository.directory, "--path", "stacks/*/stack.yaml", "--prune")
    found = synced(pyorch, repository.git("rev-parse", "HEAD"))
    assert [one["name"] for one in found["stacks"]] == ["one", "three", "two"]
    commit = repository.commit(None, "stacks/two/stack.yaml")
    pyorch.ok("sync", "now", "s")
    found = synced(pyorch, commit)
    assert [one["name"] for one in found["stacks"]] == ["one", "three"]


def test_a_repository_may_ask_only_for_what_its_owner_allows(pyorch: Pyorch, repository: Repository) -> None:
    (pyorch.directory / "data").mkdir()
    data = pyorch.directory / "data"
    greedy = (
        "name: synced\nservices:\n  a:\n    image: 'host:/'\n    command: sleep 1000\n    init: true\n"
        f"    cap_add: [NET_ADMIN]\n    ports: ['80:80']\n    volumes: ['{data}:/data', './here:/here']\n"
    )
    repository.commit("x", "here/x")
    repository.commit(greedy)
    follow(pyorch, repository.directory, "--attempts", "1")
    pyorch.until(lambda: status(pyorch)["attempts"])
    why = json.dumps(events(pyorch))
    for word in (f"--allow path={data}", "--allow port=80", "cap_add NET_ADMIN: allow it with --allow privileged"):
        assert word in why
    assert "here" not in why.replace("there", "") and not names(pyorch)
    allow = ("--allow", f"path={data}", "--allow", "port=80", "--allow", "privileged")
    follow(pyorch, repository.directory, *allow)
    synced(pyorch, repository.git("rev-parse", "HEAD"))


@pytest.mark.parametrize("trick", ["link", "dots", "env"])
def test_a_checkout_does_not_lead_to_the_files_of_this_machine(
    pyorch: Pyorch, repository: Repository, tmp_path: Path, trick: str
) -> None:
    (tmp_path / "private.yaml").write_text("TOKEN=hidden\nservices: [hidden\n")
    match trick:
        case "link":
            (repository.directory / "stack.yaml").symlink_to(tmp_path / "private.yaml")
            repository.git("add", "--all")
            repository.git("commit", "--quiet", "--message", "link")
        case "dots":
            repository.commit(stack(1) + "    extends: {file: ../../../../private.yaml, service: a}\n")
        case "env":
            repository.commit(f"name: synced\nservices:\n  a: {SERVICE % f', env_file: [{tmp_path}/private.yaml]'}\n")
    follow(pyorch, repository.directory, "--attempts", "1")
    pyorch.until(lambda: status(pyorch)["attempts"])
    assert "hidden" not in json.dumps([status(pyorch), events(pyorch)])
    assert not names(pyorch)


def test_nothing_that_lies_in_a_repository_runs(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    hooks = repository.directory / ".git" / "hooks"
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "post-upload-pack"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch {proof}\n")
        (hooks / hook).chmod(0o755)
    repository.git("config", "uploadpack.packObjectsHook", str(hooks / "post-checkout"))
    repository.git("config", "core.fsmonitor", str(hooks / "post-checkout"))
    repository.commit(f'[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch {proof}"\n', ".gitmodules")
    repository.commit("* filter=evil\n", ".gitattributes")
    commit = repository.commit(stack(1))
    proof.unlink(missing_ok=True)  # its writer's own git runs its hooks
    follow(pyorch, repository.directory)
    synced(pyorch, commit)
    assert not proof.exists()
    bad = "ext::sh -c touch% " + str(proof)
    done = pyorch.run("sync", "add", "t", "--repo", bad)
    assert done.returncode == 2 and "expected a path or an address" in done.stderr
    assert not proof.exists()


def test_only_signed_commits_where_that_is_asked_for(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    for name in ("ann", "eve"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    (tmp_path / "signers").write_text(f"ann@example.org {(tmp_path / 'ann.pub').read_text()}")
    repository.git("config", "gpg.format", "ssh")
    repository.git("config", "user.signingKey", str(tmp_path / "ann"))
    signed = repository.commit(stack(1), "stack.yaml", "-S")
    follow(pyorch, repository.directory, "--verify", "ssh", "--keys", str(tmp_path / "signers"))
    synced(pyorch, signed)
    for key in ("eve", None):
        if key:
            repository.git("config", "user.signingKey", str(tmp_path / key))
        repository.commit(stack(2), "stack.yaml", *(["-S"] if key else []))
        pyorch.ok("sync", "now", "s")
        pyorch.until(lambda: "bears no valid signature" in status(pyorch)["why"])
        assert value(pyorch) == "1"


def test_secrets_are_opened_in_memory(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    key = subprocess.run(["age-keygen", "-o", str(tmp_path / "key")], check=True, capture_output=True, text=True)
    recipient = key.stderr.strip().rpartition(" ")[2]
    sealed = subprocess.run(["age", "-a", "-r", recipient], input=b"V=sealed\n", capture_output=True, check=True).stdout
    repository.commit(sealed.decode(), "a.env")
    commit = repository.commit(f"name: synced\nservices:\n  a: {SERVICE % ', env_file: [a.env]'}\n")
    follow(pyorch, repository.directory, "--attempts", "1")
    pyorch.until(lambda: "without --age-key" in json.dumps(events(pyorch)))
    follow(pyorch, repository.directory, "--age-key", str(tmp_path / "key"))
    synced(pyorch, commit)
    assert value(pyorch) == "sealed"
    assert b"sealed\n" not in (Path(pyorch.root.state) / "sources" / "s" / "tree" / "a.env").read_bytes()


def test_suspend_ends_by_itself_and_down_by_hand_does_not_last(pyorch: Pyorch, repository: Repository) -> None:
    one = repository.commit(stack(1))
    follow(pyorch, repository.directory)
    synced(pyorch, one)
    pyorch.ok("sync", "suspend", "s", "--for", "1s", "--reason", "lunch")
    two = repository.commit(stack(2))
    assert status(pyorch)["sync"] == "Suspended" and status(pyorch)["why"].startswith("lunch for")
    pyorch.until(lambda: status(pyorch)["sync"] == "Synced")
    pyorch.ok("sync", "now", "s")
    synced(pyorch, two)
    pyorch.ok("-p", "synced", "down")
    assert status(pyorch)["health"] == "Missing"
    pyorch.ok("sync", "resume", "s")
    synced(pyorch, two)
    assert "taken down by hand" in json.dumps(events(pyorch))
    assert "what runs goes on: synced" in pyorch.ok("sync", "rm", "s")
    assert value(pyorch) == "2"


@pytest.mark.parametrize(("ref", "wanted"), [("v1.0.0", "1"), ("semver:^1", "2"), ("side", "4"), ("HEAD", "3")])
def test_refs(pyorch: Pyorch, repository: Repository, ref: str, wanted: str) -> None:
    repository.commit(stack(1))
    repository.git("tag", "--annotate", "--message", "one", "v1.0.0")
    repository.commit(stack(2))
    repository.git("tag", "v1.1.0")
    repository.commit(stack(3))
    repository.git("tag", "v2.0.0")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit(stack(4))
    repository.git("checkout", "--quiet", "main")
    follow(pyorch, repository.directory, "--ref", ref)
    pyorch.until(lambda: value(pyorch) == wanted)


def test_a_commit_by_its_number_and_a_reference_that_is_not_there(pyorch: Pyorch, repository: Repository) -> None:
    one = repository.commit(stack(1))
    repository.commit(stack(2))
    follow(pyorch, repository.directory, "--ref", one)
    synced(pyorch, one)
    follow(pyorch, repository.directory, "--ref", "gone")
    pyorch.until(lambda: "it has no gone (branches: main)" in status(pyorch)["why"])
    assert value(pyorch) == "1"


def test_a_plan_of_a_branch_says_what_merging_it_would_do(pyorch: Pyorch, repository: Repository) -> None:
    repository.commit("x", "here/x")
    mounted = stack(1).replace("init: true", "init: true, volumes: ['./here:/here']")
    commit = repository.commit(mounted)
    follow(pyorch, repository.directory)
    synced(pyorch, commit)
    assert "nothing to do" in pyorch.ok("plan", "--source", "s@main")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit(mounted.replace('V: "1"', 'V: "2"'))
    done = pyorch.run("plan", "--source", "s@side", "-o", "markdown")
    assert done.returncode == 2 and "environment.V" in done.stdout and "here" not in done.stdout
    other = pyorch.run("plan", "--source", f"{repository.directory}@side", "-o", "json")
    assert json.loads(other.stdout)["commit"] == repository.git("rev-parse", "side")
    assert status(pyorch)["live"] == commit and not list(Path(pyorch.root.state, "sources").glob("plan-*"))
    assert pyorch.run("plan", "--source", "s@nowhere").returncode == 1


def test_who_asked_for_it_is_told(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *words: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        hook = f"{{on: [synced, failed], webhook: 'http://127.0.0.1:{server.server_port}/'}}"
        program = f"{{on: [synced], exec: [sh, -c, 'cat > {tmp_path}/told']}}"
        text = stack(1) + f"x-pyorch: {{notify: [{hook}, {program}]}}\n"
        commit = repository.commit(text)
        follow(pyorch, repository.directory, "--attempts", "1")
        pyorch.until(lambda: "x-pyorch.notify runs sh here" in json.dumps(events(pyorch)))
        follow(pyorch, repository.directory, "--attempts", "1", "--allow", "privileged")
        synced(pyorch, commit)
        pyorch.until(lambda: [one for one in heard if one["on"] == "synced" and commit[:8] in one["why"]])
        pyorch.until(lambda: (tmp_path / "told").exists() and commit[:8] in (tmp_path / "told").read_text())
        repository.commit(text.replace("image: 'host:/'", "image: 'dir:/nowhere'"))
        pyorch.ok("sync", "now", "s")
        pyorch.until(lambda: [one for one in heard if one["on"] == "failed"])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_over_http(pyorch: Pyorch, repository: Repository) -> None:
    commit = repository.commit(stack(1))
    repository.git("update-server-info")
    with Web(repository.directory / ".git") as port:
        follow(pyorch, f"http://127.0.0.1:{port}/")
        synced(pyorch, commit)
    repository.commit(stack(2))
    pyorch.ok("sync", "now", "s")
    pyorch.until(lambda: "cannot read http://127.0.0.1" in status(pyorch)["why"])
    assert value(pyorch) == "1", "what runs goes on while git is down"


@pytest.mark.skipif(
    not os.path.exists("/usr/sbin/sshd"),
    reason="needs sshd (Debian: openssh-server, not installed by itself: that would start a server on this machine)",
)
def test_over_ssh(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    commit = repository.commit(stack(1))
    for name in ("host", "client", "stranger"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    port = free_port()
    (tmp_path / "authorized").write_text((tmp_path / "client.pub").read_text())
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'host.pub').read_text()}")
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "authorized",
        "StrictModes": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "PidFile": "none",
    }
    (tmp_path / "sshd").write_text("".join(f"{key} {word}\n" for key, word in settings.items()))
    os.makedirs("/run/sshd", exist_ok=True)
    with subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-e", "-f", str(tmp_path / "sshd")], stderr=subprocess.DEVNULL
    ) as server:
        try:
            pyorch.until(lambda: listens(port))
            url = f"ssh://root@127.0.0.1:{port}{repository.directory}"
            known = ("--known-hosts", str(tmp_path / "known"))
            follow(pyorch, url, *known, "--ssh-key", str(tmp_path / "stranger"))
            pyorch.until(lambda: "cannot read ssh://" in status(pyorch)["why"])
            follow(pyorch, url, *known, "--ssh-key", str(tmp_path / "client"))
            synced(pyorch, commit)
        finally:
            server.terminate()


# what the tests look with


def events(pyorch: Pyorch) -> list[Any]:
    return pyorch.lines("-p", "synced", "events", "--no-follow", "--format", "json")


def names(pyorch: Pyorch) -> list[str]:
    return [row["Name"] for row in pyorch.lines("-p", "synced", "ps", "--format", "json")]


def announce(port: int, name: str, secret: str) -> int:
    body = b'{"ref": "refs/heads/main"}'
    signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/hook/{name}", data=body, headers={"X-Hub-Signature-256": signature}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Web:
    """Plain files over HTTP on loopback."""

    def __init__(self, directory: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *words: Any) -> None:
                super().__init__(*words, directory=str(directory))

            def log_message(self, format: str, *words: Any) -> None:
                return

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> int:
        self._thread.start()
        return self._server.server_port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
