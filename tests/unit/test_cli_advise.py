"""The advice written into the stack file: where the reservation stands, with the file's comments, mode and links."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.agent.capacity import suits
from orchestrator.cli.advise import change
from orchestrator.stack.load import load

TEXT = """\
name: adv   # ours
services:
  new: {image: "host:/", deploy: {resources: {reservations: {memory: 900M}}}}  # flow
  old:
    image: host:/
    mem_reservation: 800M   # the older word
  both:
    image: host:/
    mem_reservation: 700M
    deploy: {resources: {reservations: {memory: 700M}}}
"""


def row(service: str) -> dict[str, Any]:
    return {"Service": service, "Advice": {"cpus": 0.5, "memory": 64 << 20}}


def test_the_older_word_of_a_reservation_is_changed_where_it_stands(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "stack.yaml"
    real.write_text(TEXT)
    real.chmod(0o640)
    link.symlink_to(real)
    patch = change(str(link), [row("new"), row("old"), row("both")], write=True)
    assert "+    mem_reservation: 64M   # the older word" in patch.splitlines()
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640
    written = load([str(link)], directory=str(tmp_path), environment={})
    asked = {name: (one.reservations.cpus, one.reservations.memory) for name, one in written.services.items()}
    assert asked == dict.fromkeys(("new", "old", "both"), (0.5, 64 << 20))
    assert [line.partition("#")[2] for line in real.read_text().splitlines() if "#" in line] == [
        " ours",
        " flow",
        " the older word",
    ]
    assert change(str(link), [row("new"), row("old"), row("both")], write=True) == ""


def test_no_more_than_its_limit_is_advised() -> None:
    assert suits(0.1, 0.25, 0.2) == 0.2
    assert suits(0.1, 0.25) == 0.25
    assert suits(0.2, 0.25, 0.2) is None
