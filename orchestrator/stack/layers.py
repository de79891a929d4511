"""One project's files, laid over each other to one tree: the stages of the road, in their order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.stack import canonical, environment, extends, filling, include, merge, paths, reset, schema, unique
from orchestrator.stack.loader import Loader, Scope
from orchestrator.stack.parse import Document
from orchestrator.stack.places import Path, dotted
from orchestrator.stack.rules import obey
from orchestrator.stack.tree import List, Map


def layered(loader: Loader, files: list[str], scope: Scope) -> Map:
    """The tree of the files, later ones over earlier ones: short forms long, paths as its includer sees them."""
    whole: Document | None = None
    for path in files:
        for document in loader.documents(path, scope.via):
            whole = _over(loader, whole, document, scope)
    if whole is None:
        loader.complaints.raise_if_any()
        return Map()
    canonical.defaults(whole.data)
    obey(whole, loader.complaints)
    if scope.way or loader.options.resolve_paths:
        paths.resolve(whole.data, scope.start, scope.variables.get("HOME", ""))
    environment.bare(whole.data, scope.variables if loader.options.interpolate else {})
    return whole.data


def _over(loader: Loader, whole: Document | None, document: Document, scope: Scope) -> Document:
    options, complaints = loader.options, loader.complaints
    if options.interpolate:
        filling.fill(document, scope.variables, complaints)
        filling.cast(document, complaints)
    extends.Extender(loader, scope).apply(document)
    if whole is not None:
        reset.apply(whole.data, document.resets)
    include.apply(loader, document, scope, layered)
    if whole is None:
        whole = document
    else:
        try:
            whole.data = merge.laid_over(whole.data, document.data)
        except merge.Clash as clash:
            text = "cannot be laid over what stands below it: the two have different forms"
            complaints.about(document.marks, clash.path, text)
    unique.unify(whole.data)
    _validate(whole, loader)
    canonical.lengthen(whole.data, complaints, lenient=not options.interpolate)
    unique.unify(whole.data)
    canonical.tidy(whole.data)
    return whole


def _validate(whole: Document, loader: Loader) -> None:
    """The schema's yes or no; only where it is no, the slow part with the better words is called."""
    filled = loader.options.interpolate
    if not schema.fits(whole.data, filled=filled):
        from orchestrator.stack.explain import explain

        before = loader.complaints.taken.copy()
        explain(whole if filled else filling.with_stand_ins(whole), loader.complaints)
        _without_holes(whole.data, loader.complaints.taken - before)
    if "version" in whole.data:
        mark = whole.data.marks.get("version")
        if mark:
            shown = f"{mark[0].shown}:{mark[1].start_mark.line + 1}"
            loader.complaints.warnings[f"{shown}: {dotted(('version',))}: is obsolete and ignored; remove it"] = None
        whole.data.drop("version")


def _without_holes(tree: Map, broken: Iterable[Path]) -> None:
    """What was wrong has been taken out; of a list it has left nothing in its place."""
    for path in broken:
        branch: Any = tree
        for step in path:
            if isinstance(step, int):
                break
            branch = branch.get(step) if isinstance(branch, Map) else None
        if isinstance(branch, List):
            kept = [pair for pair in branch.pairs() if pair[0] is not None]
            branch[:] = [item for item, _ in kept]
            branch.marks[:] = [mark for _, mark in kept]
