"""Variables of containers: bare names take the caller's value, env_file and label_file go into their maps."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from orchestrator.record import frozen
from orchestrator.stack.places import Complaints, Path, Source, shown_name
from orchestrator.stack.reading import Reader
from orchestrator.stack.scalars import words
from orchestrator.stack.tree import List, Map, Places

CONTENT = "x-#content"  # key of what a config or secret says, beside its `environment`; never printed


def bare(tree: Map, variables: Mapping[str, str]) -> None:
    """Where the project has a value: ["NAME"] → ["NAME=value"], and a config or secret from the environment gets its
    content. An included project has variables of its own, so that this cannot wait."""
    for _, service in _maps(tree, "services"):
        listed = service.get("environment")
        if isinstance(listed, List):
            for index, item in enumerate(listed):
                if isinstance(item, str) and item in variables:
                    listed[index] = f"{item}={variables[item]}"
    for kind in ("configs", "secrets"):
        for _, thing in _maps(tree, kind):
            name = thing.get("environment")
            if isinstance(name, str) and name in variables:
                thing.setdefault(CONTENT, variables[name])


def _maps(tree: Map, kind: str) -> Iterator[tuple[str, Map]]:
    things = tree.get(kind)
    for name, thing in things.items() if isinstance(things, Map) else ():
        if isinstance(thing, Map):
            yield name, thing


def resolve(tree: Map, variables: Mapping[str, str], files: Files) -> None:
    """Put into each service's `environment` what its env files say, and the caller's values for bare names."""
    for name, service in _maps(tree, "services"):
        result: Map = Map()
        written: Any = service.get("environment")
        path: Path = ("services", name, "env_file")
        items: List = service.get("env_file") or List()
        own = written if isinstance(written, Map) else Map()
        seen = {key: words(value) for key, value in own.items() if value is not None} | dict(variables)
        for index, (item, mark) in enumerate(items.pairs()):
            for key, value in files.read(item, (*path, index), seen, "env file", earlier=result).items():
                result.put(key, value, mark)
        for key, value in own.items():
            result.put(key, variables.get(key) if value is None else words(value), written.marks.get(key))
        service.drop("env_file")
        if result or written is not None:
            service.put("environment", result, service.marks.get("environment"))


def labels(tree: Map, files: Files) -> None:
    """Put into each service's `labels` what its label files say; written ones win."""
    for name, service in _maps(tree, "services"):
        if not (items := service.get("label_file")):
            continue
        result = Map()
        for index, (file, mark) in enumerate(items.pairs()):
            if file is None:  # taken out, with a complaint
                continue
            path: Path = ("services", name, "label_file", index)
            for key, value in files.read({"path": file}, path, {}, "label file").items():
                result.put(key, value, mark)
        own: Map = service.get("labels") or Map()
        for key, value in own.items():
            result.put(key, value, own.marks.get(key))
        service.put("labels", result, service.marks.get("labels"))
        service.drop("label_file")


@frozen
class Files:
    """Reads the files that services name. `home`: where their paths start, and the messages that name them."""

    door: Reader
    home: str
    places: Places
    complaints: Complaints

    def read(
        self,
        item: Mapping[str, Any],
        path: Path,
        seen: Mapping[str, str],
        what: str,
        earlier: Mapping[str, str] = MappingProxyType({}),
    ) -> Mapping[str, str]:
        """The variables of one file; none where a complaint says why. `seen`: what its values may name; `earlier`: what
        they may name besides, where neither that nor the file's own lines above have it."""
        from orchestrator.stack import dotenv  # few services name such a file, and its patterns take time

        file = os.path.join(self.home, item["path"])
        try:
            text = self.door.read(file, dotenv.LONGEST + 1).decode("utf-8-sig")
            if len(text) > dotenv.LONGEST:
                raise ValueError(f"it has more than {dotenv.LONGEST} characters")
        except FileNotFoundError:
            if item.get("required") is not False:
                way_out = "; make it, or write required: false beside path" if what == "env file" else ""
                self.say(path, f"{what} {file} does not exist{way_out}")
            return {}
        except OSError as error:
            return self.say(path, f"cannot read {what} {file}: {(error.strerror or str(error)).lower()}")
        except ValueError as error:  # UnicodeDecodeError is one
            reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
            return self.say(path, f"cannot read {what}: {reason}")
        if (kind := item.get("format")) not in (None, "", "raw"):
            return self.say((*path, "format"), f"expected the format 'raw', but found {kind!r}")
        source = Source(file, shown_name(file, self.home), tuple(text.split("\n")))
        return dotenv.parse(text, source, seen, self.complaints, raw=kind == "raw", earlier=earlier)

    def say(self, path: Path, text: str) -> Mapping[str, str]:
        self.complaints.about(self.places, path, text)
        return {}
