"""`config --why` and `--origins`: where a value was written, what it replaced, and what filled its variables."""

from __future__ import annotations

import pathlib

import pytest
import yaml

from orchestrator.cli import whence
from orchestrator.errors import Mistake
from orchestrator.stack.project import Asked

FILES = {
    "compose.yaml": """\
name: shop
x-usual: &usual
  restart: always
services:
  web:
    <<: *usual
    image: web:${TAG:-1}
    env_file: [app.env]
    environment:
      URL: http://localhost
      MODE: dev
    ports: ["${PORT}:80"]
    depends_on: [db]
  db:
    extends: {file: base.yaml, service: base}
    depends_on: {cache: {condition: service_started}}
  cache:
    image: redis:8
""",
    "compose.override.yaml": """\
services:
  web:
    environment:
      - URL=http://${HOST}:5432
    ports: ["9000:90"]
""",
    "base.yaml": "services:\n  base:\n    image: postgres:16\n    command: |\n      a\n      b\n",
    ".env": "# of the project\nPORT=8080\nHOST=db\n",
    "app.env": "\nFROM_FILE=yes\n",
}


@pytest.fixture
def asked(tmp_path: pathlib.Path) -> Asked:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return Asked(str(tmp_path), {"TAG": "7"})


def test_an_override_says_what_it_replaced_and_where_its_variables_come_from(asked: Asked) -> None:
    assert whence.why(asked, "services.web.environment.URL") == (
        "services.web.environment.URL: http://db:5432\n"
        "  compose.override.yaml:4:9  - URL=http://${HOST}:5432\n"
        "      HOST = 'db': .env:3\n"
        "  over compose.yaml:10:12  URL: http://localhost\n"
    )


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("services.web.environment.MODE", "compose.yaml:11:13  MODE: dev"),
        ("services.web.environment.FROM_FILE", "app.env:2:1  FROM_FILE=yes"),
        ("services.web.image", "TAG = '7': the caller's environment"),
        ("services.web.restart", "compose.yaml:3:12  restart: always"),
        ("services.web.ports[0].published", "PORT = '8080': .env:2"),
        ("services.web.ports[1]", 'compose.override.yaml:5:13  ports: ["9000:90"]'),
        ("services.db.image", "extended by compose.yaml:15"),
        ("services.web.depends_on.db.condition", "compose.yaml:13:18  depends_on: [db]"),
        ("services.db.depends_on.cache.required", "written by nobody: it follows from the rest of the stack"),
        ("services.db.networks.default", "written by nobody: it follows from the rest of the stack"),
    ],
)
def test_a_value_has_its_place(asked: Asked, key: str, line: str) -> None:
    assert line in whence.why(asked, key)


def test_a_default_is_told_of(asked: Asked) -> None:
    without = Asked(asked.directory, {})
    assert "TAG = '1': the default here, as it is not set" in whence.why(without, "services.web.image")


def test_a_key_that_is_not_there_is_a_mistake(asked: Asked) -> None:
    with pytest.raises(Mistake, match=r"there is no 'imag' in services\.web; did you mean 'image'\?"):
        whence.why(asked, "services.web.imag")
    with pytest.raises(Mistake, match=r"there is no 'NOPE' in services\.web\.environment"):
        whence.why(asked, "services.web.environment.NOPE")


def test_of_a_key_that_is_not_written_the_default_is_told(asked: Asked) -> None:
    with pytest.raises(Mistake) as told:
        whence.why(asked, "services.web.healthcheck.interval")
    assert str(told.value) == (
        'services.web.healthcheck.interval is not written; its default is "30s": '
        "`pyorch explain services.healthcheck.interval` says more"
    )


def test_origins_are_comments_and_change_nothing(asked: Asked) -> None:
    text = whence.origins(asked)
    lines = {line.partition("#")[0].strip(): line.partition("# ")[2] for line in text.split("\n")}
    assert lines["URL: http://db:5432"] == "compose.override.yaml:4, HOST: .env:3"
    assert lines['FROM_FILE: "yes"'] == "app.env:2"
    assert lines["restart: always"] == "compose.yaml:3"
    assert lines["name: shop"] == "compose.yaml:1"
    assert yaml.safe_load(text)["services"]["web"]["environment"]["URL"] == "http://db:5432"
    assert yaml.safe_load(text)["services"]["db"]["command"] == ["a", "b"]
