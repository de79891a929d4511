"""`python -m bench config`: what reading a stack file costs as a whole process, exploding ones too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SMALL = """services:
  web:
    image: nginx
    ports: ["8080:80"]
    depends_on: [db]
  db:
    image: postgres
    environment: {POSTGRES_PASSWORD: x}
    volumes: ["data:/var/lib/postgresql/data"]
volumes: {data: }
"""


def main() -> None:
    print(f"{'pyorch config -q, whole process':50} {'at most':>18} {'measured':>24}")
    with tempfile.TemporaryDirectory(prefix="pyorch-bench-") as room:
        _line("ten lines", 0.15, 120, _file(room, SMALL))
        _line("5,000 lines, 300 services", 0.6, 120, _file(room, large(300)))
        for what, text in EXPLODING.items():
            _line(what, 1.0, 200, _file(room, text()))


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


# Files that mean more than they say; each has to be refused. They are made when they are written: what this process
# holds at that moment, the kernel counts for its child.
EXPLODING: dict[str, Callable[[], str]] = {
    "aliases of aliases": _bomb,
    "10,000 levels deep": lambda: f"x-deep: {'[' * 10_000}{']' * 10_000}\n{SMALL}",
    "50 MB": lambda: SMALL + "x-long: [" + "line that says nothing, " * 2_200_000 + "]\n",
    "a file that includes itself": lambda: "include: [stack.yaml]\n" + SMALL,
    "services that extend each other": lambda: "services: {a: {extends: b}, b: {extends: a}}\n",
    "3,000 services, each extending the one before": _chain,
    "variables within variables": lambda: f"services: {{a: {{image: '{'${A:-' * 10_000}{'}' * 10_000}'}}}}\n",
}


def _file(room: str, text: str) -> Path:
    file = Path(room, "stack.yaml")
    file.write_text(text)
    return file


def _line(what: str, seconds: float, megabytes: int, file: Path) -> None:
    took, used = min(_measured(file) for _ in range(5))
    print(f"{what:50} {seconds:7.2f} s {megabytes:5} MB {took:12.3f} s {used / 1e6:6.1f} MB", flush=True)


def _measured(file: Path) -> tuple[float, int]:
    """(seconds, bytes) of one run."""
    program = os.path.join(os.path.dirname(sys.executable), "pyorch")
    began = time.monotonic()
    process = subprocess.Popen([program, "-f", file, "config", "-q"], stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.monotonic() - began, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
