"""One language: the schema, the tables of what is obeyed, the typed model and the examples say the same."""

from __future__ import annotations

import json
import pathlib
import runpy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.cli.main import main
from orchestrator.errors import Mistake
from orchestrator.stack import config, obeyed, reference, schema, since
from orchestrator.stack.load import load
from orchestrator.stack.loader import Options
from orchestrator.stack.model import Stack
from orchestrator.stack.places import Complaints
from orchestrator.stack.project import Asked

PROJECT = pathlib.Path(__file__).parents[2]
ENTRIES = reference.entries()
TABLES = {
    "REFUSED": obeyed.REFUSED,
    "ALLOWED": obeyed.ALLOWED,
    "WITHOUT_EFFECT": obeyed.WITHOUT_EFFECT,
    "SINCE": since.SINCE,
    "FRAMES": since.FRAMES,
}


@pytest.mark.parametrize("table", TABLES)
def test_every_row_is_a_key_of_the_schema(table: str) -> None:
    assert [path for path in TABLES[table] if path not in ENTRIES] == []


def test_no_key_is_both_obeyed_and_refused() -> None:
    refused = obeyed.REFUSED.keys() | obeyed.WITHOUT_EFFECT.keys()
    assert refused & (since.SINCE.keys() | since.FRAMES.keys() | obeyed.ALLOWED.keys()) == set()
    assert obeyed.REFUSED.keys() & obeyed.WITHOUT_EFFECT.keys() == set()


def test_every_key_has_a_row_of_its_own_or_stands_below_one() -> None:
    """`entries` looks each key up and fails with the key's name where no table has it."""
    assert {entry.standing.kind for entry in ENTRIES.values()} <= {"obeyed", "partly", "without effect", "refused"}


def test_every_key_is_described_in_a_sentence() -> None:
    assert [path for path, entry in ENTRIES.items() if not entry.description.endswith((".", "?", "…"))] == []


def _pieces(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [piece for item in value for piece in _pieces(item)]
    if not isinstance(value, dict):
        return []
    return [value, *(piece for inner in value.values() for piece in _pieces(inner))]


def test_every_example_and_default_fits_its_own_key() -> None:
    whole = schema.written()
    wrong = []
    for piece in _pieces(whole):
        if not isinstance(piece.get("description"), str):
            continue
        validator = Draft202012Validator({**piece, "$defs": whole["$defs"]})
        shown = [*piece.get("examples", ()), *([piece["default"]] if "default" in piece else [])]
        wrong += [(piece["description"], example) for example in shown if not validator.is_valid(example)]
    assert wrong == []


# Examples of these name what a lone service has not.
_WITH = {
    "depends_on": {"db": {"image": "host:/", "healthcheck": {"test": ["CMD", "true"]}}, "redis": {"image": "host:/"}},
    "links": {"db": {"image": "host:/"}},
    "volumes_from": {"db": {"image": "host:/"}},
    "ipc": {"db": {"image": "host:/"}},
    "network_mode": {"proxy": {"image": "host:/"}},
    "pid": {"app": {"image": "host:/"}},
}
_TOP: dict[str, dict[str, Any]] = {
    "networks": {"networks": {"front": {}, "back": {}}},
    "volumes": {"volumes": {"db-data": {}}},
    "configs": {"configs": {"httpd": {"content": "x"}}},
    "secrets": {"secrets": {"db_password": {"environment": "X"}}},
}
_BESIDE: dict[str, dict[str, Any]] = {"memswap_limit": {"mem_limit": "512m"}}
_FILES = {
    ".env": "A=1\n",
    "common.yml": "services: {webapp: {image: host:/, init: true}}\n",
    "default.env": "B=2\n",
    "app.labels": "c=3\n",
}


def _loaded(directory: pathlib.Path, word: str, **written: Any) -> Stack:
    document = {"services": {"web": {"image": "host:/", **written}, **_WITH.get(word, {})}, **_TOP.get(word, {})}
    file = directory / "stack.yaml"
    file.write_text(json.dumps(document))
    return load([str(file)], directory=str(directory), environment={})


_OBEYED = [
    path.split(".")[2]
    for path, entry in ENTRIES.items()
    if path.startswith("services.*.") and path.count(".") == 2 and entry.standing.kind == "obeyed" and entry.examples
]


@pytest.mark.parametrize("word", [word for word in _OBEYED if word not in ("image", "profiles", "x-pyorch")])
def test_a_word_that_is_said_to_be_obeyed_changes_the_stack(tmp_path: pathlib.Path, word: str) -> None:
    for name, text in _FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "conf").mkdir()
    plain = _loaded(tmp_path, word, **_BESIDE.get(word, {}))
    changed = [
        _loaded(tmp_path, word, **_BESIDE.get(word, {}), **{word: example})
        for example in ENTRIES[f"services.*.{word}"].examples
    ]
    assert any(one.services["web"] != plain.services["web"] for one in changed)


@pytest.mark.parametrize(
    "key", ["services.healthcheck.interval", "services.web.healthcheck.interval", "healthcheck.interval"]
)
def test_a_key_is_found_by_its_path_with_or_without_names_and_by_its_end(key: str) -> None:
    assert [entry.path for entry in reference.find(key, ENTRIES)] == ["services.*.healthcheck.interval"]


def test_elements_of_lists_may_be_numbered_or_left_out() -> None:
    for key in ("services.web.ports[0].host_ip", "services.ports.host_ip", "services.*.ports[].host_ip"):
        assert [entry.path for entry in reference.find(key, ENTRIES)] == ["services.*.ports[].host_ip"]


def test_the_reference_page_is_what_the_code_says() -> None:
    """`make reference` writes it anew."""
    page = runpy.run_path(str(PROJECT / "docs/reference.py"))
    text = (PROJECT / "docs/compose.md").read_text(encoding="utf-8")
    assert page["renewed"](text) == text


def _explain(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["explain", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_explain_prints_the_entry_of_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = _explain(capsys, "services.healthcheck.start_interval")
    assert said.startswith("services.healthcheck.start_interval\n")
    for line in (
        "Form      a duration (1m30s, 500ms)",
        "Default   5s",
        "Here      obeyed since 0.1",
        "start_interval: 2s",
    ):
        assert line in said


def test_explain_of_a_key_with_keys_below_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    _, said, _ = _explain(capsys, "services.deploy", "--format", "json")
    assert "services.deploy.replicas" in json.loads(said)["below"]


def test_explain_of_an_unknown_key_says_what_was_probably_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert _explain(capsys, "services.web.helthcheck") == (
        2,
        "",
        "pyorch: no such key: services.web.helthcheck; did you mean 'services.healthcheck'?\n",
    )


def test_explain_says_when_a_mistyped_key_was_taken_for_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'helthcheck' is taken for a name; did you mean 'healthcheck'?" in _explain(capsys, "services.helthcheck")[2]
    assert _explain(capsys, "services.web")[2] == ""


def test_an_env_file_sees_the_project_then_its_service_then_itself_then_the_files_before_it(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "one.env").write_text("A=one\nX=$A\nB=$A\n")
    (tmp_path / "two.env").write_text("A=two\nX=$A\nY=$B-$C-$P\n")
    (tmp_path / "stack.yaml").write_text(
        "services:\n"
        "  files: {image: x, env_file: [one.env, two.env]}\n"
        "  service: {image: x, env_file: [one.env, two.env], environment: {A: own, C: own, P: own}}\n"
    )
    asked = Asked(str(tmp_path), {"P": "project"}, ["stack.yaml"])
    text = config.text(("", ""), asked, Options(), Complaints(), (), format="json")
    found = {name: service["environment"] for name, service in json.loads(text)["services"].items()}
    assert found["files"] == {"A": "two", "B": "one", "X": "two", "Y": "one--project"}
    assert found["service"] == {"A": "own", "B": "own", "C": "own", "P": "own", "X": "own", "Y": "own-own-project"}


def test_what_is_printed_is_letter_by_letter_what_docker_compose_prints(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_text(
        "services:\n  a:\n    image: x\n    ulimits: {core: 0}\n    deploy: {replicas: 2}\n"
        "    environment: {NUM: 1e6, B: \"\\a\\e\", D: ..., S: '<&>', I: .inf}\n"
    )
    asked = Asked(str(tmp_path), {}, ["stack.yaml"], name="p")
    text, as_json = (
        config.text(("", ""), asked, Options(), Complaints(), (), format=format) for format in ("yaml", "json")
    )
    for line in ('B: "\\a\\e"', "D: '...'", "I: +Inf", 'NUM: "1e+06"', "soft: 0", "hard: 0"):
        assert f"  {line}\n" in text
    assert '"S": "\\u003c\\u0026\\u003e"' in as_json
    assert json.loads(as_json)["services"]["a"]["deploy"] == {"replicas": 2, "resources": {}, "placement": {}}


def test_what_json_writes_otherwise_stands_side_by_side_in_one_service(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_text(
        "services:\n  a:\n    image: x\n    ulimits: {nofile: {soft: 1, hard: 2}}\n"
        "    blkio_config: {device_read_bps: [{path: /dev/sda, rate: 1mb}]}\n    deploy: {replicas: 1}\n"
    )
    asked = Asked(str(tmp_path), {}, ["stack.yaml"], name="p")
    service = json.loads(config.text(("", ""), asked, Options(), Complaints(), (), format="json"))["services"]["a"]
    assert service["ulimits"] == {"nofile": {"soft": 1, "hard": 2}}
    assert service["blkio_config"] == {"device_read_bps": [{"Path": "/dev/sda", "Rate": "1048576"}]}
    assert service["deploy"]["resources"] == {}


def test_files_of_services_are_read_from_here_where_paths_are_not_resolved(tmp_path: pathlib.Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/stack.yaml").write_text("services:\n  a: {image: x, env_file: [v.env], label_file: [v.env]}\n")
    (tmp_path / "sub/v.env").write_text("A=beside the file\n")
    (tmp_path / "v.env").write_text("A=here\n")
    asked = Asked(str(tmp_path), {}, ["sub/stack.yaml"], name="p")
    for options, said in ((Options(), "beside the file"), (Options(resolve_paths=False), "here")):
        found = json.loads(config.text(("", ""), asked, options, Complaints(), (), format="json"))["services"]["a"]
        assert (found["environment"], found["labels"]) == ({"A": said}, {"A": said})


def test_a_port_range_that_is_too_wide_is_refused_before_it_is_spread(tmp_path: pathlib.Path) -> None:
    wide = ", ".join(f"1-65535/{protocol}" for protocol in ("tcp", "udp", "sctp"))
    (tmp_path / "stack.yaml").write_text(f"services:\n  a: {{image: x, ports: [{wide}]}}\n")
    complaints = Complaints()
    asked = Asked(str(tmp_path), {}, ["stack.yaml"], name="p")
    with pytest.raises(Mistake, match="more than 65536 ports in one stack"):
        config.text(("", ""), asked, Options(), complaints, (), format="json")


def test_a_quote_that_is_never_closed_is_named_in_a_long_file_too(tmp_path: pathlib.Path) -> None:
    services = "".join(f"  s{number}: {{image: x, command: [a, b, c]}}\n" for number in range(20_000))
    text = f"services:\n{services}  last:\n    image: 'x\n{services}"
    (tmp_path / "stack.yaml").write_text(text)
    asked = Asked(str(tmp_path), {}, ["stack.yaml"], name="p")
    with pytest.raises(Mistake, match=r"stack\.yaml:20003:12: .*a quote is opened here and never closed"):
        config.text(("", ""), asked, Options(), Complaints(), (), format="json")
