"""The newest tag within a range."""

from __future__ import annotations

import pytest

from orchestrator.policy.versions import newest

TAGS = ["v1.2.3", "v1.2.4-rc.1", "v1.2.4-rc.11", "v1.3.0", "v2.0.0", "0.9.1", "0.9.0", "0.0.3", "latest", "v1", "1.2"]


@pytest.mark.parametrize(
    ("wanted", "tag"),
    [
        ("*", "v2.0.0"),
        ("1.x", "v1.3.0"),
        ("1", "v1.3.0"),
        ("1.2", "v1.2.3"),
        ("1.2.3", "v1.2.3"),
        ("=1.2.3", "v1.2.3"),
        ("^1.2", "v1.3.0"),
        ("^0.9", "0.9.1"),
        ("^0.0.3", "0.0.3"),
        ("~1.2", "v1.2.3"),
        ("~1.2.0", "v1.2.3"),
        ("~1", "v1.3.0"),
        (">=1.2 <1.3", "v1.2.3"),
        (">1", "v2.0.0"),
        ("<=1.2", "v1.2.3"),
        ("<1", "0.9.1"),
        (">=1.2.4-rc.1, <1.3", "v1.2.4-rc.11"),
        ("^3 || ~0.9", "0.9.1"),
        ("^3", None),
    ],
)
def test_newest(wanted: str, tag: str | None) -> None:
    assert newest(TAGS, wanted) == tag


@pytest.mark.parametrize("wanted", ["", "main", "^", "1.2.3.4", ">=a"])
def test_what_is_no_range_is_said_so(wanted: str) -> None:
    with pytest.raises(ValueError, match="expected a range"):
        newest(TAGS, wanted)
