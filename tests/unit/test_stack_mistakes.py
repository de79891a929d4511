"""A random mistake put into a good file is found, and the message names its line."""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import random
import re
from typing import Any

import pytest
from mutations import MUTATIONS, File, Mutant, read

from orchestrator.errors import Mistake
from orchestrator.stack.effective import effective
from orchestrator.stack.load import load
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked
from orchestrator.stack.reference import entries

SHARED = pathlib.Path(os.environ.get("PYORCH_SHARED", pathlib.Path(__file__).parents[3] / "shared"))
ENTRIES = list(entries())
REAL = SHARED / "compose-cases/real-world"

GOOD = """
name: shop
x-note: &usual
  restart: unless-stopped
  logging: {driver: local, options: {max-size: 10m}}

services:
  web:
    <<: *usual
    image: registry.example.com/web:1.4
    container_name: shop-web
    pull_policy: missing
    hostname: web
    ports:
      - "8080:80"
      - "127.0.0.1:8443:443/tcp"
      - target: 9000
        published: "9000"
    environment:
      URL: http://api:8000
      DEBUG: "false"
    volumes:
      - data:/var/lib/web
      - /etc/hosts:/etc/hosts.host:ro
    networks: [front, back]
    depends_on:
      api:
        condition: service_healthy
      db:
        condition: service_started
    secrets:
      - password
    configs:
      - source: settings
        target: /etc/web.conf
    deploy:
      replicas: 1
      resources:
        limits: {cpus: "0.5", memory: 256M}
      restart_policy:
        delay: 5s
    stop_grace_period: 30s
    ulimits:
      nofile: 1024
    mem_limit: 256m
    shm_size: 64m
    privileged: false
  api:
    image: api:2
    command: ["python3", "-m", "api"]
    expose: ["8000"]
    user: "1000:1000"
    read_only: true
    cap_add: [NET_BIND_SERVICE]
    healthcheck:
      test: [CMD, curl, -f, http://localhost:8000]
      interval: 5s
      timeout: 3s
      retries: 5
      start_period: 10s
    networks:
      back:
        aliases: [backend]
    depends_on:
      - db
    labels:
      - com.example.owner=api
  db:
    image: postgres:16
    volumes:
      - type: volume
        source: data
        target: /data
    scale: 1
    networks:
      - back

networks:
  front:
  back:
    internal: true
volumes:
  data: {}
secrets:
  password:
    file: /etc/hostname
configs:
  settings:
    content: |
      debug: false
"""


def lines_blamed(text: str, home: pathlib.Path, folder: pathlib.Path) -> list[int]:
    """The lines that the messages about the file name; empty where nothing is wrong with it."""
    (folder / "stack.yaml").write_text(text)
    return _blamed(home, folder, "stack.yaml")


def _blamed(home: pathlib.Path, folder: pathlib.Path, *names: str) -> list[int]:
    """The lines of stack.yaml that are blamed when the files are read together."""
    files = [str(folder / name) for name in names]
    asked = Asked(directory=str(folder), environment={}, files=files, project_directory=str(home), profiles=["*"])
    complaints = Complaints()
    try:
        effective(asked, Options(), complaints)
        complaints.raise_if_any()
    except Mistake as error:
        places = [re.match(r"(?:.*/)?stack\.yaml:(\d+):\d+: ", text) for text in error.complaints]
        assert all(place or "stack.yaml" not in text for place, text in zip(places, error.complaints, strict=True))
        return [int(place[1]) for place in places if place] or [0]
    return []


def is_found(file: File, mutant: Mutant, home: pathlib.Path, folder: pathlib.Path) -> str:
    """ "" or what went wrong."""
    blamed = lines_blamed("\n".join(mutant.lines), home, folder)
    if mutant.blamed & {*blamed}:
        return ""
    line = min(mutant.blamed)
    return f"{mutant.what} on line {line} ({mutant.lines[line - 1].strip()}): blamed {blamed or 'nobody'}"


def test_the_good_file_is_good(tmp_path: pathlib.Path) -> None:
    assert lines_blamed(GOOD, tmp_path, tmp_path) == []


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_is_found_on_its_line(tmp_path: pathlib.Path, mistake: str) -> None:
    file = read(GOOD)
    assert file
    made = [mutant for seed in range(20) if (mutant := MUTATIONS[mistake](file, random.Random(seed)))]
    assert made, "this mistake can nowhere be made in the good file"
    distinct = {"\n".join(mutant.lines): mutant for mutant in made}.values()
    assert [wrong for mutant in distinct if (wrong := is_found(file, mutant, tmp_path, tmp_path))] == []


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the recorded real-world cases are not beside this checkout")
def test_mistakes_in_real_projects_files_are_found_on_their_lines(tmp_path: pathlib.Path) -> None:
    """A mistake of each kind in every seventh file that is good as it stands."""
    chance = random.Random(7)
    tried, missed = 0, []
    for path in sorted(REAL.glob("*/in/**/*.y*ml"))[::7]:
        text = path.read_text(encoding="utf-8", errors="replace")
        file = read(text)
        if file is None or "extends:" in text or "include:" in text or lines_blamed(text, path.parent, tmp_path):
            continue
        for mistake in MUTATIONS.values():
            if mutant := mistake(file, chance):
                tried += 1
                if wrong := is_found(file, mutant, path.parent, tmp_path):
                    missed.append(f"{path.parts[-3]}: {wrong}")
    assert tried > 200
    assert missed == []


def test_an_unset_variable_is_told_of_once_and_a_mistake_where_strict(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "stack.yaml"
    file.write_text('services:\n  web: {image: "web:$NOPE"}\n  db: {image: "db:$NOPE$OTHER"}\n')
    stack = load([str(file)], directory=str(tmp_path), environment={})
    assert [warning.partition(": ")[2] for warning in stack.warnings] == [
        "services.web.image: variable NOPE is not set: taken as empty",
        "services.db.image: variable OTHER is not set: taken as empty",
    ]
    with pytest.raises(Mistake) as caught:
        load([str(file)], directory=str(tmp_path), environment={}, strict=True)
    assert [text.partition("\n")[0] for text in caught.value.complaints] == [
        "stack.yaml:2:16: services.web.image: variable NOPE is not set; set it, or write ${NOPE-} for an empty one",
        "stack.yaml:3:15: services.db.image: variable OTHER is not set; set it, or write ${OTHER-} for an empty one",
    ]


def test_what_is_not_obeyed_is_refused_or_left_out_with_a_warning(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "stack.yaml"
    volumes = "[{type: npipe, source: x, target: /x}, ./:/here]"
    file.write_text(f"services:\n  web: {{image: 'host:/', volumes: {volumes}}}\n")
    with pytest.raises(Mistake, match="'type: npipe' is part of the Compose Specification but pyorch does not obey it"):
        load([str(file)], directory=str(tmp_path), environment={})
    stack = load([str(file)], directory=str(tmp_path), environment={}, lenient=True)
    assert [mount.target for mount in stack.services["web"].mounts] == ["/here"]
    assert len(stack.warnings) == 1
    assert stack.warnings[0].endswith("pyorch does not obey it yet: left out (--compat=warn)")


def test_a_mistake_in_an_included_or_extended_file_names_the_way_to_it(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_text(
        "include:\n  - more.yaml\nservices:\n  web:\n    extends: {file: base.yaml, service: base}\n"
    )
    (tmp_path / "more.yaml").write_text("services:\n  other: {image: x, imagee: y}\n")
    (tmp_path / "base.yaml").write_text("services:\n  base:\n    image: x\n    restrat: always\n")
    with pytest.raises(Mistake) as caught:
        load([str(tmp_path / "stack.yaml")], directory=str(tmp_path), environment={})
    said = sorted(caught.value.complaints)
    assert said[0].startswith("base.yaml:4:5: ") and "extended by stack.yaml:5" in said[0]
    assert said[1].startswith("more.yaml:2:21: ") and "included by stack.yaml:2" in said[1]


KINDS: tuple[object, ...] = (None, "foo", "5", 5, -1, 1.5, True, [], ["a"], [1], [None], {}, {"a": "b"}, {"a": None})


def _with(path: str, value: object) -> dict[str, Any]:
    """A small stack with `value` at the key, and maps and lists of one element on the way to it."""
    whole: dict[str, Any] = {"services": {"web": {"image": "host:/"}}}
    here: Any = whole
    steps: list[str | int] = []
    for step in path.replace("[]", ".[]").split("."):
        steps.append(0 if step == "[]" else "web" if step == "*" else step)
    for step, after in itertools.pairwise(steps):
        below: Any = [{}] if after == 0 else {}
        if isinstance(step, str):
            here = here.setdefault(step, below)
        else:
            here[step] = here[step] or below
            here = here[step]
    here[steps[-1]] = value
    return whole


@pytest.mark.slow
def test_a_value_of_any_kind_at_any_key_is_understood_or_refused(tmp_path: pathlib.Path) -> None:
    """It never ends in an error of ours."""
    chance, file = random.Random(3), tmp_path / "stack.yaml"
    for path in ENTRIES:
        for value in chance.sample(KINDS, 2):
            file.write_text(json.dumps(_with(path, value)))
            try:
                load([str(file)], directory=str(tmp_path), environment={}, lenient=True)
            except Mistake as error:
                assert error.complaints
            except Exception as error:
                raise AssertionError(f"{path}: {value!r}: {error!r}") from error


@pytest.mark.parametrize("way", ["laid over another file", "included"])
def test_a_mistake_is_found_in_a_file_that_is(tmp_path: pathlib.Path, way: str) -> None:
    (tmp_path / "base.yaml").write_text(GOOD)
    (tmp_path / "main.yaml").write_text("include: [stack.yaml]\nservices: {extra: {image: x}}\n")
    before = ["base.yaml", "stack.yaml"] if way == "laid over another file" else ["main.yaml"]
    file, wrong = read(GOOD), []
    assert file
    for mistake in MUTATIONS.values():
        for seed in range(2):
            mutant = mistake(file, random.Random(seed))
            if mutant is None or mutant.what.startswith("environment: "):  # over a map, Compose makes nothing of a text
                continue
            (tmp_path / "stack.yaml").write_text("\n".join(mutant.lines))
            if not mutant.blamed & {*_blamed(tmp_path, tmp_path, *before)}:
                wrong.append(mutant.what)
    assert wrong == []
