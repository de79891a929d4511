"""What a container is made from, its digest, and how a change is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.reconcile.blueprint import blueprint, dependency_order
from orchestrator.reconcile.replica import changes, digest, meaning, replicas
from orchestrator.reconcile.world import Wanted
from orchestrator.scheduler.node import Request
from orchestrator.stack.model import (
    Attachment,
    Dependency,
    Limits,
    Mount,
    Network,
    Origin,
    Port,
    Service,
    Stack,
    Volume,
)

WEB = Service(
    "web",
    "host:/",
    environment={"URL": "http://a", "MODE": "x"},
    networks={"default": Attachment()},
    mounts=(Mount("volume", "/data", "data"),),
)
SHOP = Stack(
    "shop",
    "/srv",
    ("/srv/stack.yaml",),
    {"web": WEB},
    {"default": Network("default", "shop_default")},
    {"data": Volume("data", "shop_data")},
    origins={
        "services.web": Origin("/srv/stack.yaml", 3, 3),
        "services.web.environment": Origin("/srv/stack.yaml", 5, 5),
        "services.web.environment.URL": Origin("/srv/stack.yaml", 6, 7),
    },
)


@pytest.mark.parametrize(
    "change",
    [
        {"image": "dir:/other"},
        {"command": ("serve",)},
        {"command": ()},
        {"entrypoint": ()},
        {"environment": {"URL": "http://b", "MODE": "x"}},
        {"environment": {"URL": "http://a"}},
        {"hostname": "w"},
        {"user": "nobody"},
        {"working_dir": "/"},
        {"networks": {}},
        {"networks": {"default": Attachment(aliases=("www",))}},
        {"mounts": ()},
        {"mounts": (Mount("volume", "/data", "data", read_only=True),)},
        {"mounts": (Mount("tmpfs", "/data"),)},
        {"init": True},
        {"read_only": True},
        {"cap_add": ("NET_ADMIN",)},
        {"cap_drop": ("ALL",)},
    ],
    ids=str,
)
def test_what_a_container_is_made_from_changes_its_digest(change: dict[str, Any]) -> None:
    assert digest(meaning(replace(WEB, **change), SHOP)) != digest(meaning(WEB, SHOP))


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"MODE": "x", "URL": "http://a"}},  # the same in another order
        {"depends_on": {"db": Dependency()}},
        {"replicas": 7},
        {"restart": RestartPolicy("always")},
        {"healthcheck": Check(("CMD", "true"))},
        {"stop_signal": "SIGINT"},
        {"stop_grace_period": 1.0},
        {"ports": (Port(80),)},
        {"reservations": Request(1.0)},
        {"limits": Limits(memory=1 << 20)},
        {"labels": {"a": ""}},
        {"extensions": {"x-note": 1}},
    ],
    ids=str,
)
def test_what_is_obeyed_on_the_living_container_does_not(change: dict[str, Any]) -> None:
    assert digest(meaning(replace(WEB, **change), SHOP)) == digest(meaning(WEB, SHOP))


def test_another_volume_or_network_under_the_same_key_is_a_change() -> None:
    other_volume = replace(SHOP, volumes={"data": Volume("data", "elsewhere")})
    other_network = replace(SHOP, networks={"default": Network("default", "elsewhere")})
    digests = {digest(meaning(WEB, stack)) for stack in (SHOP, other_volume, other_network)}
    assert len(digests) == 3


def test_a_digest_is_twelve_hex_digits_and_the_same_in_every_process() -> None:
    assert digest({"image": '"host:/"'}) == "6ef933ae7ecc"


def test_each_change_is_told_with_its_place_and_without_its_value() -> None:
    new = replace(WEB, image="dir:/x", environment={"URL": "secret", "NEW": "1"})
    told = changes(meaning(WEB, SHOP), meaning(new, SHOP), SHOP, "web")
    assert told == (
        "environment.MODE removed (stack.yaml:5)",
        "environment.NEW added (stack.yaml:5)",
        "environment.URL changed (stack.yaml:6)",
        "image changed (stack.yaml:3)",
    )


def test_a_change_without_a_known_place_is_told_all_the_same() -> None:
    assert changes({}, {"init": "true"}, replace(SHOP, origins={}), "web") == ("init added",)


def test_replicas_are_numbered_from_one_and_named_as_compose_names_them() -> None:
    found = replicas(Wanted(SHOP, scale={"web": 2}), WEB)
    assert [(r.slot, r.name) for r in found] == [(1, "shop-web-1"), (2, "shop-web-2")]
    assert len({r.digest for r in found}) == 1


def test_dependencies_come_first_and_ties_stay_in_the_order_of_the_file() -> None:
    names = {
        "web": Service("web", "x", depends_on={"api": Dependency(), "gone": Dependency(required=False)}),
        "log": Service("log", "x"),
        "api": Service("api", "x", depends_on={"db": Dependency()}),
        "db": Service("db", "x"),
    }
    assert dependency_order(names) == ("db", "api", "web", "log")


def test_a_blueprint_is_made_once_for_each_stack_object() -> None:
    assert blueprint(SHOP) is blueprint(SHOP)
    assert blueprint(replace(SHOP)) is not blueprint(SHOP)
