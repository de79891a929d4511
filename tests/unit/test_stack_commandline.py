"""Commands written as one text: the words that docker compose 2.40.3 makes of them."""

from __future__ import annotations

import pytest

from orchestrator.stack.commandline import split


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("  a\tb\n c ", ["a", "b", "c"]),
        ("a '' \"\" b", ["a", "", "", "b"]),
        ("--x=\"a b\"c 'd e'", ["--x=a bc", "d e"]),
        (r"a\ b \"c\"", ["a b", '"c"']),
        (r'"a\nb" "a\\b" ' + r"'a\nb'", ["anb", r"a\b", r"a\nb"]),
        ("a #b", ["a", "#b"]),
        ("`a b` $(c d)", ["`a b`", "$(c d)"]),
        ("sh -c 'a; b && c'", ["sh", "-c", "a; b && c"]),
    ],
)
def test_a_text_is_split_at_blanks_outside_quotes(text: str, words: list[str]) -> None:
    assert split(text) == (words, "")


@pytest.mark.parametrize(
    ("text", "words", "rest"),
    [
        ("echo a && echo b", ["echo", "a"], "&& echo b"),
        ("a|b", ["a"], "|b"),
        ("a;", ["a"], ";"),
        ("a 2>&1 b", ["a"], ">&1 b"),
        ("a <b", ["a"], "<b"),
    ],
)
def test_what_only_a_shell_would_read_is_lost_and_handed_back(text: str, words: list[str], rest: str) -> None:
    assert split(text) == (words, rest)


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a\\", "a `b", "(a)", "$(a", "a)"])
def test_what_stays_open_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it as a list"):
        split(text)
