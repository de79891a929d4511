"""Keys of a service that are older, rarer or shorter than the rest: what each of their forms means."""

from __future__ import annotations

import pathlib
import resource
from typing import Any

import pytest

from orchestrator.errors import Mistake
from orchestrator.runtime import ulimits
from orchestrator.scheduler.node import Request
from orchestrator.stack.load import load
from orchestrator.stack.model import Attachment, Dependency, Device, Limits, Logging, Lookup, Sandbox, Service, Stack


def stack(tmp_path: pathlib.Path, words: str) -> Stack:
    """The service `web` with these lines, beside a service `db`."""
    lines = "".join(f"    {line}\n" for line in words.splitlines())
    (tmp_path / "stack.yaml").write_text(
        f"name: s\nservices:\n  db: {{image: host:/}}\n  web:\n    image: host:/\n{lines}"
    )
    return load(["stack.yaml"], directory=str(tmp_path), environment={})


def web(tmp_path: pathlib.Path, words: str) -> Service:
    return stack(tmp_path, words).services["web"]


NETWORK = """
name: s
services: {web: {image: host:/, networks: [n]}}
networks:
  n:
    driver_opts:
      com.docker.network.driver.mtu: "1400"
      com.docker.network.bridge.name: br-shop
      com.docker.network.bridge.enable_icc: "true"
    ipam: {config: [{subnet: 10.5.0.0/24, ip_range: 10.5.0.128/25, aux_addresses: {router: 10.5.0.9}}]}
"""
HOSTS = {"a": ("10.0.0.1",), "host.docker.internal": ("host-gateway",)}


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("container_name: shop.web", "container_name", "shop.web"),
        ("platform: linux/amd64", "platform", "linux/amd64"),
        ("attach: false", "attach", False),
        ("annotations: {a: 1}", "annotations", {"a": "1"}),
        ("annotations: [a=1, b]", "annotations", {"a": "1", "b": ""}),
        ("cpus: 0.5\nmem_limit: 64m", "limits", Limits(cpus=0.5, memory=64 << 20)),
        ("mem_limit: 64m\nmemswap_limit: -1", "limits", Limits(memory=64 << 20, memswap=-1)),
        ("mem_limit: 64m\nmemswap_limit: 1g", "limits", Limits(memory=64 << 20, memswap=1 << 30)),
        ("pids_limit: 9\nmem_swappiness: 10", "limits", Limits(pids=9, mem_swappiness=10)),
        ("pids_limit: -1", "limits", Limits(pids=-1)),
        ("cpu_shares: 512\ncpu_quota: 50000", "limits", Limits(cpu_shares=512, cpu_quota=50000)),
        ("cpu_period: 20ms", "limits", Limits(cpu_period=20000)),
        ("oom_kill_disable: true", "limits", Limits(oom_kill_disable=True)),
        ("mem_limit: 64m\ndeploy: {resources: {limits: {memory: 64M}}}", "limits", Limits(memory=64 << 20)),
        ("mem_reservation: 32m", "reservations", Request(0.0, 32 << 20)),
        ("logging: {driver: none}", "logging", Logging(kept=False)),
        ("logging: {driver: json-file}", "logging", Logging()),
        ("logging: {options: {max-size: 10m, max-file: '3'}}", "logging", Logging(True, 10 << 20, 3)),
        ("logging: {driver: local, options: {max-size: 200k, tag: x}}", "logging", Logging(True, 200 << 10, None)),
        ("extra_hosts: ['a:10.0.0.1', 'host.docker.internal:host-gateway']", "lookup", Lookup(HOSTS)),
        ("extra_hosts: {a: 10.0.0.1, host.docker.internal: host-gateway}", "lookup", Lookup(HOSTS)),
        ("extra_hosts: ['a=[::1]', 'a:fe80::2']", "lookup", Lookup({"a": ("::1", "fe80::2")})),
        ("dns: 10.0.0.53", "lookup", Lookup(dns=("10.0.0.53",))),
        ("dns_search: [a.b]\ndns_opt: [ndots:2]", "lookup", Lookup(dns_search=("a.b",), dns_opt=("ndots:2",))),
        ("links: [db, 'db:database']", "lookup", Lookup(links={"db": "db", "database": "db"})),
        ("links: ['db:database']", "depends_on", {"db": Dependency(restart=True)}),
        ("external_links: ['other-db-1:old']", "lookup", Lookup(external_links={"old": "other-db-1"})),
        ("network_mode: none", "networks", {}),
        ("network_mode: bridge", "networks", {"(bridge)": Attachment()}),
        ("mac_address: 02-42-AC-11-65-43", "networks", {"default": Attachment(mac_address="02:42:ac:11:65:43")}),
        (
            "networks: {default: {interface_name: lan0, gw_priority: 3, priority: 1}}",
            "networks",
            {"default": Attachment((), None, 1, 3, None, "lan0")},
        ),
        (
            "networks: {default: {link_local_ips: [169.254.8.8, 'FE80::08', 57.123.22.11], driver_opts: {"
            "com.docker.network.endpoint.ifname: lan1, "
            "com.docker.network.endpoint.sysctls: 'net.ipv4.conf.IFNAME.log_martians=1'}}}",
            "networks",
            {
                "default": Attachment(
                    interface_name="lan1",
                    link_local=("169.254.8.8/16", "fe80::8/64", "57.123.22.11/32"),
                    sysctls=(("net.ipv4.conf.IFNAME.log_martians", "1"),),
                )
            },
        ),
        ("cpuset: 0-1, 3", "sandbox", Sandbox(cpuset="0-1,3")),
        (
            "blkio_config: {weight: 300, device_read_bps: [{path: /dev/sda, rate: 12mb}],"
            " device_write_iops: [{path: /dev/sda, rate: 30}], weight_device: [{path: /dev/sdb, weight: 400}]}",
            "sandbox",
            Sandbox(
                blkio=(
                    ("weight", "", 300),
                    ("weight_device", "/dev/sdb", 400),
                    ("device_read_bps", "/dev/sda", 12 << 20),
                    ("device_write_iops", "/dev/sda", 30),
                )
            ),
        ),
        ("ulimits: {nofile: 9}", "sandbox", Sandbox(ulimits={"nofile": (9, 9)})),
        ("ulimits: {memlock: {soft: 0, hard: -1}}", "sandbox", Sandbox(ulimits={"memlock": (0, -1)})),
        ("sysctls: {net.core.somaxconn: 99}", "sandbox", Sandbox(sysctls={"net.core.somaxconn": "99"})),
        ("sysctls: [net.core.somaxconn=99]", "sandbox", Sandbox(sysctls={"net.core.somaxconn": "99"})),
        ("shm_size: 1g", "sandbox", Sandbox(shm_size=1 << 30)),
        ("group_add: [mail, 99]", "sandbox", Sandbox(group_add=("mail", "99"))),
        ("security_opt: ['no-new-privileges:true', 'label:disable', 'apparmor:unconfined']", "sandbox", Sandbox()),
        ("security_opt: ['no-new-privileges=false']", "sandbox", Sandbox(new_privileges=True)),
        ("security_opt: ['seccomp:unconfined']", "sandbox", Sandbox(seccomp="unconfined")),
        ("privileged: true", "sandbox", Sandbox(privileged=True)),
        ("tty: true\nstdin_open: true", "sandbox", Sandbox(tty=True, stdin_open=True)),
        ("devices: ['/dev/a']", "sandbox", Sandbox(devices=(Device("/dev/a", "/dev/a"),))),
        ("devices: ['/dev/a:/dev/b:r']", "sandbox", Sandbox(devices=(Device("/dev/a", "/dev/b", "r"),))),
        (
            "devices: [{source: /dev/a, target: /dev/b, permissions: rw}]",
            "sandbox",
            Sandbox(devices=(Device("/dev/a", "/dev/b", "rw"),)),
        ),
        ("device_cgroup_rules: ['c 189:* rwm']", "sandbox", Sandbox(device_cgroup_rules=("c 189:* rwm",))),
        ("pid: host\nipc: 'service:db'\nuts: host", "sandbox", Sandbox(pid="host", ipc="service:db", uts="host")),
        ("pid: 'service:db'", "depends_on", {"db": Dependency(restart=True)}),
        ("ipc: shareable\nuserns_mode: host", "sandbox", Sandbox(ipc="shareable")),
        ("oom_score_adj: -5\ndomainname: a.b", "sandbox", Sandbox(oom_score_adj=-5, domainname="a.b")),
        ("network_mode: 'service:db'", "network_mode", "service:db"),
        ("network_mode: 'service:db'", "depends_on", {"db": Dependency(restart=True)}),
        ("security_opt: [systempaths=unconfined]", "sandbox", Sandbox(unmasked=True)),
    ],
)  # fmt: skip
def test_a_word_becomes_its_value(tmp_path: pathlib.Path, words: str, field: str, value: Any) -> None:
    assert getattr(web(tmp_path, words), field) == value


def test_the_bridge_of_network_mode_is_shared_by_all_stacks(tmp_path: pathlib.Path) -> None:
    assert stack(tmp_path, "network_mode: bridge").networks["(bridge)"].name == "bridge"


def test_words_of_a_network(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_text(NETWORK)
    found = load(["stack.yaml"], directory=str(tmp_path), environment={}).networks["n"]
    assert (found.mtu, found.interface, found.ip_range) == (1400, "br-shop", "10.5.0.128/25")
    assert found.reserved == ("10.5.0.9",)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('mtu: "1400"', 'mtu: "12"', "a number from 68 to 65535"),
        ("bridge.name: br-shop", "bridge.name: a-name-too-long-for-it", "at most 15 characters"),
        ("bridge.name", "bridge.nam", "is not obeyed; remove it; did you mean"),
        ("bridge.name: br-shop", "bridge.enable_icc: 'false'", "only 'true' is obeyed"),
        ("10.5.0.128/25", "10.6.0.0/25", "is not in the subnet"),
        ("10.5.0.9", "10.6.0.9", "is not in the subnet"),
    ],
)
def test_a_wrong_word_of_a_network_is_a_mistake(tmp_path: pathlib.Path, before: str, after: str, said: str) -> None:
    (tmp_path / "stack.yaml").write_text(NETWORK.replace(before, after))
    with pytest.raises(Mistake) as caught:
        load(["stack.yaml"], directory=str(tmp_path), environment={})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("link_local_ips: [224.0.0.1]", "expected an address that an interface may have, but found '224.0.0.1'"),
        ("link_local_ips: [here]", "expected an address such as 169.254.8.8, but found 'here'"),
        ("driver_opts: {com.docker.network.endpoint.sysctl: a}", "is not obeyed; remove it; did you mean"),
        (
            "driver_opts: {com.docker.network.endpoint.sysctls: 'kernel.panic=1'}",
            "expected net.ipv4.conf.IFNAME.SETTING=VALUE, but found 'kernel.panic=1'",
        ),
        ("driver_opts: {com.docker.network.endpoint.ifname: lo}", "expected the name of an interface"),
    ],
)
def test_a_wrong_word_of_an_endpoint_is_a_mistake(tmp_path: pathlib.Path, words: str, said: str) -> None:
    with pytest.raises(Mistake) as caught:
        web(tmp_path, f"networks: {{default: {{{words}}}}}")
    assert said in str(caught.value)


def test_labels_of_a_file_are_lower_in_rank_than_labels(tmp_path: pathlib.Path) -> None:
    (tmp_path / "labels").write_text("a=1\nb=file\n")
    assert web(tmp_path, "label_file: labels\nlabels: {b: 2}").labels == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("container_name: -x", "expected a name of letters"),
        ("container_name: ab\nscale: 2", "one fixed name cannot serve 2 replicas"),
        ("mem_limit: 64m\ndeploy: {resources: {limits: {memory: 65M}}}", "write one of the two"),
        ("memswap_limit: 64m", "needs a limit of memory"),
        ("mem_limit: 64m\nmemswap_limit: 32m", "cannot be less than mem_limit"),
        ("cpus: 1\ncpu_quota: 1000", "says the same as 'cpus'"),
        ("mem_swappiness: 101", "from 0 to 100"),
        ("cpu_period: 10", "1000 to 1000000 microseconds"),
        ("logging: {driver: syslog}", "driver 'syslog' is not obeyed"),
        ("logging: {options: {max-siz: 1m}}", "did you mean 'max-size'"),
        ("logging: {options: {max-size: 1k}}", "at least 16K"),
        ("extra_hosts: ['a:nowhere']", "expected an address or host-gateway"),
        ("dns: [resolver]", "expected the address of a resolver"),
        ("links: [nobody]", "depends on 'nobody', which is no service"),
        ("network_mode: bridg", "expected none, host, bridge"),
        ("network_mode: none\nnetworks: [default]", "excludes 'networks'"),
        ("network_mode: none\nports: [80]", "cannot be published"),
        ("annotations: {org.pyorch.layers: /}", "pyorch's own"),
        ("label_file: missing", "does not exist"),
        ("devices: [snd]", "expected the path of a device"),
        ("devices: ['/dev/a:/dev/b:x']", "expected permissions"),
        ("device_cgroup_rules: [all]", "such as 'c 189:* rwm'"),
        ("pid: hosts", "expected one of private, host"),
        ("uts: 'service:db'", "expected one of private, host, but"),
        ("oom_score_adj: 1001", "maximum of 1000"),
        ("network_mode: host\nsysctls: {net.core.somaxconn: 1}", "is the host's own here"),
        ("network_mode: 'service:db'\nports: [80]", "cannot be published"),
        ("network_mode: 'service:nobody'", "is no service"),
        ("mac_address: 02:42", "expected a hardware address"),
        ("mac_address: '03:42:ac:11:65:43'", "an address of a group"),
        ("networks: {default: {interface_name: eth0/1}}", "expected the name of an interface"),
        ("ulimits: {nofil: 9}", "did you mean 'nofile'"),
        ("ulimits: {nofile: {soft: 9, hard: 8}}", "the soft limit 9 is above the hard limit 8"),
        ("sysctls: {vm.swappiness: 1}", "belongs to the whole machine"),
        ("security_opt: [no-new-privilege]", "did you mean 'no-new-privileges'"),
        ("security_opt: ['seccomp:./my.json']", "seccomp=unconfined"),
        ("deploy: {endpoint_mode: vip}", "endpoint_mode"),
    ],
)
def test_a_wrong_word_is_a_mistake_that_says_what_is_right(tmp_path: pathlib.Path, words: str, said: str) -> None:
    with pytest.raises(Mistake, match=r"stack\.yaml:") as caught:
        web(tmp_path, words)
    assert said in str(caught.value)


def test_a_limit_that_may_not_be_raised_is_lowered_and_said() -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    granted, said = ulimits.grantable({"nofile": (5, most + 1), "core": (0, 0)}, mighty=False)
    assert granted == {"nofile": (5, most), "core": (0, 0)}
    assert said == [f"ulimit nofile is {most}, not {most + 1}: pyorch runs without CAP_SYS_RESOURCE"]
    assert ulimits.grantable({"nofile": (5, most + 1)}, mighty=True) == ({"nofile": (5, most + 1)}, [])


SIX = """
name: s
services: {web: {image: host:/, networks: {n: {ipv6_address: "fd99::7"}}}}
networks:
  n: {enable_ipv6: true, ipam: {config: [{subnet: 10.5.0.0/24}, {subnet: "fd99::/64", gateway: "fd99::1"}]}}
"""


def test_a_network_may_have_a_subnet_of_each_kind(tmp_path: pathlib.Path) -> None:
    (tmp_path / "stack.yaml").write_text(SIX)
    found = load(["stack.yaml"], directory=str(tmp_path), environment={})
    network = found.networks["n"]
    assert (network.subnet, network.enable_ipv6, network.subnet6) == ("10.5.0.0/24", True, "fd99::/64")
    assert network.gateway6 == "fd99::1"
    assert found.services["web"].networks["n"].ipv6_address == "fd99::7"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("enable_ipv6: true, ", "", "needs enable_ipv6: true"),
        ("fd99::7", "fd98::7", "is not in the subnet fd99::/64"),
        ("fd99::/64", "fd99::/120", "has no room for containers"),
        ("{subnet: 10.5.0.0/24}", '{subnet: "fd98::/64"}', "a second subnet"),
    ],
)
def test_a_wrong_word_of_ipv6_is_a_mistake(tmp_path: pathlib.Path, before: str, after: str, said: str) -> None:
    (tmp_path / "stack.yaml").write_text(SIX.replace(before, after))
    with pytest.raises(Mistake) as caught:
        load(["stack.yaml"], directory=str(tmp_path), environment={})
    assert said in str(caught.value)
