"""What `pyorch doctor` shows: every row has what was found, and a fix where that is not enough."""

from __future__ import annotations

from orchestrator.kernel.features import features


def test_every_feature_is_told_once_and_a_missing_one_has_its_fix() -> None:
    rows = features()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.found for row in rows)
    assert all(bool(row.fix) is not row.ok for row in rows)
