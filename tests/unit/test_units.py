"""Amounts as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestrator import units


@pytest.mark.parametrize(
    ("word", "amount"),
    [
        ("0", 0),
        (1048576, 1048576),
        ("100b", 100),
        ("1k", 1024),
        ("2kb", 2048),
        ("2KiB", 2048),
        ("3m", 3 << 20),
        ("512M", 512 << 20),
        ("512Mi", 512 << 20),
        ("1.5g", 3 << 29),
        (".5G", 1 << 29),
        ("1 GB", 1 << 30),
        ("1t", 1 << 40),
    ],
)
def test_a_size_is_read_in_bytes(word: str | int, amount: int) -> None:
    assert units.size(word) == amount


@pytest.mark.parametrize("word", ["", "-1", -1, "x", "1x", "1ii", "5i", "1.2.3m", "m", True])
def test_what_is_no_size_is_refused(word: str | int) -> None:
    with pytest.raises(ValueError, match="size"):
        units.size(word)


@pytest.mark.parametrize(
    ("word", "seconds"),
    [
        ("30s", 30),
        ("1h30m", 5400),
        ("1m30.5s", 90.5),
        ("100ms", 0.1),
        ("250us", 0.00025),
        ("5ns", 5e-9),
        ("2d", 172800),
        ("0", 0),
        (0, 0),
    ],
)
def test_a_duration_is_read_in_seconds(word: str | int, seconds: float) -> None:
    assert units.duration(word) == pytest.approx(seconds)


@pytest.mark.parametrize("word", ["", "30", 30, "1m30", "s", "-5s", "5 s", "1x"])
def test_what_is_no_duration_is_refused(word: str | int) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.duration(word)


def test_a_number_without_unit_is_answered_with_what_was_probably_meant() -> None:
    with pytest.raises(ValueError, match="did you mean '30s'"):
        units.duration(30)


@pytest.mark.parametrize(("word", "cores"), [("0.5", 0.5), (2, 2), ("250m", 0.25), (1.5, 1.5), (".5", 0.5)])
def test_cpus_are_read_in_cores(word: str | float, cores: float) -> None:
    assert units.cpus(word) == cores


@pytest.mark.parametrize("word", ["", "half", "-1", -0.5, "1k", True])
def test_what_is_no_number_of_cpus_is_refused(word: str | float) -> None:
    with pytest.raises(ValueError, match="cpus"):
        units.cpus(word)


@pytest.mark.parametrize(
    ("amount", "word"), [(0, "0B"), (100, "100B"), (1024, "1K"), (1536, "1.5K"), (512 << 20, "512M"), (3 << 29, "1.5G")]
)
def test_bytes_are_written_shortly(amount: int, word: str) -> None:
    assert units.human_bytes(amount) == word


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(0, "0s"), (0.1, "100ms"), (1.5, "1.5s"), (90, "1m30s"), (5400, "1h30m"), (3600, "1h"), (-5, "-5s")],
)
def test_seconds_are_written_shortly(seconds: float, word: str) -> None:
    assert units.human_seconds(seconds) == word


@given(some.integers(0, 10**9))
def test_a_written_duration_is_read_back(milliseconds: int) -> None:
    assert units.duration(units.human_seconds(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(some.integers(0, 1 << 50))
def test_a_written_size_is_read_back_nearly(amount: int) -> None:
    assert units.size(units.human_bytes(amount)) == pytest.approx(amount, rel=0.051)
