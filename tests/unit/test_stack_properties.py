"""What holds of every stack file, whatever stands in it."""

from __future__ import annotations

import copy
import pathlib
import random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from orchestrator.errors import Mistake
from orchestrator.stack import config, merge
from orchestrator.stack.interpolation import Malformed, interpolate, variables_of
from orchestrator.stack.loader import Options
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked
from orchestrator.stack.tree import List, Map
from tests.effort import examples
from tests.words import BESIDE, FILES, FORMS, TOP

SETTINGS = settings(
    deadline=None, max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VALUES = some.recursive(
    some.none() | some.integers() | some.sampled_from(["a", "a=b", "x:y", "80", ""]),
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(["services", "a", "ports", "networks", "build", "x"]), inner, max_size=3)
    ),
    max_leaves=12,
)
SERVICES = some.fixed_dictionaries({}, optional={key: some.sampled_from(forms) for key, forms in FORMS.items()})


def tree(value: Any) -> Any:
    if isinstance(value, dict):
        return Map({key: tree(inner) for key, inner in value.items()})
    return List([tree(inner) for inner in value]) if isinstance(value, list) else value


@given(
    some.text(alphabet="$ab{}:-?+_1 \n", max_size=40),
    some.dictionaries(some.sampled_from(["a", "b", "_1"]), some.text()),
)
def test_interpolation_gives_a_text_or_says_why_not(text: str, values: dict[str, str]) -> None:
    try:
        filled = interpolate(text, values, lambda _: None)
    except Malformed as error:
        assert str(error)
    else:
        assert "$" in text or filled == text
        assert all(name in text for name, *_ in variables_of(text))


@given(VALUES, VALUES)
def test_what_cannot_be_merged_is_a_clash(one: Any, other: Any) -> None:
    try:
        merge.laid_over(tree({"services": {"a": one}}), tree({"services": {"a": other}}))
    except merge.Clash as clash:
        assert clash.path[:2] == ("services", "a")


def printed(directory: pathlib.Path, *files: str, format: Any = "yaml") -> str:
    asked = Asked(str(directory), {"SET": "set", "HOME": "/home/nobody"}, files)
    return config.text(("", ""), asked, Options(), Complaints(), (), format=format)


def write(directory: pathlib.Path, **stacks: Any) -> None:
    for name, text in FILES.items():
        (directory / name).write_text(text)
    for name, stack in stacks.items():
        (directory / f"{name}.yaml").write_text(yaml.safe_dump(stack, sort_keys=False))


@SETTINGS
@given(SERVICES, SERVICES)
def test_what_config_prints_is_printed_again(tmp_path: pathlib.Path, below: Any, above: Any) -> None:
    above = {key: form for key, form in above.items() if form != below.get(key)}  # twice the same is refused by some
    write(tmp_path, one={"services": {"a": {"image": "x", **below}, **BESIDE}, **TOP}, two={"services": {"a": above}})
    first = printed(tmp_path, "one.yaml", "two.yaml")
    (tmp_path / "again.yaml").write_text(first)
    assert printed(tmp_path, "again.yaml") == first


@SETTINGS
@given(SERVICES.filter(bool), some.randoms(use_true_random=False))
def test_a_mistake_put_into_a_right_file_is_found_at_its_line(
    tmp_path: pathlib.Path, words: dict[str, Any], chance: random.Random
) -> None:
    stack = copy.deepcopy({"services": {"a": {"image": "x", **words}, **BESIDE}, **TOP})
    write(tmp_path, stack=stack)
    printed(tmp_path, "stack.yaml")
    lines = (tmp_path / "stack.yaml").read_text().splitlines()
    ours = range(lines.index("  a:") + 1, lines.index("  b:"))
    line = chance.choice([number for number in ours if lines[number][:5].strip() and lines[number][4] not in " -x"])
    key, _, _ = lines[line].partition(":")
    lines[line] = lines[line].replace(key, key + key[-1], 1)
    (tmp_path / "stack.yaml").write_text("\n".join(lines))
    with pytest.raises(Mistake) as caught:
        printed(tmp_path, "stack.yaml")
    assert any(complaint.startswith(f"stack.yaml:{line + 1}:5: ") for complaint in caught.value.complaints)
