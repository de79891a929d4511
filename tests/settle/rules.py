"""The rules of the house, seen with plain eyes: what no plan may do, whatever the world. Written without the decider's
own words, so that a mistake there is one here only by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toy import Broken

from orchestrator.policy.rollout import Rollout
from orchestrator.reconcile.blueprint import blueprint
from orchestrator.reconcile.plan import Action, Adjust, Plan, Reload, Remove, Renew, Start, Stop, TakeBack
from orchestrator.reconcile.world import Container, Wanted, World
from orchestrator.stack.model import Service

QUICK = 10.0  # seconds; a run that ends sooner is no good stretch


class Look:
    """A plan beside the world that it was made of, for one stack. Every `_rule` is one sentence that must be so."""

    def __init__(self, plan: Plan, world: World, wanted: Wanted, now: float) -> None:
        self.plan, self.world, self.wanted, self.now = plan, world, wanted, now
        self.stack = wanted.stack
        self.there = {one.name: one for one in world.containers if one.stack == self.stack.name}
        self.stops = {one.subject for one in plan.actions if isinstance(one, Stop)}

    def of(self, service: str) -> list[Container]:
        return [one for one in self.there.values() if one.service == service]

    def count(self, service: Service) -> int:
        return self.wanted.scale.get(service.name, service.replicas)

    def current(self, container: Container) -> bool:
        return blueprint(self.stack).digests.get(container.service) == container.digest

    def tended(self, service: str) -> bool:
        """It is to run, and the file has it."""
        return service in self.stack.services and service in self.wanted.active - self.wanted.stopped


def check(plan: Plan, world: World, wanted: Sequence[Wanted], now: float) -> None:
    """Raises Broken where the plan breaks a rule."""
    subjects = [action.subject for action in plan.actions]
    if len(subjects) != len(set(subjects)) or not world.busy.isdisjoint(subjects):
        raise Broken(f"two deeds for one subject: {subjects}, busy {sorted(world.busy)}")
    for hold in plan.holds:
        if not hold.why or (hold.until is not None and hold.until <= now):
            raise Broken(f"a hold that says nothing or is over: {hold}")
    for one in wanted if plan.actions else ():
        look = Look(plan, world, one, now)
        for action in plan.actions:
            stack = action.replica.stack if isinstance(action, Start) else getattr(action, "stack", None)
            container = look.there.get(action.subject)
            if stack != one.stack.name and container is None:
                continue
            for rule in RULES.get(type(action), ()):
                if broken := rule(look, action):
                    raise Broken(f"{action}: {broken}")


# --- what starts


def _starts_what_is_wanted(look: Look, start: Start) -> str | None:
    name, wanted = start.replica.service, look.wanted
    if wanted.down or name in wanted.stopped or (name not in wanted.active and name not in wanted.orphans):
        return "nobody wants it"
    if (start.container is None) == (start.subject in look.there):
        return "made although it exists, or run again although it does not"
    return None


def _stands_on_its_ground(look: Look, start: Start) -> str | None:
    service, world = start.replica.definition, look.world
    networks = [look.stack.networks[key] for key in service.networks if key in look.stack.networks]
    volumes = [look.stack.volumes[m.source] for m in service.mounts if m.kind == "volume" and m.source]
    missing = [n.name for n in networks if n.name not in world.networks]
    missing += [v.name for v in volumes if v.name not in world.volumes]
    return f"without {missing[0]}" if missing else None


def _has_what_it_needs(look: Look, start: Start) -> str | None:
    for needed, how in start.replica.definition.depends_on.items():
        service = look.stack.services.get(needed)
        if service is None or needed not in look.wanted.active or not how.required:
            continue
        good = sum(_is(container, how.condition) for container in look.of(needed))
        done = {job[2] for job in look.world.done if job[:2] == (look.stack.name, needed)} - {0}
        good = max(good, len(done) if how.condition != "healthy" else 0)
        if good < look.count(service):
            return f"before {needed} is {how.condition}"
        # What is stopped in this very turn is not there for it.
        if how.condition != "completed" and len(look.stops & {c.name for c in look.of(needed)}) > 0:
            left = [c for c in look.of(needed) if c.name not in look.stops and _is(c, how.condition)]
            if len(left) < look.count(service):
                return f"while {needed} is being stopped"
    return None


def _is(container: Container, condition: str) -> bool:
    match condition:
        case "healthy":
            verdict = container.verdict
            return container.phase == "running" and verdict is not None and verdict.status == "healthy"
        case "completed":
            return container.phase == "exited" and container.exits[-1].code == 0
        case _:
            return container.phase == "running" or bool(container.exits)


def _hooks_came_first(look: Look, start: Start) -> str | None:
    replica = start.replica
    if not replica.definition.pre_start or start.container is not None:
        return None
    ran = (replica.stack, replica.service, 0, replica.digest) in look.world.done
    old = any(one.digest == replica.digest for one in look.of(replica.service))
    return None if ran or old else "before its pre_start hooks ran"


def _work_is_done_once(look: Look, start: Start) -> str | None:
    replica = start.replica
    asked = max(look.wanted.restarts.get(replica.service, 0.0), look.wanted.recreate.get(replica.service, 0.0))
    once = replica.definition.job == "once-per-change" and not asked
    done = (replica.stack, replica.service, replica.slot, replica.digest) in look.world.done
    return "its work is done" if once and done else None


def _waits_after_failures(look: Look, start: Start) -> str | None:
    """Bringing it up failed: 0.5 s, doubled each time. It ended: at once, then 0.1 s, doubled each time."""
    failure = look.world.failures.get(start.subject)
    if failure and look.now < failure.at + min(0.5 * 2 ** (failure.count - 1), 30.0):
        return "too soon after it failed to come up"
    container, service = look.there.get(start.subject), start.replica.definition
    if container is None or not container.exits or service.depends_on or service.restart.delay is not None:
        return None  # blame may lie with what it needs
    row = 0
    for exit in reversed(container.exits):
        if exit.cause in ("asked", "moved") or exit.at - exit.started >= QUICK or exit.at < _forgiven(look, container):
            break
        row += 1
    soonest = container.exits[-1].at + (min(0.1 * 2 ** (row - 2), 30.0) if row > 1 else 0.0)
    return "too soon after it ended" if look.now < soonest - 1e-9 else None


def _forgiven(look: Look, container: Container) -> float:
    """What ended before this was forgiven by its user."""
    return max(look.wanted.retries.get(container.service, 0.0), look.wanted.restarts.get(container.service, 0.0))


def _gives_up(look: Look, start: Start) -> str | None:
    container, policy = look.there.get(start.subject), start.replica.definition.restart
    if container is None or not container.exits or start.replica.definition.depends_on:
        return None
    last, forgiven = container.exits[-1], _forgiven(look, container)
    if last.cause in ("asked", "moved") or (last.at < forgiven and not last.good):
        return None
    if policy.ends and last.good and start.replica.definition.job != "always" and last.started >= _again(look, start):
        return "it had come to a good end"
    row = 0
    for exit in reversed(container.exits):
        if exit.cause in ("asked", "moved") or exit.at - exit.started >= QUICK or exit.at < forgiven:
            break
        row += 1
    limit = policy.give_up_after
    return f"{row} failures, and it was to give up after {limit}" if limit is not None and row >= limit else None


def _again(look: Look, start: Start) -> float:
    return look.wanted.restarts.get(start.replica.service, 0.0)


def _has_one_writer(look: Look, start: Start) -> str | None:
    service = start.replica.definition
    for mount in service.mounts:
        volume = look.stack.volumes.get(mount.source or "")
        if volume and volume.writers == 1 and service.replicas == 1 and look.count(service) == 1:
            others = [c for c in look.of(service.name) if c.phase == "running" and c.name != start.subject]
            if others:
                return f"{others[0].name} still writes to {volume.name}"
    return None


def _canaries_go_first(look: Look, action: Start | Stop) -> str | None:
    """No old replica makes way, and none more of the new version than places comes, before somebody promotes it."""
    name = action.replica.service if isinstance(action, Start) else look.there[action.subject].service
    service, digest, wanted = look.stack.services.get(name), blueprint(look.stack).digests.get(name), look.wanted
    if service is None or not service.canary or name in wanted.taken_back or wanted.promoted.get(name) == digest:
        return None
    if not look.tended(name) or wanted.down or any(how.restart for how in service.depends_on.values()):
        return None
    if name in wanted.recreate:
        return None  # then the new ones are replaced too
    new = [one for one in look.of(name) if one.digest == digest]
    old = [one for one in look.of(name) if one.digest != digest]
    if isinstance(action, Stop):
        serves = action.subject in [one.name for one in old] and (look.there[action.subject].verdict or GOOD).status
        many = len(new) >= service.canary and len(old) + len(new) <= look.count(service)
        early = serves and serves != "unhealthy" and many
        return f"{len(new)} canaries run, and nobody promoted them" if early else None
    if action.container is not None or action.replica.digest != digest or not old:
        return None
    coming = [one for one in look.plan.actions if isinstance(one, Start) and one.container is None]
    total = len(new) + sum(one.replica.service == name for one in coming)
    many = total > service.canary and total + len(old) > look.count(service)
    return f"{total} of the new version, {service.canary} canaries are allowed" if many else None


# --- what is touched


def _what_is_right_is_left_alone(look: Look, action: Stop | Remove) -> str | None:
    """A container as the file wants it, that nobody asked to touch and that is not ill, keeps its place."""
    wanted, container = look.wanted, look.there[action.subject]
    service = look.stack.services.get(container.service)
    if wanted.down or service is None or not look.tended(service.name) or not look.current(container):
        return None
    if (container.verdict or GOOD).status == "unhealthy":
        return None
    if len(look.of(service.name)) > look.count(service):
        return _older_ones_go_first(look, service)
    if isinstance(action, Remove) and container.exits and container.exits[-1].cause == "moved":
        return None
    if isinstance(action, Remove) and container.phase == "exited" and not _may_run_again_there(look, container):
        return None
    marks = (wanted.restarts.get(service.name, 0.0), wanted.recreate.get(service.name, 0.0))
    run = container.exits[-1].started if container.phase == "exited" and container.exits else container.started or 0.0
    if run < max(marks) or _follows(service) or action.subject in look.world.moves:
        return None
    if any(node.drained for node in look.world.nodes if node.name == container.node):
        return None
    first = any(one.placement.priority > service.placement.priority for one in look.stack.services.values())
    if isinstance(action, Stop) and action.moved and first:
        return None
    return "it is as it should be"


def _may_run_again_there(look: Look, container: Container) -> bool:
    """Whether its node still has the cpus and memory for it, with all that lies there and comes there now."""
    node = next((one for one in look.world.nodes if one.name == container.node and one.ready), None)
    if node is None:
        return False
    others = [one for one in look.world.containers if one.node == node.name and one.name != container.name]
    come = [one.replica for one in look.plan.actions if isinstance(one, Start) and one.node == node.name]
    names = {one.name for one in others}
    services = [one.service for one in others] + [one.service for one in come if one.name not in names]
    known = look.stack.services
    asked = [known[name].reservations for name in (*services, container.service) if name in known]
    return sum(one.cpus for one in asked) <= node.cpus and sum(one.memory for one in asked) <= node.memory


def _older_ones_go_first(look: Look, service: Service) -> str | None:
    """Of too many, those go that are to be replaced anyway. (Start-first keeps them until their successors are up.)"""
    gone = {action.subject for action in look.plan.actions if isinstance(action, Stop | Remove)}
    old = [one.name for one in look.of(service.name) if not look.current(one) and one.name not in gone]
    first = service.update is not None and service.update.order == "start-first"
    return f"{old[0]}, which is older, stays" if old and not first and not look.world.busy else None


class GOOD:
    """Stands for no verdict."""

    status = "healthy"


def _follows(service: Service) -> bool:
    """What happens to others touches it too."""
    return (
        service.healing.restart == "restart"
        or service.healing.down == "stop"
        or any(how.restart for how in service.depends_on.values())
    )


def _suspended_rests(look: Look, action: Action) -> str | None:
    service = look.there[action.subject].service if action.subject in look.there else None
    if isinstance(action, Start):
        service = action.replica.service
    if service is None or not look.tended(service) or look.wanted.down or (isinstance(action, Stop) and action.moved):
        return None
    until = max(look.wanted.suspended.get(key, (0.0, ""))[0] for key in (service, "*"))
    return "it is suspended" if until - look.world.slept > look.now else None


def _dependents_end_first(look: Look, stop: Stop) -> str | None:
    """Of what goes together, nobody loses what it depends on while it runs."""
    container, wanted = look.there[stop.subject], look.wanted
    for other in look.there.values():
        if other.phase != "running" or other.service == container.service:
            continue
        together = wanted.down or {other.service, container.service} <= wanted.stopped
        needs = look.stack.services.get(other.service) or other.service_definition
        if together and needs and container.service in needs.depends_on and not _circle(look):
            return f"{other.name} still needs it"
    return None


def _circle(look: Look) -> bool:
    """Containers of services that the file no longer has may need each other in a circle."""
    return any(one.service not in look.stack.services for one in look.there.values())


def _no_more_away_than_allowed(look: Look, stop: Stop) -> str | None:
    """A roll-out touches a replica that serves only where enough others serve meanwhile."""
    container = look.there[stop.subject]
    service = look.stack.services.get(container.service)
    if service is None or look.wanted.down or not look.tended(service.name) or look.current(container) or stop.moved:
        return None
    if (container.verdict or GOOD).status == "unhealthy" or any(how.restart for how in service.depends_on.values()):
        return None
    if any(
        isinstance(one, Stop) and one.moved and look.there[one.subject].service == service.name
        for one in look.plan.actions
    ):
        return None  # who is less important made room: that is no roll-out
    policy = service.rollback if service.name in look.wanted.taken_back else service.update
    policy = policy or Rollout()
    if policy.failure_action == "continue":
        return None
    serving = [one for one in look.of(service.name) if one.name not in look.stops | look.world.busy]
    serving = [one for one in serving if one.phase == "running" and (not look.current(one) or _well(service, one))]
    away, allowed = look.count(service) - len(serving), policy.parallelism or look.count(service)
    allowed += int(policy.max_failure_ratio * look.count(service))  # so many may fail, and are not waited for
    if policy.order == "start-first" and not any(mount.source for mount in service.mounts):
        allowed = 0
    elif len(look.of(service.name)) > look.count(service):
        return None  # it may be one too many
    return f"{away} of {look.count(service)} away, {allowed} are allowed" if away > allowed else None


def _well(service: Service, container: Container) -> bool:
    return not service.checked or (container.verdict is not None and container.verdict.status == "healthy")


def _edits_are_told_only(look: Look, adjust: Adjust) -> str | None:
    container = look.there[adjust.subject]
    service = look.stack.services.get(container.service)
    if service is None:
        return None
    wrong = [kind for kind in adjust.kinds if service.healing.answer(kind) != "heal"]
    nothing = not adjust.kinds and not container.bounds_off
    return f"{wrong or 'nothing'} is to be put right" if wrong or nothing else None


def _reloads_what_asked_for_it(look: Look, reload: Reload) -> str | None:
    service = look.stack.services.get(look.there[reload.subject].service)
    return None if service is None or service.healing.restart == "reload" else "it did not ask to be told"


def _renews_what_changed(look: Look, renew: Renew) -> str | None:
    container = look.there[renew.subject]
    known = {f"config.{key}": thing.digest for key, thing in look.stack.configs.items()}
    changed = any(known.get(key, digest) != digest for key, digest in container.contents.items())
    return None if changed else "its configs say what they said"


def _takes_back_what_may_be_bad(look: Look, back: TakeBack) -> str | None:
    if look.wanted.proven or look.wanted.down:
        return "it was ready as a whole"
    policies = [look.stack.services[name].update for name in back.services]
    asked = look.stack.atomic if not policies else all(p and p.failure_action == "rollback" for p in policies)
    return None if asked else "nobody asked for that"


RULES: dict[type, tuple[Callable[..., str | None], ...]] = {
    Start: (
        _starts_what_is_wanted,
        _suspended_rests,
        _stands_on_its_ground,
        _has_what_it_needs,
        _hooks_came_first,
        _work_is_done_once,
        _waits_after_failures,
        _gives_up,
        _has_one_writer,
        _canaries_go_first,
    ),
    Stop: (
        _suspended_rests,
        _what_is_right_is_left_alone,
        _dependents_end_first,
        _no_more_away_than_allowed,
        _canaries_go_first,
    ),
    Remove: (_suspended_rests, _what_is_right_is_left_alone),
    Adjust: (_suspended_rests, _edits_are_told_only),
    Reload: (_suspended_rests, _reloads_what_asked_for_it),
    Renew: (_suspended_rests, _renews_what_changed),
    TakeBack: (_takes_back_what_may_be_bad,),
}
