"""Projects made by chance: stack files, what lies beside them, and how `config` is called. One seed, one project.

Values are YAML as a person writes it, in flow style; `FORMS` has every key of a service in its forms.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

FORMS: dict[str, list[str]] = {
    "annotations": ["{a: 1, b: }", "[a=2, 'b=']", "{c: ${SET}}"],
    "attach": ["false", "'true'", "yes"],
    "blkio_config": ["{weight: 10}", "{device_read_bps: [{path: /dev/sda, rate: 1mb}]}"],
    "build": [
        ".",
        "./${SET}",
        "{context: ./q, args: {A: 1, B: , SET: }}",
        "{args: [B=2, A=3, SET], target: t}",
        "{dockerfile: D, labels: [x=y], tags: [a, b]}",
        "{context: https://x.example/r.git#main, dockerfile_inline: 'FROM x'}",
        "{additional_contexts: {l: 'https://x.example', m: ../m}, cache_from: [a], network: host}",
        "{additional_contexts: [l=./l], ssh: [default], shm_size: 64m, extra_hosts: ['h:1.1.1.1']}",
        "{secrets: [s, {source: s, target: q}], platforms: [linux/amd64], no_cache: true, pull: 'false'}",
        "{ulimits: {nofile: 5}, privileged: true, isolation: x, entitlements: [a], cache_to: ['type=local,dest=x']}",
    ],
    "cap_add": ["[ALL]", "[NET_ADMIN, ALL]", "[]"],
    "cap_drop": ["[MKNOD]", "[CHOWN, MKNOD]"],
    "cgroup": ["host", "private"],
    "cgroup_parent": ["m-x"],
    "command": [
        "a b",
        "[c, '$$d', ${SET}]",
        "",
        "[]",
        "\"sh -c 'a && b'\"",
        "'a \"b c\" $${X}'",
        "'a; b'",
        "[a, 5]",
        "['', ' ', \"x\\ty\"]",
        "a > b",
    ],
    "configs": [
        "[g]",
        "[{source: g, target: /q}]",
        "[{source: g, mode: 0440, uid: '1'}]",
        "[g, {source: h, target: /h}]",
    ],
    "container_name": ["n1", "${SET}"],
    "cpu_count": ["2"],
    "cpu_percent": ["50"],
    "cpu_period": ["20000", "'100'"],
    "cpu_quota": ["20000"],
    "cpu_rt_period": ["95000"],
    "cpu_rt_runtime": ["'5'"],
    "cpu_shares": ["73", "'5'"],
    "cpus": ["0.5", "'2'", "1", "${NUMBER}", "0.333333333"],
    "cpuset": ["'0,1'", "0-2"],
    "credential_spec": ["{file: ./x}", "{registry: y}", "{config: g}"],
    "depends_on": [
        "[b]",
        "{b: {condition: service_healthy}}",
        "[c, b]",
        "{c: {condition: service_started, restart: true}}",
        "{d: {condition: service_completed_successfully, required: false}}",
        "{nowhere: {condition: service_started, required: false}}",
    ],
    "deploy": [
        "{replicas: 2}",
        "{labels: {a: 1}, resources: {limits: {memory: 1g}}}",
        "{labels: [b=2], resources: {limits: {memory: 1g, cpus: '0.5'}, reservations: {memory: 64m}}}",
        "{placement: {constraints: [a==b], preferences: [{spread: x}], max_replicas_per_node: 2}}",
        "{resources: {reservations: {devices: [{capabilities: [gpu], count: 1}]}}}",
        "{resources: {reservations: {devices: [{capabilities: [gpu], device_ids: ['0'], driver: nvidia}]}}}",
        "{mode: global, endpoint_mode: vip}",
        "{update_config: {parallelism: 2, delay: 5s, order: start-first, failure_action: continue}}",
        "{rollback_config: {parallelism: 0, monitor: 1m, max_failure_ratio: 0.1}}",
        "{restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3, window: 2m}}",
        "{replicas: '${NUMBER}', resources: {limits: {pids: 5}}}",
        "{resources: {reservations: {generic_resources: [{discrete_resource_spec: {kind: g, value: 2}}]}}}",
    ],
    "develop": [
        "{watch: [{path: ./w, action: rebuild, ignore: [x/]}]}",
        "{watch: [{path: w, action: sync, target: /w}]}",
    ],
    "device_cgroup_rules": ["['c 1:3 mr']"],
    "devices": ["[/dev/a]", "['/dev/a:/dev/b:r']", "[{source: /dev/c, target: /dev/b}]", "['/dev/a:/dev/z']"],
    "dns": ["1.1.1.1", "[2.2.2.2, 1.1.1.1]", "['${NO-}']"],
    "dns_opt": ["[use-vc]", "['ndots:2', use-vc]"],
    "dns_search": ["a.b", "[c.d, a.b]"],
    "domainname": ["d.example"],
    "entrypoint": ["a b", "[c]", "[]", "", "'a \"b'"],
    "env_file": [
        "one.env",
        "[two.env, one.env]",
        "[{path: none.env, required: false}]",
        "[{path: raw.env, format: raw}, ./one.env]",
        "${FILE}.env",
        "none.env",
    ],
    "environment": [
        "{A: 1, B: , C: x}",
        "[A=2, D, E=, SET]",
        "['B=${SET}', 'B=again']",
        "{F: '$$F ${NO:-d}', G: true, H: 1.50, I: 0x1f, J: 010, K: 1e3}",
        "{L: on, M: 12:30:45, N: ~, O: '2024-01-01', P: '', Q: \"a\\nb\"}",
        "{R: '${SET:+yes}${EMPTY:-e}${EMPTY-f}', S: '${NO:-${SET}}', T: $SET}",
        "[]",
        "{}",
        "{U: 1_000, V: .5, W: 1e21, X: 0b11, Y: 0o17, Z: -0}",
        "['a b=c', 'q=\"x\"', \"r='y'\"]",
    ],
    "expose": ["[80]", "['80', 81/udp]", "['90-92']"],
    "external_links": ["[x, 'y:z']"],
    "extra_hosts": [
        "[a=1.1.1.1]",
        "{a: 2.2.2.2, b: '::1'}",
        "['a=1.1.1.1', 'c:3.3.3.3', 'd=[::1]']",
        "{a: [1.1.1.1, 2.2.2.2]}",
        "['h:host-gateway']",
    ],
    "gpus": ["[{count: 1}]", "[{device_ids: ['0']}]", "all", "[{capabilities: [x], driver: y}]"],
    "group_add": ["[1]", "[mail, '2']"],
    "healthcheck": [
        "{test: a}",
        "{test: [CMD, b], interval: 5s}",
        "{retries: 3, timeout: 90s, start_period: 1h1m, start_interval: 500ms}",
        "{disable: true}",
        "{test: [NONE]}",
        "{test: [CMD-SHELL, 'a || exit 1'], interval: 1m30s, retries: '${NUMBER}'}",
        "{interval: 1.5s, timeout: 100000us}",
    ],
    "hostname": ["h1"],
    "init": ["true", "'false'"],
    "ipc": ["host", "shareable", "'service:b'"],
    "isolation": ["default"],
    "label_file": ["one.env", "[two.env]"],
    "labels": ["{a: 1, b: ''}", "[a=2, c]", "{c: true, d: 1.0}", "['${SET}=x']", "{e: '{{.x}}'}"],
    "links": ["[b]", "['b:x', c]"],
    "logging": ["{driver: json-file, options: {a: '1'}}", "{options: {b: 2}}", "{driver: none}", "{driver: local}"],
    "mac_address": ["'02:42:ac:11:65:43'"],
    "mem_limit": ["1g", "64M", "'1048576'", "1.5gb", "100kib"],
    "mem_reservation": ["1m"],
    "mem_swappiness": ["10"],
    "memswap_limit": ["1g", "-1"],
    "models": ["[m1]", "{m1: {endpoint_var: E, model_var: M}}"],
    "network_mode": ["host", "none", "'service:b'", "'container:x'"],
    "networks": [
        "[n]",
        "{n: {aliases: [p]}}",
        "{m: }",
        "{n: {ipv4_address: 10.0.0.2, priority: 5}}",
        "[n, m, default]",
        "{n: {mac_address: '02:42:ac:11:65:44', gw_priority: 1, interface_name: e0, driver_opts: {a: 1}}}",
        "{default: {aliases: [q, r]}}",
        "{n: {link_local_ips: [169.254.8.1], ipv6_address: 'fd00::2'}}",
    ],
    "oom_kill_disable": ["true"],
    "oom_score_adj": ["5", "'-5'"],
    "pid": ["host", "'service:c'"],
    "pids_limit": ["10", "'10'", "-1"],
    "platform": ["linux/amd64"],
    "ports": [
        "[80]",
        "['8080:80']",
        "['8080:80/udp', '90']",
        "[{target: 80, published: 8080}]",
        "['8000-8002:80-82']",
        "['127.0.0.1:8001:81', '127.0.0.1::82', '[::1]:83:83']",
        "['9000-9005:85']",
        "[{target: 80, published: '8080-8090', host_ip: 0.0.0.0, protocol: udp, mode: host, name: w}]",
        "['${PORT:-7000}:7000', 22:22]",
        "['3000-3001']",
    ],
    "post_start": [
        "[{command: a b}]",
        "[{command: [c], environment: [A=1], user: u, privileged: true, working_dir: /w}]",
    ],
    "pre_stop": ["[{command: ./stop}]", "[{command: x, environment: {A: 1}}]"],
    "privileged": ["true", "'no'"],
    "profiles": ["[p1]", "[p1, p2]", "[]"],
    "provider": ["{type: t, options: {a: 1, b: [x, y]}}"],
    "pull_policy": ["always", "if_not_present", "missing", "daily", "every_12h"],
    "read_only": ["yes", "false"],
    "restart": ["always", "no", "'on-failure:3'", "unless-stopped", "'no'"],
    "runtime": ["runc"],
    "scale": ["2", "'${NUMBER}'"],
    "secrets": ["[s]", "[{source: s, target: q}]", "[{source: s, mode: 0400, uid: '5', gid: '6'}]", "[s, t]"],
    "security_opt": ["['label:user:x', no-new-privileges]"],
    "shm_size": ["64m", "1048576"],
    "stdin_open": ["true"],
    "stop_grace_period": ["1m30s", "5s", "0s", "1h"],
    "stop_signal": ["SIGUSR1"],
    "storage_opt": ["{size: 1G}"],
    "sysctls": ["{net.a: 1}", "[net.a=2, net.b=3]"],
    "tmpfs": ["/run", "[/run, '/tmp:size=1m']", "[/run]"],
    "tty": ["true", "on"],
    "ulimits": ["{nofile: 10}", "{nofile: {soft: 1, hard: 2}, nproc: 3}", "{core: 0}", "{core: {soft: 0, hard: 5}}"],
    "use_api_socket": ["true"],
    "user": ["'1000'", "'0:0'", "${SET}"],
    "userns_mode": ["host"],
    "uts": ["host"],
    "volumes": [
        "['data:/a']",
        "['./x:/a:ro']",
        "[/anon]",
        "[{type: bind, source: ./y, target: /a}]",
        "[{type: volume, source: data, target: /a, volume: {nocopy: true, subpath: s}}]",
        "[{type: tmpfs, target: /t, tmpfs: {size: 1m, mode: 0o700}}]",
        "['~/h:/h', '../up:/up:rw,z', '/abs/./p/../q:/q']",
        "['${NO:-./d}:/d', 'data:/a/', 'other:/o:nocopy']",
        "[{type: bind, source: ., target: /b, read_only: true, bind: {propagation: rshared, create_host_path: false}}]",
        "['data:/c:ro,cached', './x:/y:rslave']",
        "[{type: image, source: i, target: /i, image: {subpath: s}}]",
        "[{type: volume, target: /anonymous}]",
        "['named-${SET}:/n']",
    ],
    "volumes_from": ["[b]", "['c:ro', 'container:x']"],
    "working_dir": ["/w", "${SET}/w"],
    "x-note": ["{a: [1, ~, 2024-01-01]}", "s", "[]"],
}
TOP: dict[str, list[str]] = {
    "networks": [
        "{n: {driver: bridge, labels: [a=b]}, m: }",
        "{n: {ipam: {config: [{subnet: 10.0.0.0/24, gateway: 10.0.0.1, aux_addresses: {h: 10.0.0.5}}]}}, m: {}}",
        "{n: {ipam: {config: [{ip_range: 10.0.0.0/28}]}}, m: {internal: true}}",
        "{n: {name: 'x-${SET}', external: true}, m: {driver_opts: {a: 1, b: 'c'}, attachable: true}}",
        "{n: {enable_ipv6: true, enable_ipv4: 'false'}, m: {name: mm}, default: {driver: x}}",
        "{n: {ipam: {driver: d}}, m: {external: {name: old}}}",
    ],
    "volumes": [
        "{data: {labels: {q: 1}}, other: , named-set: }",
        "{data: {name: dd}, other: {external: true}, named-set: {driver: d}}",
        "{data: {driver: local, driver_opts: {o: bind, type: none, device: ./dev}}, other: {}, named-set: }",
        "{data: {external: true, name: e}, other: {labels: [a=b]}, named-set: }",
    ],
    "secrets": ["{s: {file: ./s}, t: {environment: SET}}", "{s: {external: true}, t: {file: ~/t, labels: {a: b}}}"],
    "configs": [
        "{g: {content: 'c ${SET}'}, h: {file: ./h}}",
        "{g: {file: g, name: gg}, h: {environment: SET}}",
        "{g: {external: true, name: x}, h: {content: 'a $$b'}}",
    ],
    "models": ["{m1: {model: ai/m, context_size: 1024, runtime_flags: ['--x']}}", "{m1: {model: ai/n}}"],
    "x-top": ["{a: 1}", "[1, 2]"],
}
FILES = {
    ".env": "FROM_ENV=dotenv\nQUOTED=\"q ${SET} \\$x\"\nSINGLE='$SET'\nexport PORT=7777\n# comment\nTAIL=a # b\n",
    "one.env": 'A=env1\nQ="x y"\nNEW=${A}-${SET}\nSET\n',
    "two.env": "A='env2'\nR=$SET\nQ: yaml\nMULTI=\"a\nb\"\n",
    "raw.env": "A=$RAW 'x'\nB=\"y\"\n",
    "other.env": "FROM_ENV=other\nFILE=two\nPORT=1\n",
}
ENVIRONMENT = {"SET": "set", "EMPTY": "", "NUMBER": "3", "FILE": "one"}
FLAGS = [
    [],
    [],
    [],
    ["--format=json"],
    ["--no-interpolate"],
    ["--no-normalize"],
    ["--no-path-resolution"],
    ["--no-consistency"],
    ["--services"],
    ["--images"],
    ["--volumes"],
    ["--networks"],
    ["--profiles"],
    ["--variables"],
    ["--environment"],
    ["--hash", "*"],
]


@dataclass
class Project:
    """`files`: by path from the project's directory; the rest as `config` is called."""

    files: dict[str, str] = field(default_factory=lambda: dict(FILES))
    named: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    env_files: list[str] = field(default_factory=list)
    name: str | None = "made"
    project_directory: str | None = None
    flags: list[str] = field(default_factory=list)


def project(seed: int) -> Project:
    chance = random.Random(seed)
    made = Project()
    layers = chance.choice([1, 1, 2, 2, 3])
    made.named = ["compose.yaml", "over.yaml", "more.yaml"][:layers]
    wide = chance.choice([0.02, 0.06, 0.12])  # few keys are rarely refused, many meet each other
    for level, name in enumerate(made.named):
        made.files[name] = "".join(_file(chance, level, wide, made))
    made.profiles = chance.choice([[], [], [], ["p1"], ["p1", "p2"], ["*"]])
    made.env_files = chance.choice([[], [], [], [], ["other.env"], [".env", "other.env"]])
    made.name = chance.choice(["made", "made", "made", None])
    made.project_directory = chance.choice([None, None, None, None, None, "sub"])
    made.flags = chance.choice(FLAGS)
    return made


def _file(chance: random.Random, level: int, wide: float, made: Project) -> Iterator[str]:
    if chance.random() < 0.1:
        yield chance.choice(["name: written\n", "name: ${SET}-x\n", "version: '3'\n"])
    if chance.random() < 0.15:
        yield "x-shared: &shared {labels: {s: 1}, environment: {S: 1, A: shared}}\nx-env: &env {E: 1, A: anchor}\n"
        shared = True
    else:
        shared = False
    if level == 0 and chance.random() < 0.15:
        yield _include(chance, wide, made)
    yield "services:\n"
    for name in "abcd" if level == 0 else chance.sample("abcd", chance.randrange(1, 4)):
        yield f"  {name}:\n"
        if level == 0:
            yield f"    image: {name}:1\n"
        if shared and chance.random() < 0.5:
            yield "    <<: *shared\n"
        if name == "a" and chance.random() < 0.25:
            yield _extends(chance, wide, made)
        yield from _keys(chance, wide if name != "a" else wide * 2, level)
    for key, forms in TOP.items():
        if level == 0 and not key.startswith("x-"):
            yield f"{key}: {forms[0] if chance.random() < 0.6 else chance.choice(forms)}\n"
        elif chance.random() < 0.1:
            yield f"{key}: {_tagged(chance, chance.choice(forms))}\n"


def _keys(chance: random.Random, wide: float, level: int) -> Iterator[str]:
    some = False
    for key, forms in FORMS.items():
        if chance.random() < wide:
            some = True
            form = chance.choice(forms)
            yield f"    {key}: {_tagged(chance, form) if level else form}\n"
    if not some and level:
        yield "    x-nothing: 1\n"


def _tagged(chance: random.Random, form: str) -> str:
    return chance.choice([form] * 12 + ["!reset null", "!reset", f"!override {form}", f"!override {form}", "null"])


def _extends(chance: random.Random, wide: float, made: Project) -> str:
    if chance.random() < 0.4:
        return f"    extends: {chance.choice(['b', '{service: c}', 'd'])}\n"
    folder = chance.choice(["", "sub/"])
    lines = ["services:\n  base:\n    image: base\n", *_keys(chance, wide * 2, 0)]
    if chance.random() < 0.3:
        lines += ["    extends: deeper\n", "  deeper:\n", "    x-deep: 1\n", *_keys(chance, wide, 0)]
    made.files[f"{folder}base.yaml"] = "".join(lines)
    if folder:
        made.files |= {f"sub/{name}": text for name, text in FILES.items()}
    return f"    extends: {{file: {folder}base.yaml, service: base}}\n"


def _include(chance: random.Random, wide: float, made: Project) -> str:
    made.files |= {f"inc/{name}": text.replace("env", "inc") for name, text in FILES.items()}
    lines = ["services:\n  i1:\n    image: i:${FROM_ENV}\n", *_alone(chance, wide), "  i2: {image: i, x-f: '${SET}'}\n"]
    lines += ["volumes: {data1: {driver: d}}\n"] if chance.random() < 0.3 else []
    made.files["inc/part.yaml"] = "".join(lines)
    made.files["inc/over.yaml"] = "services:\n  i2:\n    labels: {o: '${FROM_ENV}'}\n" + "".join(_alone(chance, wide))
    return chance.choice(
        [
            "include: [inc/part.yaml]\n",
            "include: [{path: inc/part.yaml}]\n",
            "include: [{path: [inc/part.yaml, inc/over.yaml]}]\n",
            "include: [{path: inc/part.yaml, project_directory: .}]\n",
            "include: [{path: ./inc/part.yaml, env_file: other.env}]\n",
            "include: [{path: inc/part.yaml, env_file: [other.env, one.env], project_directory: sub}]\n",
        ]
    )


def _alone(chance: random.Random, wide: float) -> Iterator[str]:
    """Keys that name nothing beside their own service."""
    bound = {"depends_on", "links", "volumes_from", "network_mode", "ipc", "pid", "networks", "volumes", "secrets"}
    bound |= {"configs", "models", "credential_spec", "extends"}
    return (line for line in _keys(chance, wide * 2, 0) if line.strip().partition(":")[0] not in bound)
