"""YAML as Compose reads it, variables, and `.env`."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import Mistake
from orchestrator.stack import dotenv, parse, text
from orchestrator.stack.interpolation import Malformed, interpolate
from orchestrator.stack.places import Complaints, Source

VALUES = {"A": "apple", "EMPTY": "", "N": "7"}


def data(yaml: str) -> dict[str, Any]:
    complaints = Complaints()
    source, roots = text.compose(yaml.encode(), Source("/stack.yaml", "stack.yaml"), complaints)
    complaints.raise_if_any()
    (root,) = roots
    document = parse.read(source, root, complaints)
    complaints.raise_if_any()
    return document.data


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("22:22", "22:22"),
        ("on", "on"),
        ("NO", "NO"),
        ("y", "y"),
        ("=", "="),
        ("017", 15),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("-5", -5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("08", 8.0),
        (".inf", float("inf")),
        ("1e999", "1e999"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'5'", "5"),
        ('"true"', "true"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        ("99999999999999999999", 1e20),
    ],
)
def test_a_scalar_is_read_as_compose_reads_it(word: str, value: object) -> None:
    if word == "-":
        word = "'-'"
    read = data(f"a: {word}\n")["a"]
    assert (read, type(read)) == (value, type(value))


def test_own_keys_win_over_merged_ones_and_the_first_merged_map_over_the_second() -> None:
    read = data("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b], y: 3}\nd: {<<: *a}\n")
    assert read["c"] == {"x": 1, "y": 3, "z": 2}
    assert read["d"] == {"x": 1, "y": 1}


def test_a_merge_may_itself_merge() -> None:
    assert data("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\n")["c"] == {"x": 1, "y": 2}


def test_a_byte_order_mark_and_windows_line_ends_are_nothing_special() -> None:
    assert data("\ufeffa: 1\r\nb: 2\r\n") == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("yaml", "why"),
    [
        ("a: [" + "1," * text.MOST + "]\n", "stack.yaml: refused: more than 500000 values"),
        ("a:\n" + "- [ ]\n" * (text.MOST // 2), "stack.yaml: refused: more than 500000 values"),
        ("a: 1\n---\n" * 1001, "stack.yaml:2001:1: refused: more than 1000 documents"),
        ("#" + " " * text.LARGEST, "stack.yaml: is larger than 6 MiB"),
    ],
    ids=["values", "lists", "documents", "letters"],
)
def test_what_no_stack_file_is_as_large_as_is_refused_before_it_is_read(yaml: str, why: str) -> None:
    with pytest.raises(Mistake) as refused:
        data(yaml)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("$A", "apple"),
        ("${A}", "apple"),
        ("x${A}y$N", "xappley7"),
        ("$$A $${A}", "$A ${A}"),
        ("${NOPE}", ""),
        ("${NOPE:-d}", "d"),
        ("${NOPE-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY-d}", ""),
        ("${A:-d}", "apple"),
        ("${A:+other}", "other"),
        ("${EMPTY:+other}", ""),
        ("${EMPTY+other}", "other"),
        ("${NOPE+other}", ""),
        ("${A:?needed}", "apple"),
        ("${EMPTY?needed}", ""),
        ("${NOPE:-${EMPTY:-${N}}}", "7"),
        ("${NOPE:-a}b}", "ab}"),
        ("${NOPE:-{{}x}{}$", "{{}x{}$"),
        ("${NOPE:-{{{} x", "{{{ x"),
        ("${A:-${NOPE:-never asked}}", "apple"),
        ("$(date) 100$ $1 $}", "$(date) 100$ $1 $}"),
        ('${NOPE:-{"a":{"b":1}}}', '{"a":{"b":1}}'),
        ("${NOPE:-http://x:80/?q=1}", "http://x:80/?q=1"),
        ("{not} a variable}", "{not} a variable}"),
    ],
)
def test_variables_are_filled_in(before: str, after: str) -> None:
    assert interpolate(before, VALUES, lambda _: None) == after


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("${NOPE:?say which}", "required variable NOPE is not set: say which"),
        ("${EMPTY:?}", "required variable EMPTY is empty"),
        ("${A:-${NOPE:?asked all the same}}", "required variable NOPE"),
        ("${A", "never closed"),
        ("${A!b}", "expected '}'"),
        ("${A:-b\nc}", "missing on its line"),
        ("${A:-b", "never closed"),
        ("${1}", "a name must follow"),
        ("${A:-" * 60 + "}" * 60, "nested deeper"),
        ("${A:-" * 100_000 + "}" * 100_000, "braces are nested deeper than 1000 levels"),
    ],
)
def test_what_cannot_be_filled_in_says_why(before: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        interpolate(before, VALUES, lambda _: None)


def test_only_variables_that_matter_are_reported_unset() -> None:
    unset: list[str] = []
    interpolate("$NO1 ${NO2} ${NO3:-x} ${A:-$NO4} ${NO5:-$NO6}", VALUES, unset.append)
    assert unset == ["NO1", "NO2", "NO6"]


ENV = """
# comment
PLAIN=value # with a comment
export EXPORTED=yes
SPACED = around
YAMLISH: works
HASH=a#b
SINGLE='$A # stays'
DOUBLE="line\\nnext $A \\$A"
MANY="first
second"
EXPANDED=${PLAIN}-$A
EMPTY=
A
UNKNOWN
"""


def env(content: str, *, raw: bool = False) -> dict[str, str]:
    complaints = Complaints()
    values = dotenv.parse(content, Source("/.env", ".env"), VALUES, complaints, raw=raw)
    complaints.raise_if_any()
    return values


def test_env_files_are_read_as_compose_reads_them() -> None:
    assert env(ENV) == {
        "PLAIN": "value",
        "EXPORTED": "yes",
        "SPACED": "around",
        "YAMLISH": "works",
        "HASH": "a#b",
        "SINGLE": "$A # stays",
        "DOUBLE": "line\nnext apple $A",
        "MANY": "first\nsecond",
        "EXPANDED": "value-apple",
        "EMPTY": "",
        "A": "apple",
    }


def test_a_raw_env_file_is_taken_letter_by_letter() -> None:
    assert env("A='x' # $B\n# comment\n", raw=True) == {"A": "'x' # $B"}


def test_an_env_file_that_multiplies_itself_is_refused() -> None:
    content = "A0=xxxxxxxxxx\n" + "".join(
        f"A{n + 1}={'$' + f'A{n}'}{'$' + f'A{n}'}{'$' + f'A{n}'}\n" for n in range(30)
    )
    complaints = Complaints()
    dotenv.parse(content, Source("/.env", ".env"), {}, complaints)
    assert "grows beyond" in next(complaints.printed())
