"""From the facts to the zone file."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.network.zones import Member, Zone, render

FRONT, BACK = (
    Zone("shop_front", "b0", "10.1.0.0/24", "10.1.0.1"),
    Zone("shop_back", "b1", "10.1.1.0/24", "10.1.1.1", True),
)


def member(slot: int, service: str = "web", ready: bool = True, **more: Any) -> Member:
    address = {"b0": f"10.1.0.{slot + 1}"}
    return Member(**{
        "container": f"{slot:012x}", "name": f"shop-{service}-{slot}", "service": service, "hostname": f"{slot:012x}",
        "addresses": address, "ready": ready,
    } | more)  # fmt: skip


def zone(*members: Member, of: Zone = FRONT) -> Any:
    return json.loads(render([FRONT, BACK], members)[of.bridge])


def test_a_container_is_known_by_name_service_id_hostname_and_alias() -> None:
    names = zone(member(1, hostname="Www", aliases={"b0": ["shop.LOCAL."], "b1": ["elsewhere"]}))["names"]
    assert names == {name: ["10.1.0.2"] for name in ("shop-web-1", "web", "000000000001", "www", "shop.local")}


def test_a_service_answers_with_its_ready_replicas() -> None:
    assert zone(member(1), member(2, ready=False), member(3))["names"]["web"] == ["10.1.0.2", "10.1.0.4"]


def test_while_none_is_ready_all_that_run_answer() -> None:
    assert zone(member(1, ready=False), member(2, ready=False))["names"]["web"] == ["10.1.0.2", "10.1.0.3"]


def test_a_replica_that_is_not_ready_still_has_its_own_name() -> None:
    assert zone(member(1), member(2, ready=False))["names"]["shop-web-2"] == ["10.1.0.3"]


def test_a_known_service_without_containers_has_no_address() -> None:
    waiting = Zone("shop_front", "b0", "10.1.0.0/24", "10.1.0.1", names=("Db",))
    assert json.loads(render([waiting], [])["b0"])["names"] == {"db": []}


def test_names_stay_in_their_network_and_clients_name_all_of_theirs() -> None:
    both = member(1, addresses={"b0": "10.1.0.2", "b1": "10.1.1.2"})
    back = zone(both, member(2), of=BACK)
    assert back["names"]["web"] == ["10.1.1.2"]
    assert back["clients"] == {"10.1.1.2": ["b0", "b1"]}
    assert back["reverse"] == {"10.1.1.2": "shop-web-1"}
    assert (back["internal"], back["network"]) == (True, "shop_back")


def test_the_same_facts_give_the_same_text() -> None:
    assert render([FRONT], [member(1), member(2)]) == render([FRONT], [member(2), member(1)])
