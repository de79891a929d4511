"""Values set in a file's text: what was there besides stays as it was, to the letter."""

# ruff: noqa: E501 (files as people write them)

from __future__ import annotations

import pytest
import yaml

from orchestrator.errors import Conflict
from orchestrator.stack.edit import edited

MEMORY = ("services", "web", "deploy", "resources", "reservations", "memory")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "services:\n  web:  # front\n    deploy:\n      resources:\n        reservations:\n          memory: 1G # much\n",
            "services:\n  web:  # front\n    deploy:\n      resources:\n        reservations:\n          memory: 64M # much\n",
        ),
        (
            "services: {web: {image: a, deploy: {resources: {reservations: {memory: '1G'}}}}}  # all of it\n",
            "services: {web: {image: a, deploy: {resources: {reservations: {memory: 64M}}}}}  # all of it\n",
        ),
        (
            "services:\n  web:\n    # what it runs\n    image: a\n",
            "services:\n  web:\n    # what it runs\n    deploy: {resources: {reservations: {memory: 64M}}}\n    image: a\n",
        ),
        (
            "services:\n  web: {image: a}\n",
            "services:\n  web: {deploy: {resources: {reservations: {memory: 64M}}}, image: a}\n",
        ),
        (
            "services:\n  web:\n    deploy:\n      replicas: 2\n    image: ä # ö\n",
            "services:\n  web:\n    deploy:\n      resources: {reservations: {memory: 64M}}\n      replicas: 2\n    image: ä # ö\n",
        ),
    ],
)
def test_only_the_value_changes(before: str, after: str) -> None:
    assert edited(before, {MEMORY: "64M"}) == after
    assert yaml.safe_load(after)["services"]["web"]["deploy"]["resources"]["reservations"]["memory"] == "64M"


def test_what_cannot_be_changed_in_place_is_left_alone() -> None:
    shared = "x: &d {resources: {reservations: {memory: 1G}}}\nservices: {web: {deploy: *d}, db: {deploy: *d}}\n"
    with pytest.raises(Conflict, match="an anchor, a merge or an unusual form is in the way"):
        edited(shared, {MEMORY: "64M"})
