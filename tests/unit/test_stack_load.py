"""From files to a Stack: what the words of a file become."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.errors import Mistake
from orchestrator.health.check import Check
from orchestrator.policy.restart import RestartPolicy
from orchestrator.scheduler.node import Request
from orchestrator.stack import files
from orchestrator.stack.load import load
from orchestrator.stack.model import Attachment, Dependency, Limits, Mount, Network, Port, Service, Stack, Volume

Given = Callable[..., Stack]


@pytest.fixture
def given(tmp_path: pathlib.Path) -> Given:
    def write(*texts: str, env: str | None = None, environment: dict[str, str] | None = None, **options: Any) -> Stack:
        names = [f"stack{index or ''}.yaml" for index in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (tmp_path / name).write_text(text)
        if env is not None:
            (tmp_path / ".env").write_text(env)
        return load(names, directory=str(tmp_path), environment=environment or {}, **options)

    return write


def service(given: Given, words: str, **options: Any) -> Service:
    head = "" if "image:" in words else ", image: host:/"
    return given(
        f"services: {{web: {{{words}{head}}}}}\nvolumes: {{data: }}\nnetworks: {{back: }}\n", **options
    ).services["web"]


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("command: sh -c 'echo hi'", "command", ("sh", "-c", "echo hi")),
        ("command: [sleep, inf]", "command", ("sleep", "inf")),
        ("command: []", "command", ()),
        ("command: ", "command", None),
        ("entrypoint: ''", "entrypoint", ()),
        (
            "environment: {A: 1, B: true, C: 1.5, D: x, E: 1e3}",
            "environment",
            {"A": "1", "B": "true", "C": "1.5", "D": "x", "E": "1000"},
        ),
        ("environment: [A=1=2, B=]", "environment", {"A": "1=2", "B": ""}),
        ("user: '1000'", "user", "1000"),
        ("stop_signal: int", "stop_signal", "SIGINT"),
        ("stop_signal: '15'", "stop_signal", "SIGTERM"),
        ("stop_grace_period: 1m30s", "stop_grace_period", 90.0),
        ("read_only: yes", "read_only", True),
        ("init: 'true'", "init", True),
        ("cap_add: [CAP_NET_ADMIN, sys_time]", "cap_add", ("NET_ADMIN", "SYS_TIME")),
        ("cap_drop: [ALL]", "cap_drop", ("ALL",)),
        ("scale: 3", "replicas", 3),
        ("deploy: {replicas: 0}", "replicas", 0),
        ("labels: [a=1, b]", "labels", {"a": "1", "b": ""}),
        ("networks: [back]", "networks", {"back": Attachment()}),
        (
            "networks: {default: , back: {aliases: [x], priority: 5}}",
            "networks",
            {"default": Attachment(), "back": Attachment(("x",), None, 5)},
        ),
        ("image: 'dir:/srv'", "image", "dir:/srv"),
        ("restart: 'no'", "restart", RestartPolicy("no", heal=False)),
        ("restart: no", "restart", RestartPolicy("no", heal=False)),
        ("deploy: {restart_policy: {condition: none}}", "restart", RestartPolicy("no", heal=False)),
        ("restart: always", "restart", RestartPolicy("always")),
        ("restart: on-failure:3", "restart", RestartPolicy("on-failure", 3)),
        ("deploy: {restart_policy: {}}", "restart", RestartPolicy("always")),
        (
            "restart: always, deploy: {restart_policy: {condition: on-failure, max_attempts: 2, window: 1m,"
            " delay: 5s}}",
            "restart",
            RestartPolicy("on-failure", 2, 60.0, 5.0),
        ),
        (
            "x-pyorch: {restarts: {initial: 1s, factor: 3, max: 1m, reset_after: 2m, give_up_after: 4}}",
            "restart",
            RestartPolicy("no", None, None, None, 1.0, 3.0, 60.0, 120.0, 4),
        ),
        ("healthcheck: {test: 'true'}", "healthcheck", Check(("CMD-SHELL", "true"))),
        (
            "healthcheck: {test: [CMD, a], interval: 1s, timeout: 2s, retries: 5, start_period: 3s,"
            " start_interval: 500ms}",
            "healthcheck",
            Check(("CMD", "a"), 1.0, 2.0, 5, 3.0, 0.5),
        ),
        ("healthcheck: {test: [NONE]}", "healthcheck_disabled", True),
        ("healthcheck: {disable: true}", "healthcheck_disabled", True),
        ("deploy: {resources: {limits: {cpus: '0.5', memory: 64M, pids: 9}}}", "limits", Limits(0.5, 64 << 20, 9)),
        ("deploy: {resources: {reservations: {cpus: 250m, memory: 1g}}}", "reservations", Request(0.25, 1 << 30)),
    ],
)
def test_a_word_of_a_service_becomes_its_value(given: Given, words: str, field: str, value: object) -> None:
    assert getattr(service(given, words), field) == value


@pytest.mark.parametrize(
    ("word", "ports"),
    [
        ("80", [Port(80)]),
        ('"8080:80"', [Port(80, 8080)]),
        ('"8080:80/udp"', [Port(80, 8080, protocol="udp")]),
        ('"0.0.0.0:8080:80"', [Port(80, 8080, "0.0.0.0")]),
        ('"127.0.0.1::80"', [Port(80)]),
        ('"[::1]:8080:80"', [Port(80, 8080, "::1")]),
        ('"8000-8001:90-91"', [Port(90, 8000), Port(91, 8001)]),
        ('"90-91"', [Port(90), Port(91)]),
        ("{target: 80, published: 8080, host_ip: 10.0.0.1, protocol: udp}", [Port(80, 8080, "10.0.0.1", "udp")]),
        ('{target: "80", published: "8080", mode: host, name: web}', [Port(80, 8080, name="web")]),
        ('"9000-9010:90"', [Port(90, 9000, last=9010)]),
        ("{target: 90, published: 9000-9010, app_protocol: http}", [Port(90, 9000, last=9010, app_protocol="http")]),
    ],
)
def test_every_form_of_a_port(given: Given, word: str, ports: list[Port]) -> None:
    assert list(service(given, f"ports: [{word}]").ports) == ports


def test_published_ports_are_open_to_all_only_where_the_stack_says_so(given: Given) -> None:
    stack = given("x-pyorch: {publish: any}\nservices: {web: {image: host:/, ports: ['80:80', '127.0.0.1:81:81']}}")
    assert [port.host_ip for port in stack.services["web"].ports] == ["0.0.0.0", "127.0.0.1"]


@pytest.mark.parametrize("key", ["hostname", "restart", "stop_signal", "mac_address", "platform", "user"])
def test_an_empty_word_of_a_variable_without_value_is_as_if_not_written(given: Given, key: str) -> None:
    assert service(given, f"{key}: '${{NOTHING:-}}'") == service(given, "init: false")


@pytest.mark.parametrize(
    ("words", "mount"),
    [
        ("volumes: [/data]", Mount("volume", "/data")),
        ("volumes: ['data:/data/:ro']", Mount("volume", "/data", "data", read_only=True)),
        ("volumes: ['./:/here:z']", Mount("bind", "/here", "<here>", options=("z",))),
        ("volumes: ['/:/root:ro']", Mount("bind", "/root", "/", read_only=True)),
        (
            "volumes: [{type: bind, source: ./new, target: /x, bind: {create_host_path: true}}]",
            Mount("bind", "/x", "<here>/new", create_host_path=True),
        ),
        (
            "volumes: [{type: volume, source: data, target: /x, volume: {nocopy: true}}]",
            Mount("volume", "/x", "data", options=("nocopy",)),
        ),
        (
            "volumes: [{type: tmpfs, target: /x, tmpfs: {size: 1m, mode: 0755}}]",
            Mount("tmpfs", "/x", size=1 << 20, mode=0o755),
        ),
        ("tmpfs: /run", Mount("tmpfs", "/run")),
        (
            "tmpfs: ['/run:size=64m,mode=1777,noexec,ro']",
            Mount("tmpfs", "/run", read_only=True, size=64 << 20, mode=0o1777, options=("noexec",)),
        ),
    ],
)
def test_every_form_of_a_mount(given: Given, tmp_path: pathlib.Path, words: str, mount: Mount) -> None:
    (made,) = service(given, words).mounts
    expected = mount.source and mount.source.replace("<here>", str(tmp_path))
    assert made == Mount(
        mount.kind,
        mount.target,
        expected,
        mount.read_only,
        mount.size,
        mount.mode,
        mount.create_host_path,
        mount.options,
    )


def test_a_missing_bind_source_is_not_made(given: Given, tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        Mistake, match=r"stack.yaml:1:47: services.web.volumes\[0\].source: bind source .*/nothing does not exist"
    ):
        given("services: {web: {image: host:/, volumes:     ['./nothing:/x']}}")
    assert not (tmp_path / "nothing").exists()


def test_environment_wins_over_env_file_and_bare_names_are_the_callers(given: Given, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.env").write_text("A=file\nB=file\nC=$CALLER\n")
    (tmp_path / "raw.env").write_text("D=$x 'y'\n")
    made = service(
        given,
        "env_file: [a.env, {path: raw.env, format: raw}, {path: none.env, required: false}],"
        " environment: [B=own, CALLER, DOTENV, NOBODY, A]",
        env="DOTENV=dot\nCALLER=dot\n",
        environment={"CALLER": "shell"},
    )
    assert made.environment == {"B": "own", "C": "shell", "D": "$x 'y'", "CALLER": "shell", "DOTENV": "dot"}


def test_variables_come_from_the_caller_then_dotenv_and_a_named_file_replaces_dotenv(
    given: Given, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "other.env").write_text("A=other\n")
    text = "services: {web: {image: host:/, hostname: '${A:-none}-${B:-none}'}}"
    assert given(text, env="A=dot\nB=dot\n", environment={"B": "shell"}).services["web"].hostname == "dot-shell"
    assert given(text, env="A=dot\nB=dot\n", env_files=["other.env"]).services["web"].hostname == "other-none"


def test_an_unset_variable_is_a_warning_that_says_where(given: Given) -> None:
    stack = given("services:\n  web:\n    image: host:/\n    hostname: a$NOPE\n")
    assert stack.warnings == ("stack.yaml:4: services.web.hostname: variable NOPE is not set: taken as empty",)


def test_a_variable_takes_the_type_that_its_place_wants(given: Given) -> None:
    made = service(given, "scale: '${N:-2}', read_only: '${RO:-true}', user: '${N:-2}', environment: {X: '${N:-017}'}")
    assert (made.replicas, made.read_only, made.user, made.environment) == (2, True, "2", {"X": "017"})


def test_dependencies_in_both_forms(given: Given) -> None:
    stack = given(
        "services:\n  a: {image: host:/, healthcheck: {test: x}}\n  b: {image: host:/, depends_on: [a]}\n"
        "  c: {image: host:/, depends_on: {a: {condition: service_healthy, restart: true},"
        " b: {condition: service_completed_successfully, required: false},"
        " gone: {condition: service_started, required: false}}}\n  gone: {image: host:/, profiles: [other]}"
    )
    assert stack.services["b"].depends_on == {"a": Dependency()}
    assert stack.services["c"].depends_on == {
        "a": Dependency("healthy", True),
        "b": Dependency("completed", False, False),
    }


def test_only_networks_and_volumes_in_use_are_in_the_stack(given: Given) -> None:
    stack = given("""
name: shop
services:
  web: {image: host:/}
  db: {image: host:/, networks: [back, ext], volumes: [data:/d, kept:/k]}
networks:
  back: {internal: true, ipam: {config: [{subnet: 10.9.0.0/24, gateway: 10.9.0.1}]}, labels: [a=b]}
  ext: {external: true, name: theirs}
  unused: {}
volumes: {data: , unused: , kept: {external: true}}
""")
    assert stack.networks == {
        "back": Network("back", "shop_back", "10.9.0.0/24", "10.9.0.1", True, False, {"a": "b"}),
        "default": Network("default", "shop_default"),
        "ext": Network("ext", "theirs", external=True),
    }
    assert stack.volumes == {"data": Volume("data", "shop_data"), "kept": Volume("kept", "kept", True)}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"name": "given", "environment": {"COMPOSE_PROJECT_NAME": "env"}}, "given"),
        ({"environment": {"COMPOSE_PROJECT_NAME": "env"}}, "env"),
        ({"env": "COMPOSE_PROJECT_NAME=dot"}, "dot"),
        ({}, "written-web"),
    ],
)
def test_the_stack_is_named_in_composes_order(given: Given, options: dict[str, Any], name: str) -> None:
    text = "name: written-${X:-web}\nservices: {web: {image: host:/, hostname: $COMPOSE_PROJECT_NAME}}"
    stack = given(text, **options)
    assert (stack.name, stack.services["web"].hostname) == (name, name)


def test_without_a_name_the_folder_gives_it(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "_My Shop.2"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {web: {image: host:/}}")
    assert load(None, directory=str(folder), environment={}).name == "myshop2"


def test_profiles_choose_services(given: Given) -> None:
    text = (
        "services:\n  web: {image: host:/}\n  debug: {image: host:/, profiles: [dev], depends_on: [tool]}\n"
        "  tool: {image: host:/, profiles: [tools]}\n  other: {image: host:/, profiles: [dev, x]}"
    )
    assert [*given(text).services] == ["web"]
    assert [*given(text, profiles=["x"]).services] == ["other", "web"]
    assert [*given(text, environment={"COMPOSE_PROFILES": "tools,dev"}).services] == ["debug", "other", "tool", "web"]
    assert [*given(text, profiles=["*"]).services] == ["debug", "other", "tool", "web"]
    with pytest.raises(Mistake, match=r"depends on 'tool', whose profile \(tools\) is not active"):
        given(text, services=["debug"])


def test_a_second_file_is_laid_over_the_first(given: Given) -> None:
    stack = given(
        """
services:
  web:
    image: host:/
    command: [a, b]
    environment: [A=1, B=1]
    ports: ["80:80", "81:81"]
    volumes: ["data:/d", "data:/e"]
    cap_add: [KILL]
    depends_on: [db]
    deploy: {resources: {limits: {memory: 1m}}}
  db: {image: host:/}
volumes: {data: }
""",
        """
services:
  web:
    command: [c]
    environment: {B: 2, C: 2}
    ports: ["81:81", "82:82"]
    volumes: ["other:/d"]
    cap_add: [KILL, CHOWN]
    depends_on: {db: {condition: service_started, restart: true}}
    deploy: {resources: {limits: {cpus: 1}}}
  new: {image: host:/}
volumes: {other: }
""",
    )
    web = stack.services["web"]
    assert web.command == ("c",)
    assert web.environment == {"A": "1", "B": "2", "C": "2"}
    assert [port.published for port in web.ports] == [80, 81, 82]
    assert [(mount.source, mount.target) for mount in web.mounts] == [("other", "/d"), ("data", "/e")]
    assert web.cap_add == ("KILL", "CHOWN")
    assert web.depends_on == {"db": Dependency(restart=True)}
    assert web.limits == Limits(1.0, 1 << 20)
    assert [*stack.services] == ["db", "new", "web"]
    places = {
        path: str(stack.origin(f"services.web.{path}"))
        for path in ("environment.A", "environment.B", "ports[0]", "ports[2]")
    }
    assert places == {
        "environment.A": "stack.yaml:6",
        "environment.B": "stack1.yaml:5",
        "ports[0]": "stack.yaml:7",
        "ports[2]": "stack1.yaml:6",
    }


def test_mistakes_of_several_files_are_told_together_each_with_its_own_place(given: Given) -> None:
    with pytest.raises(Mistake) as caught:
        given("services:\n  web:\n    imag: host:/\n", "services:\n  web:\n    ports:\n      - x:80\n")
    assert [complaint.split(": ")[0] for complaint in caught.value.complaints] == ["stack.yaml:3:5", "stack1.yaml:4:9"]


def test_every_value_knows_where_it_was_written(given: Given) -> None:
    stack = given("x-base: &base\n  environment: {A: 1}\nservices:\n  web:\n    <<: *base\n    image: host:/\n")
    assert str(stack.origin("services.web.environment.A")) == "stack.yaml:2"
    assert str(stack.origin("services.web.image")) == "stack.yaml:6"
    assert str(stack.origin("services.web.hostname")) == "stack.yaml:4"


def test_a_stack_file_is_found_here_or_above_by_the_order_of_names(tmp_path: pathlib.Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "compose.yaml").touch()
    assert files.find(str(below)) == str(tmp_path / "compose.yaml")
    (tmp_path / "stack.yml").touch()
    assert files.find(str(below)) == str(tmp_path / "stack.yml")


def test_a_file_that_cannot_be_read_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Mistake, match=r"cannot read .*/none.yaml: no such file"):
        load(["none.yaml"], directory=str(tmp_path), environment={})


def test_a_file_that_is_too_large_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_bytes(b"# " + b"x" * (6 << 20))
    with pytest.raises(Mistake, match="is larger than 6 MiB"):
        load(["stack.yaml"], directory=str(tmp_path), environment={})


@pytest.mark.slow
def test_too_many_values_are_refused(given: Given) -> None:
    with pytest.raises(Mistake, match="more than 500000 values"):
        given("x-a: [" + "a," * 600_000 + "]\n")


def test_more_mistakes_than_anybody_reads_are_cut_off(given: Given) -> None:
    with pytest.raises(Mistake) as caught:
        given("services: {web: {image: host:/, " + ", ".join(f"k{n}: 1" for n in range(5000)) + "}}\n")
    assert len(caught.value.complaints) == 201
    assert caught.value.complaints[-1] == "there are more than 200 mistakes; the rest is not shown"


@pytest.mark.parametrize("word", ["1" * 1_000_000, "1s" * 1_000_000, "9" * 5000])
def test_an_endless_amount_is_refused_unread(given: Given, word: str) -> None:
    with pytest.raises(Mistake, match="expected a duration") as caught:
        given(f"services: {{web: {{image: host:/, stop_grace_period: '{word}'}}}}\n")
    assert len(caught.value.complaints[0]) < 2000
