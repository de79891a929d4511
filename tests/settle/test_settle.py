"""Random stacks in a toy world: the plan is carried out until it is empty, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace

from circle import play
from hypothesis import given
from hypothesis import strategies as st
from toy import Life, Nature, Toy

from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.reconcile.goal import settled
from orchestrator.reconcile.laws import reconcile
from orchestrator.reconcile.plan import Stop
from orchestrator.reconcile.world import Wanted, World
from orchestrator.scheduler.node import Node, Request
from orchestrator.stack.model import Attachment, Dependency, Mount, Network, Service, Stack, Volume

NAMES = "abcdef"
TAKES = st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0]), max_size=60)
CRASHES = st.sets(st.integers(0, 40), max_size=6)
RESTARTS = st.sampled_from(
    [
        RestartPolicy(),
        RestartPolicy("always"),
        RestartPolicy("unless-stopped"),
        RestartPolicy("on-failure"),
        RestartPolicy("on-failure", max_attempts=2),
        RestartPolicy("always", give_up_after=2),
        RestartPolicy("always", delay=1.0),
    ]
)
TROUBLES = st.lists(
    st.builds(Life, lasts=st.sampled_from([0.0, 0.5, 15.0]), code=st.sampled_from([0, 1, 137]))
    | st.builds(Life, ill=st.sampled_from([0.2, 12.0])),
    max_size=4,
)


@st.composite
def natures(draw: st.DrawFn, names: list[str], jobs: set[str]) -> dict[str, Nature]:
    """Some trouble, and then a last life that is good."""
    found = {}
    for name in names:
        last = Life(lasts=0.3, code=0) if name in jobs else Life(healthy=draw(st.sampled_from([0.0, 0.1, 4.0])))
        found[name] = Nature(draw(st.integers(0, 2)), (*draw(TROUBLES), last))
    return found


@st.composite
def stacks(draw: st.DrawFn, name: str = "shop") -> tuple[Stack, set[str]]:
    """A stack, and which of its services are jobs (they end by themselves)."""
    names = list(NAMES[: draw(st.integers(1, 6))])
    jobs = {each for each in names if draw(st.integers(0, 4)) == 0}
    services: dict[str, Service] = {}
    for each in names:
        depends_on = {}
        for needed in draw(st.sets(st.sampled_from(sorted(services)), max_size=3)) if services else set():
            conditions = ["started"]
            conditions += ["healthy"] if services[needed].healthcheck else []
            conditions += ["completed"] if needed in jobs else []
            condition = draw(st.sampled_from(conditions))
            depends_on[needed] = Dependency(condition, draw(st.booleans()), draw(st.integers(0, 3)) > 0)  # type: ignore[arg-type]
        job = each in jobs
        services[each] = Service(
            each,
            "host:/",
            environment={"V": "1"},
            depends_on=depends_on,
            healthcheck=None if job or draw(st.booleans()) else Check(("CMD", "true"), interval=1.0),
            restart=draw(RESTARTS.filter(lambda p: p.condition in ("no", "on-failure"))) if job else draw(RESTARTS),
            networks={key: Attachment() for key in draw(st.sets(st.sampled_from(["front", "back"])))},
            mounts=(Mount("volume", "/data", "data"),) if draw(st.booleans()) else (),
            replicas=draw(st.integers(0, 3)),
            reservations=draw(st.sampled_from([Request(), Request(0.5), Request(1.0, 1 << 30), Request(3.0)])),
        )
    networks = {key: Network(key, f"{name}_{key}") for key in ("front", "back")}
    volumes = {"data": Volume("data", f"{name}_data")}
    return Stack(name, "/srv", ("/srv/stack.yaml",), services, networks, volumes), jobs


@st.composite
def games(draw: st.DrawFn) -> tuple[Wanted, Toy]:
    """A stack that is wanted, and an empty world of some size in which its services have their natures."""
    stack, jobs = draw(stacks())
    active = draw(st.just(frozenset(stack.services)) | st.frozensets(st.sampled_from(sorted(stack.services))))
    nodes = tuple(
        Node(f"n{n}", draw(st.sampled_from([1.0, 4.0, 64.0])), 8 << 30) for n in range(draw(st.integers(1, 3)))
    )
    return Wanted(stack, active=active), Toy(nodes, draw(natures(list(stack.services), jobs)))


@given(games(), TAKES, CRASHES)
def test_whatever_happens_it_settles_and_breaks_no_rule(
    game: tuple[Wanted, Toy], takes: list[float], crashes: set[int]
) -> None:
    wanted, toy = game
    plan = play(toy, [wanted], takes, crashes=crashes)
    assert not plan.actions
    assert plan.due is None


@given(stacks(), TAKES, CRASHES)
def test_where_all_is_well_everything_becomes_ready(
    drawn: tuple[Stack, set[str]], takes: list[float], crashes: set[int]
) -> None:
    stack, jobs = drawn
    wanted = Wanted(stack, active=frozenset(stack.services))
    lives = {name: Nature(lives=(Life(0.3, 0),) if name in jobs else (Life(),)) for name in stack.services}
    toy = Toy(natures=lives)
    plan = play(toy, [wanted], takes, crashes=crashes)
    for goal in ("started", "ready"):
        end = settled(wanted, toy.world(), plan, goal)  # type: ignore[arg-type]
        assert end.done, plan.text(toy.now)
        assert not end.failures
        assert not end.pending


@given(games(), TAKES, CRASHES, st.booleans())
def test_down_leaves_nothing_but_the_volumes(
    game: tuple[Wanted, Toy], takes: list[float], crashes: set[int], volumes: bool
) -> None:
    wanted, toy = game
    play(toy, [wanted], takes)
    down = replace(wanted, down=True, remove_volumes=volumes)
    plan = play(toy, [down], takes, crashes=crashes)
    assert not toy.beings
    assert not toy.networks
    assert not (toy.volumes and volumes)
    assert settled(down, toy.world(), plan, "down").done


@given(games(), TAKES, st.integers(0, 12))
def test_down_in_the_middle_of_up_leaves_nothing(game: tuple[Wanted, Toy], takes: list[float], turns: int) -> None:
    wanted, toy = game
    for _ in range(turns):
        for action in reconcile([wanted], toy.world(), toy.now).actions:
            toy.begin(action, 0.05)
        toy.advance(toy.now + 0.03)
    play(toy, [replace(wanted, down=True)], takes)
    assert not toy.beings
    assert not toy.networks


@given(games(), TAKES)
def test_a_dependency_outlives_its_dependents_on_the_way_down(game: tuple[Wanted, Toy], takes: list[float]) -> None:
    wanted, toy = game
    play(toy, [wanted], takes)
    down = replace(wanted, down=True)
    while plan := reconcile([down], toy.world(), toy.now).actions:
        running = {b.container.service for b in toy.beings.values() if b.container.phase == "running"}
        stopped = {toy.beings[a.subject].container.service for a in plan if isinstance(a, Stop)}
        for service in running:
            assert not stopped & set(wanted.stack.services[service].depends_on)
        for action in plan:
            toy.do(action)


@given(games(), TAKES, CRASHES, st.data())
def test_after_a_change_only_what_changed_is_new(
    game: tuple[Wanted, Toy], takes: list[float], crashes: set[int], data: st.DataObject
) -> None:
    wanted, toy = game
    toy.natures = {}
    toy.nodes = (Node("n1", 1000.0, 1 << 50),)
    play(toy, [wanted], takes)
    before = {name: being.container for name, being in toy.beings.items()}
    changed = data.draw(st.sampled_from(sorted(wanted.stack.services)))
    services = dict(wanted.stack.services)
    services[changed] = replace(services[changed], environment={"V": "2"})
    play(toy, [replace(wanted, stack=replace(wanted.stack, services=services))], takes, crashes=crashes)
    assert toy.beings.keys() == before.keys()
    for name, being in toy.beings.items():
        renewed = being.container.id != before[name].id
        assert renewed == (being.container.service == changed and changed in wanted.active)


@given(st.integers(2, 4), st.booleans(), TAKES, CRASHES)
def test_of_several_replicas_never_more_than_one_is_away_for_a_change(
    replicas: int, checked: bool, takes: list[float], crashes: set[int]
) -> None:
    check = Check(("CMD", "true")) if checked else None
    service = Service("a", "host:/", replicas=replicas, healthcheck=check, restart=RestartPolicy("always"))
    wanted = Wanted(Stack("shop", "/srv", (), {"a": service}), active=frozenset("a"))
    toy = Toy()
    play(toy, [wanted], takes)

    def enough_serve(toy: Toy) -> None:
        verdicts = [b.container.verdict for b in toy.beings.values() if b.container.phase == "running"]
        assert sum(not checked or (v is not None and v.status == "healthy") for v in verdicts) >= replicas - 1

    new = replace(wanted, stack=replace(wanted.stack, services={"a": replace(service, image="dir:/new")}))
    play(toy, [new], takes, crashes=crashes, watch=enough_serve)
    assert {b.container.meaning["image"] for b in toy.beings.values()} == {'"dir:/new"'}


@given(games(), TAKES, st.integers(0, 4), st.integers(0, 4))
def test_scaling_keeps_what_there_is(game: tuple[Wanted, Toy], takes: list[float], first: int, then: int) -> None:
    wanted, toy = game
    toy.natures = {}
    toy.nodes = (Node("n1", 1000.0, 1 << 50),)
    wanted = replace(wanted, active=frozenset("a"), scale={"a": first})
    play(toy, [wanted], takes)
    before = {name: being.container.id for name, being in toy.beings.items()}
    play(toy, [replace(wanted, scale={"a": then})], takes)
    after = {name: being.container.id for name, being in toy.beings.items()}
    assert len(after) == then
    assert len(before.items() & after.items()) == min(first, then)


@given(games(), TAKES)
def test_a_second_look_at_a_settled_world_changes_nothing(game: tuple[Wanted, Toy], takes: list[float]) -> None:
    wanted, toy = game
    plan = play(toy, [wanted], takes)
    fresh = replace(wanted, stack=replace(wanted.stack))  # an equal stack that was never seen before
    assert reconcile([fresh], toy.world(), toy.now) == plan


@given(st.permutations(range(6)))
def test_the_order_of_the_world_is_no_part_of_the_plan_but_of_its_lines(order: list[int]) -> None:
    stack = Stack("shop", "/srv", (), {"a": Service("a", "host:/", replicas=6)})
    wanted, toy = Wanted(stack, active=frozenset("a")), Toy()
    play(toy, [wanted], [])
    world = toy.world()
    mixed = World(world.nodes, tuple(world.containers[n] for n in order))
    fewer = [replace(wanted, scale={"a": 2})]
    assert reconcile(fewer, mixed, toy.now) == reconcile(fewer, world, toy.now)
