"""What is different between two revisions: a matter of meaning, told with its place, and never with a secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.reconcile.difference import difference, same
from orchestrator.stack.load import load
from orchestrator.stack.model import Stack

FILE = """\
name: shop
services:
  web:
    image: host:/
    command: [sleep, "1"]
    environment: {URL: a, PASSWORD: hunter2}
    env_file: [web.env]
    restart: always
  db: {image: "host:/", command: [sleep, "1"]}
"""


def read(directory: Path, text: str = FILE, env: str = "COLOUR=red\n", name: str = "stack.yaml") -> Stack:
    directory.mkdir(exist_ok=True)
    (directory / "web.env").write_text(env)
    (directory / name).write_text(text)
    return load([name], directory=str(directory), environment={})


def test_a_moved_file_a_comment_and_another_order_change_nothing(tmp_path: Path) -> None:
    before = read(tmp_path)
    turned = FILE.replace("environment: {URL: a, PASSWORD: hunter2}", "environment: {PASSWORD: hunter2, URL: a}")
    web, db = turned.split("services:\n")[1].split("  db:")
    after = read(tmp_path / "elsewhere", f"name: shop\n# a remark\nservices:\n  db:{db}{web}", name="compose.yaml")
    assert same(before, after)
    assert not list(difference(before, after).lines())


def test_the_content_of_an_env_file_is_a_change(tmp_path: Path) -> None:
    before, after = read(tmp_path), read(tmp_path, env="COLOUR=blue\n")
    assert not same(before, after)
    assert list(difference(before, after).lines()) == [
        "~ web",
        "    environment.COLOUR: red → blue (stack.yaml:7)",
    ]


def test_each_field_is_told_with_its_place_and_what_obeying_it_takes(tmp_path: Path) -> None:
    before = read(tmp_path)
    after = read(tmp_path, FILE.replace("URL: a", "URL: b").replace("restart: always", "restart: on-failure"))
    found = difference(before, after).changed["web"]
    assert [(str(change), change.kind) for change in found] == [
        ("environment.URL: a → b (stack.yaml:6)", "recreate"),
        ("restart.condition: always → on-failure (stack.yaml:8)", "in place"),
    ]


def test_a_secret_is_never_printed(tmp_path: Path) -> None:
    before = read(tmp_path)
    after = read(
        tmp_path,
        FILE.replace("hunter2", "correct-horse").replace("URL: a", '"URL": "postgres://shop:battery@db/shop"'),
    )
    said = "\n".join(difference(before, after).lines())
    assert "environment.PASSWORD: changed" in said
    assert "a → postgres://shop:(hidden)@db/shop" in said
    for secret in ("hunter2", "correct-horse", "battery"):
        assert secret not in said


def test_services_networks_and_volumes_that_come_and_go_are_named(tmp_path: Path) -> None:
    before = read(tmp_path)
    services = {name: one for name, one in before.services.items() if name != "db"}
    after = replace(before, services={**services, "new": replace(before.services["db"], name="new")}, networks={})
    found = difference(before, after)
    assert found.summary() == "new added; db removed; web: networks.default; network default removed"


def test_amounts_are_told_as_a_file_writes_them(tmp_path: Path) -> None:
    def limited(memory: str, interval: str) -> Stack:
        words = f"mem_limit: {memory}, shm_size: 64M, cpus: 0.5, healthcheck: {{test: x, interval: {interval}}}"
        return read(tmp_path, FILE.replace("restart: always", words.replace(", ", "\n    ", 3)))

    found = difference(limited("256M", "5s"), limited("300M", "1m30s")).changed["web"]
    assert [str(change).partition(" (")[0] for change in found] == [
        "deploy.resources.limits.memory: 256M → 300M",
        "healthcheck.interval: 5s → 1m30s",
    ]
    found = difference(limited("1G", "5s"), limited("1073741825b", "5s")).changed["web"]
    assert str(found[0]).partition(" (")[0] == "deploy.resources.limits.memory: 1G → 1073741825"
