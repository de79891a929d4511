"""From files to the effective stack: the tree that `config` prints and `load` types. Nothing is kept afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.record import record
from orchestrator.stack import environment, layers, normal, selection, sound, values
from orchestrator.stack.loader import Loader, Options, Scope
from orchestrator.stack.places import Complaints, Source
from orchestrator.stack.project import Asked, Project, locate
from orchestrator.stack.reading import Reader
from orchestrator.stack.selection import Chosen
from orchestrator.stack.tree import Map, Places


@record
class Effective:
    """One project as it is understood: `tree` in Compose's canonical form, every value with its mark."""

    project: Project
    tree: Map
    chosen: Chosen
    complaints: Complaints
    door: Reader

    @property
    def places(self) -> Places:
        return places(self.project, self.tree)


def places(project: Project, tree: Map) -> Places:
    """The marks of the tree by their paths; what stands nowhere is a matter of the first file as a whole."""
    source = Source(project.files[0], project.files[0])
    for value in tree.marks.values():
        source = value[0]
        break
    return Places(tree, (source, _Start(), _Start()))


class _Mark:
    line = column = 0


class _Start:
    start_mark = _Mark()


def model(asked: Asked, options: Options, complaints: Complaints, door: Reader | None = None) -> Effective:
    """The layered and normalised tree of all files. `door`: the door to them. Raises Mistake."""
    loader = Loader(complaints, options, asked.directory, door or Reader())
    project = locate(asked, loader)
    scope = Scope(project.directory, project.directory, project.variables)
    tree = layers.layered(loader, list(project.files), scope)
    if options.normalize:
        normal.normalize(tree, project.name, project.variables if options.interpolate else {})
    return Effective(project, tree, Chosen(Map()), complaints, loader.door)


def effective(
    asked: Asked,
    options: Options,
    complaints: Complaints,
    services: Sequence[str] = (),
    door: Reader | None = None,
) -> Effective:
    """The whole road: profiles chosen, values in their last form, contradictions found, variables of containers in.

    `services`: named ones are in even where their profile is not active. Raises Mistake with every complaint there is,
    except those about the files of single services, which are left in `complaints` for the caller to raise.
    """
    found = model(asked, options, complaints, door)
    tree, project = found.tree, found.project
    if not isinstance(tree.get("services"), Map):
        tree.put("services", Map(), tree.marks.get("services"))
    tree.put("name", project.name, tree.marks.get("name"))
    values.settle(tree, complaints)
    written = [name for name in project.variables.get("COMPOSE_PROFILES", "").split(",") if name]
    active = asked.profiles or written
    found.chosen = selection.by_profile(tree["services"], active)
    found.chosen.enable(services, active)
    tree["services"] = found.chosen.services
    if options.consistency:
        sound.check(tree, found.chosen, found.places, complaints)
        normal.scale(found.chosen.services)
    home = project.directory if options.resolve_paths else asked.directory  # as Compose: what is not resolved is ours
    files = environment.Files(found.door, home, found.places, complaints)
    if options.resolve_env:
        environment.resolve(tree, project.variables, files)
    environment.labels(tree, files)
    return found
