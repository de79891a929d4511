"""Repositories that mean no good, or are merely broken: each gets a clear error, what runs goes on, and is healed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agent.sources.stacks import matches
from tests.scenarios.conftest import Pyorch
from tests.scenarios.test_sources import ENVIRONMENT, Repository, follow, stack, status, synced, value

pytestmark = pytest.mark.root


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


def feed(repository: Repository, *words: str, input: bytes = b"") -> str:
    return subprocess.run(
        ["git", *words], cwd=repository.directory, env=ENVIRONMENT, input=input, capture_output=True, check=True
    ).stdout.decode().strip()  # fmt: skip


def forged(repository: Repository, *entries: tuple[str, str, bytes]) -> None:
    """A commit of entries (mode, name, content) that git itself would never put into a tree."""
    listed = []
    for mode, name, content in (*entries, ("100644", "stack.yaml", stack(2).encode())):
        blob = feed(repository, "hash-object", "-w", "--stdin", input=content)
        listed.append(f"{mode} blob {blob}\t{name}\n")
    tree = feed(repository, "mktree", input="".join(listed).encode())
    repository.git("update-ref", "refs/heads/main", feed(repository, "commit-tree", tree, "-p", "HEAD", "-m", "forged"))


def links(repository: Repository) -> None:
    for name, target in (("a", "."), ("b", "."), ("etc", "/etc"), ("up", "../../../..")):
        (repository.directory / name).symlink_to(target)
    repository.git("rm", "-q", "--cached", "stack.yaml")
    (repository.directory / "stack.yaml").unlink()
    repository.git("add", "--all")
    repository.git("commit", "-q", "-m", "links in circles")


def large(repository: Repository) -> None:
    """Sixteen megabytes of nothing, forty times over: a small pack, and a large tree."""
    forged(repository, *(("100644", f"part{number}", bytes(16 << 20)) for number in range(40)))


def many_words(repository: Repository) -> None:
    anchors = "\n".join(f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
    repository.commit(f"name: synced\nx-0: &a0 [{', '.join('abcdefghi')}]\n{anchors}\n{stack(2)}")


def emptied(repository: Repository) -> None:
    repository.git("update-ref", "-d", "refs/heads/main")


def no_text(repository: Repository) -> None:
    (repository.directory / "stack.yaml").write_bytes(b"name: \xff\xfe\xfd\n")
    repository.git("add", "stack.yaml")
    repository.git("commit", "-q", "-m", "bytes")


TRICKS: dict[str, tuple[Callable[[Repository], object], str]] = {
    "a tree with .git in it": (lambda r: forged(r, ("100644", ".git", b"x")), ".git"),
    "a tree with .. in it": (lambda r: forged(r, ("100644", "..", b"x")), ".."),
    "a .gitmodules that is a link": (lambda r: forged(r, ("120000", ".gitmodules", b"/etc/passwd")), "gitmodules"),
    "links in circles": (links, "the repository has no stack.yaml"),
    "a tree too large": (large, "and may have 512 MiB"),
    "a file of a billion words": (many_words, "aliases stand for more than"),
    "a pointer of LFS": (
        lambda r: r.commit("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"), "a pointer of git lfs",
    ),
    "a file that is a directory": (
        lambda r: (r.commit(None), r.commit("x", "stack.yaml/x")), "stack.yaml",
    ),
    "no branch any more": (emptied, "it has no"),
    "bytes that are no text": (no_text, "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_what_is_wrong_is_told_and_the_last_good_state_goes_on_and_is_healed(
    pyorch: Pyorch, repository: Repository, trick: str
) -> None:
    good = repository.commit(stack(1).replace("init: true", "init: true, restart: always"))
    follow(pyorch, repository.directory, "--attempts", "1")
    synced(pyorch, good)
    play, told = TRICKS[trick]
    play(repository)
    pyorch.ok("sync", "now", "s")

    pyorch.until(lambda: told in json.dumps([status(pyorch)["why"], events(pyorch)], ensure_ascii=False))
    assert value(pyorch) == "1"
    pid = pyorch.pid("synced-a-1")
    os.kill(pid, signal.SIGKILL)
    pyorch.until(lambda: value(pyorch) == "1" and pyorch.pid("synced-a-1") != pid)


def events(pyorch: Pyorch) -> list[dict[str, Any]]:
    return pyorch.lines("-p", "synced", "events", "--no-follow", "--since", "0", "--json")


def test_a_history_that_was_rewritten_is_followed(pyorch: Pyorch, repository: Repository) -> None:
    first = repository.commit(stack(1))
    second = repository.commit(stack(2))
    follow(pyorch, repository.directory)
    synced(pyorch, second)
    repository.git("reset", "-q", "--hard", first)  # rewound
    pyorch.ok("sync", "now", "s")
    synced(pyorch, first)
    assert value(pyorch) == "1"
    repository.git("checkout", "-q", "--orphan", "other")  # force-pushed: nothing in common
    other = repository.commit(stack(3))
    repository.git("branch", "-f", "main", other)
    repository.git("checkout", "-q", "main")
    pyorch.ok("sync", "now", "s")
    synced(pyorch, other)
    assert value(pyorch) == "3"


def test_odd_names_are_only_names(pyorch: Pyorch, repository: Repository) -> None:
    (repository.directory / "case").mkdir()
    for name in (
        b"case/Readme",
        b"case/README",
        b"\xff\xfe",
        b"--upload-pack=touch ran",
        b"new\nline",
        b"$(touch ran)",
    ):
        Path(os.fsdecode(os.path.join(os.fsencode(repository.directory), name))).write_text("x")
    commit = repository.commit(stack(1))
    repository.git("update-ref", "refs/heads/--upload-pack=touch ran".replace(" ", "-"), commit)
    repository.git("update-ref", "refs/tags/-v", commit)
    follow(pyorch, repository.directory)
    synced(pyorch, commit)
    tree = Path(pyorch.root.state, "sources", "s", "tree")
    assert {b"\xff\xfe", b"new\nline", b"case"} <= set(os.listdir(os.fsencode(tree)))
    assert len(list((tree / "case").iterdir())) == 2
    for repo in ("ssh://-oProxyCommand=touch%20ran/x", "-oProxyCommand=x:y", "--upload-pack=touch ran"):
        done = pyorch.run("sync", "add", "t", "--repo", repo)
        if done.returncode == 0:  # an address like any other, and git itself refuses it
            pyorch.until(lambda: "cannot read" in status(pyorch, "t")["why"])
            pyorch.ok("sync", "rm", "t")
        else:
            assert "cannot follow" in done.stderr or "no such option" in done.stderr.lower(), done.stderr


def test_a_server_that_stalls_holds_up_nobody_else(pyorch: Pyorch, repository: Repository) -> None:
    import socket

    good = repository.commit(stack(1))
    follow(pyorch, repository.directory)
    synced(pyorch, good)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/x.git"
        pyorch.ok("sync", "add", "t", "--repo", address, "--interval", "1h")
        asked, _ = silent.accept()
        with asked:
            assert asked.recv(1)  # git waits for an answer now
            newer = repository.commit(stack(2))
            pyorch.ok("sync", "now", "s")
            synced(pyorch, newer)
            assert status(pyorch, "t")["sync"] == "Unknown"
            pyorch.ok("sync", "rm", "t")  # not waited for either
    assert value(pyorch) == "2"


def test_links_to_directories_are_not_walked(tmp_path: Path) -> None:
    for name in ("stacks/a", "stacks/b/deep"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "stack.yaml").write_text("x")
    for name in ("one", "two"):
        (tmp_path / "stacks" / name).symlink_to(".")
    (tmp_path / "stacks" / "root").symlink_to("/")
    found = [os.path.relpath(path, tmp_path) for path in matches(str(tmp_path), "stacks/**/stack.yaml")]
    assert found == ["stacks/a/stack.yaml", "stacks/b/deep/stack.yaml"]
    assert [os.path.relpath(path, tmp_path) for path in matches(str(tmp_path), "stacks/*/stack.yaml")] == found[:1]
    assert matches(str(tmp_path), "nothing.yaml") == []


def test_expired_withdrawn_and_missing_signatures(pyorch: Pyorch, repository: Repository, tmp_path: Path) -> None:
    """gpg: a key that has expired signs no more, and a merge needs a signature of its own."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    environment = {**ENVIRONMENT, "GNUPGHOME": str(home)}

    def key(who: str, expires: str, *more: str) -> str:
        words = [*gpg, *more, "--quick-generate-key", f"{who} <{who}@example.org>", "ed25519", "sign", expires]
        subprocess.run(words, check=True, capture_output=True)
        return who

    def keys() -> str:
        exported = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
        (tmp_path / "keys.asc").write_text(exported)
        return str(tmp_path / "keys.asc")

    def signed(by: str, text: str) -> str:
        repository.directory.joinpath("stack.yaml").write_text(text)
        words = ["git", "-c", f"user.signingKey={by}@example.org", "commit", "-q", "-a", "-m", "x", "-S"]
        subprocess.run(words, cwd=repository.directory, env=environment, check=True, capture_output=True)
        return repository.git("rev-parse", "HEAD")

    try:
        key("ann", "never")
        key("old", "seconds=86400", "--faked-system-time", "20200101T000000")
        repository.commit("x")
        good = signed("ann", stack(1))
        follow(pyorch, repository.directory, "--verify", "gpg", "--keys", keys())
        synced(pyorch, good)

        def refused(commit: str) -> None:
            pyorch.ok("sync", "now", "s")
            pyorch.until(lambda: f"cannot accept {commit[:8]}" in status(pyorch)["why"], seconds=60)
            assert "bears no valid signature" in status(pyorch)["why"]
            assert value(pyorch) == "1"

        repository.git("checkout", "-q", "-b", "side", good)
        side = signed("ann", stack(5))
        repository.git("checkout", "-q", "main")
        repository.git("merge", "-q", "--no-ff", "-m", "merge", side)
        refused(repository.git("rev-parse", "HEAD"))  # both parents are signed, the merge is not
        repository.git("reset", "-q", "--hard", good)
        (home / "gpg.conf").write_text("faked-system-time 20200101T000000\n")
        expired = signed("old", stack(6))
        (home / "gpg.conf").unlink()
        refused(expired)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
