"""Every form of a service's keys, to make stacks of: key → forms that are right by themselves and in any company."""

from __future__ import annotations

from typing import Any

FORMS: dict[str, list[Any]] = {
    "annotations": [{"a": "1"}, ["a=2", "b="]],
    "attach": [False],
    "blkio_config": [{"weight": 10}, {"device_read_bps": [{"path": "/dev/sda", "rate": "1mb"}]}],
    "build": [
        ".",
        {"context": "./q", "args": {"A": 1}},
        {"args": ["B=2", "A=3"], "target": "t"},
        {"dockerfile": "D", "labels": ["x=y"], "tags": ["a", "b"]},
        {"additional_contexts": {"l": "https://x.example"}, "cache_from": ["a"]},
    ],
    "cap_add": [["ALL"], ["NET_ADMIN", "ALL"]],
    "cap_drop": [["MKNOD"], ["CHOWN"]],
    "command": ["a b", ["c", "d"], None, []],
    "configs": [["g"], [{"source": "g", "target": "/q"}], [{"source": "g", "mode": 0o440}]],
    "depends_on": [["b"], {"b": {"condition": "service_healthy"}}, ["c", "b"], {"c": {"condition": "service_started"}}],
    "deploy": [
        {"replicas": 2},
        {"labels": {"a": 1}, "resources": {"limits": {"memory": "1g"}}},
        {"labels": ["b=2"], "resources": {"limits": {"memory": "1g"}, "reservations": {"memory": "64m"}}},
        {"placement": {"constraints": ["a==b"], "preferences": [{"spread": "x"}]}},
        {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"], "count": 1}]}}},
    ],
    "devices": [["/dev/a"], ["/dev/a:/dev/b:r"], [{"source": "/dev/c", "target": "/dev/b"}]],
    "dns": ["1.1.1.1", ["2.2.2.2", "1.1.1.1"]],
    "dns_search": ["a.b", ["c.d"]],
    "entrypoint": ["a b", ["c"], []],
    "env_file": ["one.env", ["two.env", "one.env"], [{"path": "none.env", "required": False}]],
    "environment": [{"A": 1, "B": None, "C": "x"}, ["A=2", "D", "E="], ["B=${SET}"], {"F": "$$F ${NO:-d}"}],
    "expose": [[80], ["80", "81/udp"], ["90"]],
    "extra_hosts": [["a=1.1.1.1"], {"a": "2.2.2.2", "b": "::1"}, ["a=1.1.1.1", "c:3.3.3.3"]],
    "gpus": [[{"count": 1}], [{"device_ids": ["0"]}]],
    "group_add": [[1], ["mail"]],
    "healthcheck": [{"test": "a"}, {"test": ["CMD", "b"], "interval": "5s"}, {"retries": 3, "timeout": "90s"}],
    "init": [True, "false"],
    "labels": [{"a": 1, "b": ""}, ["a=2", "c"], {"c": True}],
    "links": [["b"], ["b:x", "c"]],
    "logging": [{"driver": "json-file", "options": {"a": "1"}}, {"options": {"b": "2"}}],
    "mem_limit": ["1g"],
    "networks": [["n"], {"n": {"aliases": ["p"]}}, {"m": None}, {"n": {"ipv4_address": "10.0.0.2"}}],
    "ports": [[80], ["8080:80"], ["8080:80/udp", "90"], [{"target": 80, "published": 8080}], ["8000-8002:80-82"]],
    "post_start": [[{"command": "a b"}], [{"command": ["c"], "environment": ["A=1"]}]],
    "pull_policy": ["always", "if_not_present"],
    "read_only": ["yes", False],
    "restart": ["always", "no", "on-failure:3"],
    "secrets": [["s"], [{"source": "s", "target": "q"}]],
    "stop_grace_period": ["1m30s", "5s"],
    "sysctls": [{"net.a": 1}, ["net.a=2", "net.b=3"]],
    "tmpfs": ["/run", ["/run", "/tmp:size=1m"]],
    "ulimits": [{"nofile": 10}, {"nofile": {"soft": 1, "hard": 2}, "nproc": 3}],
    "user": ["1000", "0:0"],
    "volumes": [
        ["data:/a"],
        ["./x:/a:ro"],
        ["/anon"],
        [{"type": "bind", "source": "./y", "target": "/a"}],
        [{"type": "volume", "source": "data", "target": "/a", "volume": {"nocopy": True}}],
        [{"type": "tmpfs", "target": "/t"}],
    ],
    "working_dir": ["/w"],
    "x-note": [{"a": [1]}, {"b": "s"}],
}
TOP: dict[str, Any] = {
    "networks": {"n": {"driver": "bridge", "labels": ["a=b"]}, "m": None},
    "volumes": {"data": {"labels": {"q": 1}}},
    "secrets": {"s": {"file": "./s"}},
    "configs": {"g": {"content": "c ${SET}"}},
}
BESIDE: dict[str, Any] = {"b": {"image": "bi"}, "c": {"image": "ci"}}
FILES = {"one.env": 'A=env1\nQ="x y"\n', "two.env": "A='env2'\nR=$SET\n"}
