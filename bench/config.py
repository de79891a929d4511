"""`python -m bench config`: what reading a stack file costs as a whole process, exploding ones too."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bench import process
from bench.figures import Table, at_most

PYORCH = os.path.join(os.path.dirname(sys.executable), "pyorch")
MEMORY = "its memory (resident, at most)"
SMALL = """services:
  web:
    image: nginx:1.27
    ports: ["8080:80"]
    depends_on:
      api: {condition: service_healthy}
    networks: [front]
  api:
    image: shop/api:3
    command: [serve, --port, "8000"]
    environment:
      DATABASE_URL: postgres://db/shop
      LOG_LEVEL: ${LOG_LEVEL:-info}
    healthcheck:
      test: [CMD, curl, -f, http://localhost:8000/health]
      interval: 10s
    deploy:
      replicas: 2
      resources: {limits: {memory: 256M}}
    networks: [front, back]
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: x}
    volumes: ["data:/var/lib/postgresql/data"]
    networks: [back]
networks:
  front:
  back: {internal: true}
volumes:
  data:
"""


def measure(table: Table) -> None:
    table.head("config -q, whole process")
    with tempfile.TemporaryDirectory(prefix="pyorch-bench-") as room:
        _both(table, "30 lines", 0.15, 120e6, _file(room, [SMALL]))
        _both(table, "5,000 lines, 300 services", 0.6, 120e6, _file(room, [large(300)]))
        table.head("refused, whole process")
        for what, text in EXPLODING.items():
            _both(table, what, 1.0, 200e6, _file(room, text()), code=2)


def large(services: int) -> str:
    """A stack as people write them, seventeen lines a service."""
    head = "name: large\nx-env: &env\n  LOG_LEVEL: info\n  REGION: ${REGION:-eu}\nservices:\n"
    body = "".join(
        f"  s{n}:\n    image: registry.example.com/team/s{n}:1.{n}\n    restart: unless-stopped\n    environment:\n"
        f"      <<: *env\n      NAME: s{n}\n      URL: http://s{max(n - 1, 0)}:8080/path\n    ports:\n"
        f'      - "{20000 + n}:80"\n    volumes:\n      - data{n % 20}:/data\n      - ./conf:/etc/conf:ro\n'
        f'    depends_on: [{f"s{n - 1}" if n else ""}]\n    healthcheck:\n      test: ["CMD", "true"]\n'
        "      interval: 10s\n    stop_grace_period: 30s\n"
        for n in range(services)
    )
    return head + body + "volumes:\n" + "".join(f"  data{n}:\n" for n in range(20))


def _bomb() -> str:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    return text + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)) + SMALL


def _chain() -> str:
    links = "".join(f"  s{n}: {{extends: s{n - 1}, environment: {{A{n}: 1}}}}\n" for n in range(1, 3000))
    return f"services:\n  s0: {{image: x}}\n{links}"


def _long() -> Iterator[str]:
    yield SMALL + "x-long: ["
    for _ in range(22):
        yield "line that says nothing, " * 100_000
    yield "]\n"


# Files that mean more than they say; each has to be refused. The long one is written in pieces.
EXPLODING: dict[str, Callable[[], Iterable[str]]] = {
    "aliases of aliases": _bomb,
    "10,000 levels deep": lambda: f"x-deep: {'[' * 10_000}{']' * 10_000}\n{SMALL}",
    "50 MB": _long,
    "a file that includes itself": lambda: "include: [stack.yaml]\n" + SMALL,
    "services that extend each other": lambda: "services: {a: {extends: b}, b: {extends: a}}\n",
    "3,000 services, each extending the one before": _chain,
    "variables within variables": lambda: f"services: {{a: {{image: '{'${A:-' * 10_000}{'}' * 10_000}'}}}}\n",
}


def _file(room: str, pieces: Iterable[str]) -> Path:
    file = Path(room, "stack.yaml")
    with file.open("w") as out:
        out.writelines([pieces] if isinstance(pieces, str) else pieces)
    return file


def _both(table: Table, what: str, seconds: float, size: float, file: Path, code: int = 0) -> None:
    """The better of five runs: the machine has other work, the program has not."""
    runs = [process.run(PYORCH, "-f", str(file), "config", "-q", code=code) for _ in range(5)]
    table.line(what, at_most(seconds, "ms"), min(run.seconds for run in runs))
    table.line(f"  {MEMORY}", at_most(size, "MB"), min(run.resident for run in runs))
