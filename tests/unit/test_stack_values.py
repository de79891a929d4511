"""What is done with a finished Stack: kept, written out, drawn; and the tables that guard the language."""

from __future__ import annotations

import itertools
import json
import pathlib
import pickle
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from orchestrator.errors import Mistake
from orchestrator.stack import config, graph, schema, store
from orchestrator.stack.load import load
from orchestrator.stack.loader import Options
from orchestrator.stack.model import Service, Stack
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked
from tests.effort import examples

SHOP = """
name: shop
x-pyorch: {publish: any}
x-note: {kept: [1, 2.5, {a: null}]}
services:
  web:
    image: host:/
    command: [sh, -c, "echo $$HOME"]
    environment: {A: 1}
    ports: ["8080:80", "90"]
    depends_on: {api: {condition: service_healthy, restart: true}, migrate: {condition: service_completed_successfully}}
    restart: on-failure:3
    stop_grace_period: 1m
  api:
    image: host:/
    healthcheck: {test: [CMD, "true"], interval: 1s}
    depends_on: [db]
    deploy:
      replicas: 2
      resources: {limits: {cpus: 0.5, memory: 64M, pids: 9}, reservations: {memory: 32M, cpus: 0.1}}
      restart_policy: {condition: on-failure, delay: 1s, window: 2s, max_attempts: 4}
    networks: {default: , back: {aliases: [a], priority: 1}}
  migrate: {image: host:/, depends_on: [db], healthcheck: {disable: true}}
  db:
    image: host:/
    networks: [back]
    volumes: ["data:/d:ro",
      {type: bind, source: /, target: /b}, {type: tmpfs, target: /t, tmpfs: {size: 5, mode: 0700}}]
    read_only: true
    init: true
    cap_drop: [ALL]
    labels: {x: y}
networks: {back: {internal: true, ipam: {config: [{subnet: 10.1.0.0/24}]}}}
volumes: {data: {labels: {a: b}}}
"""


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> Stack:
    (tmp_path / "stack.yaml").write_text(SHOP)
    return load(["stack.yaml"], directory=str(tmp_path), environment={})


def test_a_kept_stack_comes_back_equal(shop: Stack) -> None:
    assert store.from_json(store.to_json(shop)) == shop
    assert pickle.loads(pickle.dumps(shop)) == shop


def written_out(directory: pathlib.Path, format: Any) -> str:
    asked = Asked(str(directory), {}, ["stack.yaml"])
    return config.text(("", ""), asked, Options(), Complaints(), (), format=format)


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_stack_written_out_means_the_same(shop: Stack, tmp_path: pathlib.Path, format: Any) -> None:
    (tmp_path / "again.yaml").write_text(written_out(tmp_path, format))
    again = load(["again.yaml"], directory=str(tmp_path), environment={})
    assert again.services == shop.services
    assert (again.networks, again.volumes, again.extensions) == (shop.networks, shop.volumes, shop.extensions)


def test_a_stack_is_written_in_composes_long_forms(shop: Stack, tmp_path: pathlib.Path) -> None:
    written = json.loads(written_out(tmp_path, "json"))
    assert written["services"]["web"]["ports"][0] == {
        "mode": "ingress",
        "target": 80,
        "published": "8080",
        "protocol": "tcp",
    }
    assert written["services"]["web"]["command"] == ["sh", "-c", "echo $$HOME"]
    assert written["services"]["migrate"]["depends_on"] == {"db": {"condition": "service_started", "required": True}}
    assert written["networks"]["default"] == {"name": "shop_default", "ipam": {}}
    assert [*written["services"]] == ["api", "db", "migrate", "web"]


def test_services_start_in_levels(shop: Stack) -> None:
    assert graph.order(shop.services) == [("db",), ("api", "migrate"), ("web",)]
    assert graph.dependents(shop.services, "db") == ("api", "migrate", "web")
    assert graph.needs(shop.services, "web") == ("api", "db", "migrate")
    assert graph.critical_path(shop.services, {"migrate": 5.0}) == ("db", "migrate", "web")


def test_the_graph_is_drawn_as_a_tree_as_dot_and_as_mermaid(shop: Stack) -> None:
    assert graph.text(shop.services) == (
        "web\n├─ api (healthy)\n│  └─ db (started)\n└─ migrate (completed)\n   └─ db (started)\n"
    )
    assert 's3 -> s0 [label="healthy"];' in graph.drawing(shop.services, "dot")
    assert "s3 -->|healthy| s0" in graph.drawing(shop.services, "mermaid")


@given(some.dictionaries(some.sampled_from("abcdef"), some.sets(some.sampled_from("abcdef"), max_size=3), min_size=1))
def test_a_cycle_is_found_exactly_where_networkx_finds_one(waits: dict[str, set[str]]) -> None:
    import networkx

    from orchestrator.stack.model import Dependency

    services = {
        name: Service(name, "host:/", depends_on={key: Dependency() for key in keys}) for name, keys in waits.items()
    }
    found = graph.cycle(graph.edges(services))
    assert (found is None) == networkx.is_directed_acyclic_graph(graph.digraph(services))
    if found:
        assert found[0] == found[-1]
        assert all(need in services[name].depends_on for name, need in itertools.pairwise(found))


_WORDS = [
    *schema.filled()["properties"],
    *schema.filled()["$defs"]["service"]["properties"],
    "test",
    "target",
    "type",
    "source",
]
_SCALARS = (
    some.none()
    | some.booleans()
    | some.integers(-5, 70_000)
    | some.floats(allow_nan=False, allow_infinity=False)
    | some.sampled_from(
        ["", "web", "db", "80:80", "./x:/y", "data:/d", "1s", "64M", "host:/", "${X:-y}", "$", "bind", "a=b", "é\t"]
    )
)
_VALUES = some.recursive(
    _SCALARS,
    lambda inner: (
        some.lists(inner, max_size=3) | some.dictionaries(some.sampled_from([*_WORDS, "web", "x-y"]), inner, max_size=4)
    ),
    max_leaves=8,
)
_SERVICES = some.dictionaries(
    some.sampled_from(["web", "db", "api"]),
    some.dictionaries(some.sampled_from(_WORDS), _VALUES, max_size=6) | _VALUES,
    max_size=3,
)


@settings(
    max_examples=examples(80),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    some.fixed_dictionaries(
        {"services": _SERVICES}, optional=dict.fromkeys(("networks", "volumes", "x-pyorch"), _VALUES)
    )
)
def test_whatever_is_written_the_answer_is_a_stack_or_a_mistake_with_a_place(
    tmp_path: pathlib.Path, words: Any
) -> None:
    (tmp_path / "stack.yaml").write_text(yaml.safe_dump(words, allow_unicode=True))
    try:
        stack = load(["stack.yaml"], directory=str(tmp_path), environment={})
    except Mistake as mistake:
        assert all(complaint.startswith("stack.yaml:") for complaint in mistake.complaints)
    else:
        assert store.from_json(store.to_json(stack)) == stack


def test_a_file_without_mistakes_needs_neither_jsonschema_nor_networkx(shop: Stack, tmp_path: pathlib.Path) -> None:
    program = (
        "import sys; from orchestrator.stack.load import load; from orchestrator.stack import graph;"
        f"graph.order(load(['stack.yaml'], directory={str(tmp_path)!r}, environment={{}}).services);"
        "print(sorted({'jsonschema', 'networkx'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_size_of_nothing_is_no_limit_and_a_label_is_taken_for_volumes_too(tmp_path: pathlib.Path) -> None:
    text = "services: {a: {image: 'host:/', command: x, mem_limit: '0', volumes: ['vol:/v:z'], shm_size: 0}}\n"
    (tmp_path / "stack.yaml").write_text(text + "volumes: {vol: }\n")
    service = load(None, directory=str(tmp_path), environment={}).services["a"]
    assert service.limits.memory is None and service.sandbox.shm_size is None
    assert [mount.kind for mount in service.mounts] == ["volume"]
