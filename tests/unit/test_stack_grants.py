"""Configs and secrets: what the words of a file become, and that what they say is part of a service's meaning."""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import Mistake
from orchestrator.reconcile.replica import changes, meaning
from orchestrator.stack import config, contents, store
from orchestrator.stack.load import load
from orchestrator.stack.loader import Options
from orchestrator.stack.model import Grant, Stack
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked

Given = Callable[..., Stack]

TOP = """
configs: {motd: {file: ./motd}, inline: {content: "hi $$you"}}
secrets: {pw: {file: ./pw}, token: {environment: TOKEN}, ext: {external: true, name: real}}
"""


@pytest.fixture
def given(tmp_path: pathlib.Path) -> Given:
    def read(words: str, top: str = TOP, **environment: str) -> Stack:
        (tmp_path / "stack.yaml").write_text(f"name: shop\nservices: {{web: {{image: host:/, {words}}}}}\n{top}")
        return load(["stack.yaml"], directory=str(tmp_path), environment=environment)

    return read


@pytest.mark.parametrize(
    ("words", "grant"),
    [
        ("configs: [motd]", Grant("config", "motd", "/motd")),
        ("configs: [{source: motd, target: etc/motd}]", Grant("config", "motd", "/etc/motd")),
        ("configs: [{source: motd, target: /etc/motd, mode: 0755}]", Grant("config", "motd", "/etc/motd", mode=0o755)),
        ("secrets: [pw]", Grant("secret", "pw", "/run/secrets/pw")),
        ("secrets: [{source: pw, target: other}]", Grant("secret", "pw", "/run/secrets/other")),
        (
            'secrets: [{source: pw, target: /a/b, uid: "7", gid: "8", mode: "0400"}]',
            Grant("secret", "pw", "/a/b", 7, 8, 0o400),
        ),
    ],
)
def test_a_grant_is_a_file_with_a_place_an_owner_and_a_mode(given: Given, words: str, grant: Grant) -> None:
    assert given(words).services["web"].grants == (grant,)


def test_of_two_grants_for_one_place_the_later_counts(given: Given) -> None:
    stack = given("configs: [motd, {source: inline, target: /motd}]")
    assert [grant.source for grant in stack.services["web"].grants] == ["inline"]


def written_out(directory: pathlib.Path, **environment: str) -> str:
    asked = Asked(str(directory), environment, ["stack.yaml"])
    return config.text(("", ""), asked, Options(), Complaints(), (), format="yaml")


def test_only_what_is_used_is_in_the_stack_and_no_content_leaves_it(given: Given, tmp_path: pathlib.Path) -> None:
    stack = given("secrets: [token]", TOKEN="s3cr3t")
    assert [*stack.secrets] == ["token"] and not stack.configs
    assert "s3cr3t" not in store.to_json(contents.read(stack, lambda _: None))
    assert "s3cr3t" not in written_out(tmp_path, TOKEN="s3cr3t")
    assert "s3cr3t" not in repr(stack)


def test_the_contents_are_read_from_file_variable_text_and_store(given: Given, tmp_path: pathlib.Path) -> None:
    (tmp_path / "motd").write_text("hello")
    (tmp_path / "pw").write_bytes(b"\xff\x00")
    stack = contents.read(
        given("configs: [motd, inline], secrets: [pw, token, ext]", TOKEN="t"), lambda thing: thing.where.encode()
    )
    assert dict(stack.contents) == {
        "configs.motd": b"hello",
        "configs.inline": b"hi $you",
        "secrets.pw": b"\xff\x00",
        "secrets.token": b"t",
        "secrets.ext": b"real",
    }
    assert stack.configs["motd"].digest == hashlib.sha256(b"hello").hexdigest()[:32]
    assert str(tmp_path / "pw") in stack.inputs


def test_every_content_that_cannot_be_had_is_said_with_its_place(given: Given, tmp_path: pathlib.Path) -> None:
    (tmp_path / "pw").mkdir()
    with pytest.raises(Mistake) as caught:
        contents.read(given("configs: [motd], secrets: [pw, token, ext]"), lambda _: None)
    assert [complaint.replace(str(tmp_path), "DIR") for complaint in caught.value.complaints] == [
        "stack.yaml:4: config 'motd': cannot read DIR/motd: no such file or directory",
        "stack.yaml:5: secret 'ext': there is none called 'real' here; make it: pyorch secret create real FILE",
        "stack.yaml:5: secret 'pw': DIR/pw is a directory; mount it with a bind mount",
        "stack.yaml:5: secret 'token': the variable TOKEN is not set; set it, or write it into .env",
    ]


def test_a_change_of_content_is_a_change_of_the_service_and_says_whose_never_what(given: Given) -> None:
    def made(token: str, words: str = "secrets: [token]") -> tuple[dict[str, str], Stack]:
        stack = contents.read(given(words, TOKEN=token), lambda _: None)
        return meaning(stack.services["web"], stack), stack

    old, _ = made("one")
    new, stack = made("two")
    assert changes(old, new, stack, "web") == ("secret token changed (stack.yaml:5)",)
    none, stack = made("two", "read_only: false")
    assert changes(old, none, stack, "web") == ("secret token removed (stack.yaml:2)",)
    moved, stack = made("one", "secrets: [{source: token, target: x}]")
    assert changes(old, moved, stack, "web") == ("secret token changed (stack.yaml:2)",)


def test_what_is_written_out_means_the_same(given: Given, tmp_path: pathlib.Path) -> None:
    stack = given('configs: [inline], secrets: [{source: ext, uid: "3", mode: 0400}]')
    (tmp_path / "again.yaml").write_text(written_out(tmp_path))
    again = load(["again.yaml"], directory=str(tmp_path), environment={})
    fields: list[Any] = [again.services, again.configs, again.secrets, again.contents]
    assert fields == [stack.services, stack.configs, stack.secrets, stack.contents]
    assert store.from_json(store.to_json(stack)) == stack
