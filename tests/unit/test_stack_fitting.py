"""Our yes or no about a stack's shape, and that of the library that explains mistakes: the same answer everywhere."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from orchestrator.stack import schema
from orchestrator.stack.fitting import WORDS
from tests.effort import examples
from tests.words import BESIDE, FORMS, TOP

VALUES = (
    None,
    True,
    0,
    -1,
    5,
    1.5,
    2.0,
    "",
    "a",
    "5",
    "yes",
    "1g",
    "3s",
    "$X",
    [],
    ["a"],
    ["a", "a"],
    [5],
    {},
    {"a": 1},
)
EXPLAINS = {filled: Draft202012Validator(schema.filled() if filled else schema.written()) for filled in (True, False)}


def test_the_schema_uses_no_word_that_our_reading_of_it_does_not_know() -> None:
    def words(part: Any) -> set[str]:
        if isinstance(part, list):
            return {word for one in part for word in words(one)}
        if not isinstance(part, dict):
            return set()
        found = set(part)
        for word, inner in part.items():
            if word in ("properties", "patternProperties", "$defs"):
                found |= {word for one in inner.values() for word in words(one)}
            elif word not in ("examples", "default", "enum"):
                found |= words(inner)
        return found

    assert words(schema.written()) <= WORDS


@settings(deadline=None, max_examples=examples(150))
@given(some.randoms(use_true_random=False), some.booleans())
def test_it_says_what_jsonschema_says(chance: random.Random, filled: bool) -> None:
    service = {key: chance.choice(forms) for key, forms in FORMS.items() if chance.random() < 0.4}
    stack: Any = copy.deepcopy({"services": {"a": {"image": "x", **service}, **BESIDE}, **TOP})
    for _ in range(chance.randrange(4)):
        _replace(stack, chance)
    stack = json.loads(json.dumps(stack))
    assert schema.fits(stack, filled=filled) == EXPLAINS[filled].is_valid(stack)


def _replace(stack: Any, chance: random.Random) -> None:
    """Some value anywhere in the stack becomes another, or gets a further key."""
    branch, step = stack, chance.choice(list(stack))
    while isinstance(branch[step], dict | list) and branch[step] and chance.random() < 0.8:
        branch = branch[step]
        step = chance.choice(list(branch) if isinstance(branch, dict) else range(len(branch)))
    if isinstance(branch, dict) and chance.random() < 0.2:
        branch[chance.choice(["x-a", "imagee", "driver", "a b"])] = chance.choice(VALUES)
    else:
        branch[step] = chance.choice(VALUES)
