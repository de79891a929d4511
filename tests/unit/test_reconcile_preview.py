"""What a plan says of each service: the class of the change, who follows, how long nobody answers, whether it fits."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.policy.rollout import Rollout
from orchestrator.reconcile.preview import Times, preview, text
from orchestrator.reconcile.replica import digest, meaning
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.scheduler.node import Node, Request
from orchestrator.stack.model import Dependency, Origin, Placement, Service, Shares, Stack

NODE = Node("n1", 2.0, 1 << 30)


def running(stack: Stack) -> World:
    """Every service of it, one container a replica."""
    found = []
    for name, service in stack.services.items():
        made = meaning(service, stack)
        for slot in range(1, service.replicas + 1):
            of = f"{stack.name}-{name}-{slot}"
            found.append(
                Container(
                    of, of, stack.name, name, slot, digest(made), "n1", "running", made, service_definition=service
                )
            )
    return World((NODE,), tuple(found))


def said(old: Stack, new: Stack, times: dict[str, Times] | None = None) -> list[str]:
    before = Wanted(old, 3, active=frozenset(old.services))
    after = Wanted(new, 4, active=frozenset(new.services))
    return text("shop", (3, 4), preview(before, after, [], running(old), times or {}), ()).split("\n")


def shop(**web: object) -> Stack:
    services = {
        "db": Service("db", "host:/"),
        "web": replace(Service("web", "host:/", depends_on={"db": Dependency(restart=True)}), **web),  # type: ignore[arg-type]
    }
    origins = {"services.db.image": Origin("/srv/stack.yaml", 4, 1), "services.web": Origin("/srv/stack.yaml", 7, 1)}
    return Stack("shop", "/srv", (), services, origins=origins)


def test_nothing_is_said_where_nothing_changes() -> None:
    assert said(shop(), shop()) == [""]


def test_a_recreated_service_names_its_followers_and_its_downtime() -> None:
    old = shop()
    new = replace(old, services={**old.services, "db": Service("db", "dir:/new")})
    times = {"db": Times(starts=(0.2, 0.3, 2.0), stops=(0.1, 0.1, 0.5))}
    assert said(old, new, times) == [
        "shop: revision 3 → 4",
        "~ db: recreate (stop-first)",
        "    image: host:/ → dir:/new (stack.yaml:4)",
        "    then web is restarted: it follows db (stack.yaml:7)",
        "    downtime: about 400 ms (p95 2.5 s): stop-first, 3 starts seen here",
        "    room: fits",
    ]


def test_what_can_be_obeyed_on_the_living_container_stops_nobody() -> None:
    assert said(shop(), shop(stop_grace_period=3.0)) == [
        "shop: revision 3 → 4",
        "~ web: in place",
        "    stop_grace_period: 10s → 3s (stack.yaml:7)",
    ]


def test_start_first_needs_room_for_one_more() -> None:
    old = shop(reservations=Request(1.5, 0), update=Rollout(order="start-first"))
    new = shop(image="dir:/new", reservations=Request(1.5, 0), update=Rollout(order="start-first"))
    lines = said(old, new)
    assert "    downtime: none: old replicas serve until new ones are ready (no start seen here yet)" in lines
    assert lines[-1].startswith("    room: needs 1.5 cpus; n1 has 0.5 cpus")
    assert lines[-1].endswith("(start-first needs one more for a while)")


def test_what_was_never_started_here_has_an_unknown_downtime() -> None:
    assert "    downtime: unknown: it has not been started here before" in said(shop(), shop(image="dir:/new"))


def test_with_several_replicas_some_go_on_serving() -> None:
    lines = said(shop(replicas=3), shop(replicas=3, image="dir:/new"))
    assert "    downtime: none: 2 of 3 replicas serve meanwhile (no start seen here yet)" in lines


def test_a_service_gone_from_the_file_is_named() -> None:
    old = shop()
    new = replace(old, services={"db": old.services["db"]})
    assert said(old, new)[1:] == ["- web: remove (no longer in the file)"]


def test_a_reservation_that_no_longer_fits_where_its_replica_runs_is_said() -> None:
    old = shop(reservations=Request(1.0, 256 << 20))
    lines = said(old, shop(reservations=Request(3.0, 256 << 20)))
    assert any(
        line.startswith("    room: shop-web-1 needs 3 cpus and 256 MiB; n1 has 2 cpus and 1 GiB free of 2 and 1 GiB")
        and line.endswith("(it goes on where it is, and would not come back)")
        for line in lines
    )
    assert not any("room:" in line for line in said(old, shop(reservations=Request(2.0, 256 << 20))))


def urgent(**web: object) -> tuple[Stack, Stack]:
    """A stack that fills its node, and the same with a service that does not fit beside it."""
    old = replace(shop(), services={"batch": Service("batch", "host:/", reservations=Request(2.0))})
    new = Service("web", "host:/", reservations=Request(1.0))
    return old, replace(old, services={**old.services, "web": replace(new, **web)})  # type: ignore[arg-type]


def test_what_is_more_important_gets_room_from_what_is_less() -> None:
    old, new = urgent(placement=Placement(priority=80))
    room = "    room: fits once shop-batch-1 (priority 50) made room on n1 for priority 80"
    assert said(old, new)[-1] == room


def test_what_is_not_more_important_gets_none() -> None:
    old, new = urgent()
    assert said(old, new)[-1].startswith("    room: needs 1 cpu; n1 has 0 cpus")


def test_nobody_is_moved_for_what_stands_on_it() -> None:
    old, new = urgent(placement=Placement(priority=80), depends_on={"batch": Dependency()})
    assert said(old, new)[-1].startswith("    room: needs 1 cpu; n1 has 0 cpus")


def test_a_quota_is_said_before_any_room() -> None:
    _, new = urgent(reservations=Request(0.5))
    small = replace(new, services={"web": new.services["web"]}, shares=Shares(quota_cpus=0.25))
    empty = World((NODE,))
    after = Wanted(small, 1, active=frozenset(small.services))
    lines = text("shop", (0, 1), preview(None, after, [], empty, {}), ()).split("\n")
    assert lines[-1].startswith("    room: needs 0.5 cpus; the quota of stack shop is 0.25 cpus")
