"""`extends`: a service laid over another one, of the same file or of another (Compose Specification, "extends").

The chain is followed to its end first and merged from there: as long as it may be, it costs no depth.
"""

from __future__ import annotations

import os

from orchestrator.record import fresh, record
from orchestrator.stack import canonical, filling, merge, paths, reset
from orchestrator.stack.loader import Loader, Scope, below
from orchestrator.stack.parse import Document
from orchestrator.stack.places import Complaints, Mark, Path, Place, did_you_mean, dotted
from orchestrator.stack.tree import Map, copied


@record
class _Link:
    """One service of a chain, in its file."""

    name: str
    document: Document
    data: Map

    @property
    def services(self) -> Map:
        services: Map = self.document.data["services"]
        return services

    @property
    def key(self) -> tuple[str, str]:
        return self.document.source.path, self.name


@record
class Extender:
    """Resolves what the services of one document extend; files that are extended are read once."""

    loader: Loader
    scope: Scope
    files: dict[str, Document | None] = fresh(default_factory=dict)

    def apply(self, document: Document) -> None:
        services = document.data.get("services")
        if not isinstance(services, Map):
            return
        for name in list(services):
            if isinstance(services[name], Map) and "extends" in services[name]:
                services[name] = self._resolved(_Link(name, document, services[name]))

    def _resolved(self, link: _Link) -> Map:
        chain = {link.key: link}
        while (following := self._next(link, chain)) is not None:
            chain[following.key] = link = following
        last = chain.popitem()[1]
        data = last.data
        data.drop("extends")
        while chain:
            link = chain.popitem()[1]
            data = self._laid(link, data)
            link.services[link.name] = data
        return data

    def _laid(self, link: _Link, base: Map) -> Map:
        base = copied(base)
        self.loader.grow(base)
        around = Map({"services": Map({link.name: base})})
        reset.apply(around, link.document.resets)
        try:
            data: Map = merge.laid_over(around["services"].get(link.name, Map()), link.data, ("services", link.name))
        except merge.Clash as clash:
            text = "cannot be laid over what it extends: the two have different forms"
            self.loader.complaints.about(link.document.marks, clash.path, text)
            data = link.data
        data.drop("extends")
        return data

    def _next(self, link: _Link, chain: dict[tuple[str, str], _Link]) -> _Link | None:
        """The service that `link`, the last of the chain, extends; None: none, or a complaint says why not."""
        written = link.data.get("extends")
        if written is None:
            return None
        path: Path = ("services", link.name, "extends")
        mark = link.data.marks.get("extends")
        wanted = written if isinstance(written, Map) else {"service": written}
        name, file = wanted.get("service"), wanted.get("file")
        if not isinstance(name, str) or not isinstance(file, str | None):
            self._complain(path, mark, "expected the name of a service, or a map with 'service' and 'file'")
            return None
        document = link.document if file is None else self._file(file, mark)
        if document is None:
            return None
        services = document.data.get("services")
        if not isinstance(services, Map) or name not in services:
            hint = did_you_mean(name, services) if isinstance(services, Map) else ""
            where = f" of {document.source.shown}" if file is not None else ""
            self._complain(path, mark, f"extends '{name}', which is no service{where}{hint}")
            return None
        if not isinstance(services[name], Map):
            return None
        following = _Link(name, document, services[name])
        if following.key in chain:
            circle = [f"{one.name} ({one.document.source.shown})" for one in (*chain.values(), following)]
            self.loader.complaints.broken |= {("services", one.name, "extends") for one in chain.values()}
            self._complain(path, mark, f"the services extend each other in a circle: {' → '.join(circle)}")
            return None
        return following

    def _file(self, file: str, mark: Mark | None) -> Document | None:
        """The file as one document: variables in, short forms long, its paths as seen from here."""
        home = self.scope.variables.get("HOME", "")
        path = paths.joined(self.scope.directory, file, home)
        if path not in self.files:
            self.files[path] = None  # what includes itself while it is read is not there yet
            via = below(self.scope, path, "extended by", mark)
            self.files[path] = self._read(path, via, mark, home)
        return self.files[path]

    def _read(self, path: str, via: tuple[str, ...], mark: Mark | None, home: str) -> Document | None:
        options, complaints = self.loader.options, self.loader.complaints
        whole: Document | None = None
        for document in self.loader.documents(path, via, mark):
            if options.interpolate:
                filling.fill(document, self.scope.variables, complaints)
                filling.cast(document, complaints)
            if whole is None:
                whole = document
            else:
                reset.apply(whole.data, document.resets)
                whole.data = merge.laid_over(whole.data, document.data)
                whole.resets += document.resets
        if whole is not None:
            canonical.lengthen(whole.data, complaints, lenient=not options.interpolate)
            start = os.path.relpath(os.path.dirname(path), self.scope.directory)
            paths.resolve(whole.data, start, home)
        return whole

    def _complain(self, path: Path, mark: Mark | None, text: str) -> None:
        complain(self.loader.complaints, path, mark, text)


def complain(complaints: Complaints, path: Path, mark: Mark | None, text: str) -> None:
    """Say it where the value stands; what was written nowhere has no place."""
    if mark is not None:
        start = mark[2].start_mark
        complaints.add(Place(mark[0], start.line + 1, start.column + 1), f"{dotted(path)}: {text}")
    complaints.broken.add(path)
