"""What a stack from a repository may ask of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.agent.sources.allow import Allow, allowed, asked_powers, objections
from orchestrator.agent.sources.asked import read_source
from orchestrator.errors import Mistake
from orchestrator.stack.load import load
from orchestrator.stack.model import Sandbox, Service

BEGIN = "name: x\nservices:\n  a:\n    image: 'host:/'\n    command: 'true'\n"
NOTHING = Allow()


def asked(tree: Path, text: str, allow: Allow = NOTHING) -> list[str]:
    (tree / "stack.yaml").write_text(text)
    stack = load(None, directory=str(tree), environment={})
    return [one.removeprefix("x: service a ").partition(":")[0] for one in objections(stack, allow, str(tree))]


@pytest.mark.parametrize(
    ("words", "objection"),
    [
        ("cap_add: [SYS_ADMIN]", "asks for cap_add SYS_ADMIN"),
        ("security_opt: ['seccomp=unconfined']", "asks for seccomp=unconfined"),
        ("ports: ['80:80']", "publishes port 80, below 1024"),
        ("volumes: ['/:/host']", "asks for the host's /"),
    ],
)
def test_what_reaches_beyond_the_container_is_objected_to(tmp_path: Path, words: str, objection: str) -> None:
    assert asked(tmp_path, f"{BEGIN}    {words}\n") == [objection]


def test_every_way_out_of_the_sandbox_is_a_power() -> None:
    service = Service(
        "a", "host:/", network_mode="host", sandbox=Sandbox(privileged=True, pid="host", ipc="container:x")
    )
    assert list(asked_powers(service)) == ["privileged", "network_mode host", "pid host", "ipc container:x"]
    assert list(asked_powers(Service("a", "host:/", network_mode="none"))) == []


def test_what_its_owner_allows_is_not(tmp_path: Path) -> None:
    tree, data = tmp_path / "tree", tmp_path / "data"
    tree.mkdir(), data.mkdir()
    text = f"{BEGIN}    cap_add: [SYS_ADMIN]\n    ports: ['80:80', '8080:80']\n    volumes: ['{data}:/x']\n"
    assert asked(tree, text, allowed(["privileged", "port=80-90", f"path={data}"])) == ["publishes port 8080"]
    assert asked(tree, text, allowed(["privileged", "port=80-8080", f"path={data}"])) == []


def test_a_link_counts_by_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to("/etc")
    assert asked(tmp_path, f"{BEGIN}    volumes: ['./data:/data']\n") == [f"asks for the host's {tmp_path}/data"]


def test_a_directory_whose_name_only_begins_alike_is_another(tmp_path: Path) -> None:
    tree, database = tmp_path / "tree", tmp_path / "database"
    tree.mkdir(), database.mkdir()
    text = f"{BEGIN}    volumes: ['{database}:/x']\n"
    assert asked(tree, text, allowed([f"path={tmp_path}/data"])) == [f"asks for the host's {database}"]


@pytest.mark.parametrize("word", ["path=relative", "port=x", "everything", "secret=", "port=1-y"])
def test_what_cannot_be_read_is_said(word: str) -> None:
    with pytest.raises(Mistake, match="cannot read --allow"):
        allowed([word])


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("repo", "ext::sh -c id", "cannot follow 'ext::sh -c id'"),
        ("repo", "--upload-pack=id", "cannot follow '--upload-pack=id'"),
        ("repo", "gopher://x/y", "cannot follow 'gopher://x/y'"),
        ("path", "../x.yaml", "it must lie within the repository"),
        ("path", "/etc/x.yaml", "it must lie within the repository"),
        ("ref", "--exec=id", "expected a branch"),
        ("verify", "ssh", "the keys to trust"),
        ("webhook", "127.0.0.1:1", "without a secret"),
        ("whatever", 1, "unknown field whatever"),
    ],
)
def test_a_source_that_makes_no_sense_is_refused(field: str, value: object, why: str) -> None:
    with pytest.raises(Mistake, match=why):
        read_source({"name": "s", "repo": "/srv/x.git", field: value})


@pytest.mark.parametrize("repo", ["/srv/x.git", "file:///x", "https://a@b/c.git", "git@host:x/y.git", "ssh://h:22/x"])
def test_addresses_git_knows_are_taken(repo: str) -> None:
    assert read_source({"name": "s", "repo": repo}).repo == repo
