"""Some services as they were: with what they alone stand on, and nothing of what others use."""

from __future__ import annotations

from orchestrator.stack.model import Attachment, Grant, Material, Mount, Network, Service, Stack, Volume
from orchestrator.stack.partly import keeping


def service(name: str, version: str, where: str) -> Service:
    return Service(
        name,
        "image",
        environment={"V": version},
        networks={where: Attachment()},
        mounts=(Mount("volume", "/data", where),),
        grants=(Grant("config", "both", "/both"), Grant("config", name, "/own"), Grant("secret", name, "/s")),
    )


def stack(version: str, where: str, *names: str) -> Stack:
    things = (*names, "both")
    return Stack(
        "shop",
        "/srv",
        (),
        {name: service(name, version, where) for name in names},
        {where: Network(where, f"shop_{where}")},
        {where: Volume(where, f"shop_{where}")},
        configs={key: Material("config", key, key, "content", "", version) for key in things},
        secrets={key: Material("secret", key, key, "content", "", version) for key in things},
    )


def test_who_is_kept_keeps_what_only_it_uses() -> None:
    old, new = stack("1", "back", "a", "b", "gone"), stack("2", "front", "a", "b", "c")
    made = keeping(new, old, {"a", "gone", "c"})
    assert {name: one.environment["V"] for name, one in made.services.items()} == {"a": "1", "b": "2", "c": "2"}
    assert (set(made.networks), set(made.volumes)) == ({"front", "back"}, {"front", "back"})
    assert {key: one.digest for key, one in made.configs.items()} == {"a": "1", "b": "2", "c": "2", "both": "2"}
    assert {key: one.digest for key, one in made.secrets.items()} == {"a": "1", "b": "2", "c": "2", "both": "2"}


def test_where_nobody_is_kept_it_is_the_same_stack() -> None:
    new = stack("2", "front", "a")
    assert keeping(new, stack("1", "front", "b"), {"b"}) is new
