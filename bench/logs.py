"""Log lines taken in and read back: `python -m bench.logs [MB]` (root). 100 bytes a line, newline included."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time

from bench.figures import Table, at_least, shown
from bench.launcher import Bench, launcher
from orchestrator.runtime import logreader
from orchestrator.stack.model import Limits

LINE = b"x" * 99 + b"\n"

WRITERS = {
    # As the peers' figures were measured: what yes(1) brings, in blocks of a few kB.
    "yes": ("sh", "-c", f"yes {'x' * 99} | head -c {{0}}"),
    # As fast as a program can: 64 kB a write(2), as stdio to a pipe at its best.
    "blocks": (
        "python3", "-c",
        "import os\nblock = (b'x' * 99 + b'\\n') * 655\nfor _ in range({0} // len(block)): os.write(1, block)",
    ),
    # The most that a program can ask of a log: one write(2) a line, and nothing else.
    "lines": ("python3", "-c", "import os\nline = b'x' * 99 + b'\\n'\nfor _ in range({0} // 100): os.write(1, line)"),
}  # fmt: skip


def through_cat(command: tuple[str, ...], size: int) -> float:
    """Bytes a second that the same program brings into a file with cat(1) instead of an engine."""
    with tempfile.NamedTemporaryFile() as file:
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            subprocess.run(["cat"], stdin=writer.stdout, stdout=file, check=True)
        return size / (time.perf_counter() - began)


async def taken_in(table: Table, bench: Bench, name: str, command: tuple[str, ...], size: int) -> None:
    """From start to the exit event, which is sent when the last byte is in the log; nothing may be trimmed."""
    kept = {"org.pyorch.log.max_size": str(1 << 30), "org.pyorch.log.max_files": "8"}
    bench.bundle(name, *command, limits=Limits(), **kept)  # a writer is two programs, and may use two processors
    await bench.each("create", [name])
    began = time.perf_counter()
    await bench.each("start", [name])
    await bench.ended(name)
    seconds = time.perf_counter() - began
    table.line(f"taken in, written by {name} (its start included)", at_least(100e6, "MB/s"), size / seconds)
    table.line("  the same through a pipe into cat > file", shown("MB/s"), through_cat(command, size))
    read_back(table, os.path.join(bench.root.container(name), "log"), size)


def read_back(table: Table, directory: str, size: int) -> None:
    began = time.perf_counter()
    count = whole = 0
    for chunk in logreader.read(directory):
        count += chunk.data.count(b"\n")
        whole += len(chunk.data)
    seconds = time.perf_counter() - began
    assert whole >= size * 0.99, f"only {whole} bytes of {size} are in the log"
    table.line("  read back in chunks", at_least(500_000, "lines/s"), count / seconds)
    began = time.perf_counter()
    count = sum(1 for _ in logreader.lines(logreader.read(directory)))
    table.line("  read back one by one", at_least(500_000, "lines/s"), count / (time.perf_counter() - began))
    began = time.perf_counter()
    tail = sum(chunk.data.count(b"\n") for chunk in logreader.read(directory, tail=100))
    table.line(f"  the last {tail}", shown("ms"), time.perf_counter() - began)


async def measure(table: Table, megabytes: int = 200) -> None:
    table.head("log lines of 100 bytes, the launcher alone")
    async with launcher("host:/") as bench:
        size = megabytes * 1_000_000
        for name, command in WRITERS.items():
            await taken_in(table, bench, name, tuple(word.format(size) for word in command), size)


if __name__ == "__main__":
    table = Table()
    asyncio.run(measure(table, int(sys.argv[1]) if len(sys.argv) > 1 else 200))
    table.end()
