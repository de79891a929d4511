"""Keys of a service, looked for in a real container: on the host, from inside, and in the files of its bundle.

One stack holds as many of them as do not disturb each other.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.dns import wire
from orchestrator.runtime.ulimits import may_raise
from tests.scenarios.conftest import Pyorch, agent_of_its_own
from tests.scenarios.test_limits import setting, status

pytestmark = pytest.mark.root

WAITS = "[sh, -c, \"trap 'exit 0' TERM; while :; do sleep 3600 & wait; done\"]"
STACK = f"""
    name: words
    services:
      db: {{image: "host:/", command: {WAITS}, container_name: words.db, attach: false}}
      web:
        image: host:/
        command: {WAITS}
        annotations: {{org.example.team: shop}}
        labels: {{b: written}}
        label_file: web.labels
        platform: linux
        cpu_shares: 512
        cpu_quota: 30000
        cpu_period: 60ms
        mem_limit: 128m
        memswap_limit: 256m
        mem_reservation: 32m
        pids_limit: 99
        extra_hosts: ["other:10.9.8.7", "host.docker.internal:host-gateway"]
        dns: [127.0.0.153]
        dns_search: [example.test]
        dns_opt: ["timeout:1"]
        links: ["db:database"]
        ports: ["127.0.0.1:18300-18310:80"]
        logging: {{driver: json-file, options: {{max-size: 64k, max-file: "2"}}}}
      walls:
        image: host:/
        command: {WAITS}
        ulimits: {{nofile: {{soft: 200, hard: 300}}, memlock: -1, nproc: 77}}
        sysctls: {{net.core.somaxconn: 99, kernel.msgmax: "9000"}}
        shm_size: 2m
        group_add: [mail, "4711"]
        security_opt: ["no-new-privileges:false", "seccomp:unconfined", systempaths=unconfined]
      wired:
        image: host:/
        command: {WAITS}
        networks:
          lan: {{interface_name: lan0, mac_address: "02:42:ac:11:65:43"}}
          out:
            gw_priority: 1
            link_local_ips: [169.254.8.8, "fe80::8"]
            driver_opts: {{com.docker.network.endpoint.sysctls: "net.ipv4.conf.IFNAME.log_martians=1"}}
      alone: {{image: "host:/", command: {WAITS}, network_mode: none}}
      bridged: {{image: "host:/", command: {WAITS}, network_mode: bridge}}
      silent: {{image: "host:/", command: [sh, -c, "echo heard; exec sleep 3600"], logging: {{driver: none}}}}
    networks:
      lan:
        driver_opts: {{com.docker.network.driver.mtu: "1380", com.docker.network.bridge.name: po-test-lan}}
        ipam:
          config:
            - subnet: 10.213.7.0/24
              ip_range: 10.213.7.128/30
              aux_addresses: {{printer: 10.213.7.128, router: 10.213.7.129}}
      out: {{}}
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Pyorch]:
    with agent_of_its_own(lambda name, text: print(f"--- {name}\n{text}")) as pyorch:
        (pyorch.directory / "web.labels").write_text("a=of the file\nb=of the file\n")
        pyorch.up(STACK)
        yield pyorch


def inside(stack: Pyorch, service: str, command: str) -> str:
    return stack.ok("-f", "stack.yaml", "exec", "-T", service, "sh", "-c", command)


def test_a_container_has_the_name_that_is_written(stack: Pyorch) -> None:
    assert {"words.db", "words-web-1"} <= set(stack.ps())
    assert inside(stack, "web", "getent hosts words.db") == inside(stack, "web", "getent hosts db").replace(
        " db", " words.db"
    )


def test_labels_annotations_and_limits_arrive(stack: Pyorch) -> None:
    row, pid = stack.ps()["words-web-1"], stack.pid("words-web-1")
    assert row["Labels"] == "a=of the file,b=written"
    spec = json.loads((stack.bundle("words-web-1") / "config.json").read_text())
    assert spec["annotations"]["org.example.team"] == "shop"
    assert setting(pid, "pids.max", "pids.max") == "99"
    assert setting(pid, "cpu.cfs_quota_us", "cpu.max") in ("30000", "30000 60000")
    assert setting(pid, "cpu.shares", "cpu.weight") in ("512", "20")
    assert setting(pid, "memory.limit_in_bytes", "memory.max") == str(128 << 20)
    assert setting(pid, "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)


def test_hosts_and_resolv_conf_say_what_is_written(stack: Pyorch) -> None:
    gateway = inside(stack, "web", "sed -n 's/^nameserver //p' /etc/resolv.conf").strip()
    assert inside(stack, "web", "getent hosts other").split() == ["10.9.8.7", "other"]
    assert inside(stack, "web", "getent hosts host.docker.internal").split()[0] == gateway
    said = inside(stack, "web", "cat /etc/resolv.conf").splitlines()
    assert said[1:] == ["search example.test", "options timeout:1 ndots:0"]


def test_a_link_is_a_name_for_its_owner_alone(stack: Pyorch) -> None:
    address = stack.ps()["words.db"]["Addresses"]["words_default"]
    assert inside(stack, "web", "getent hosts database").split()[0] == address
    assert stack.run("exec", "-T", "db", "getent", "hosts", "database").returncode == 2


def test_other_names_are_asked_of_the_resolvers_that_are_written(stack: Pyorch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.153", 53))
        resolver.settimeout(20)

        def answer() -> None:
            message, client = resolver.recvfrom(4096)
            resolver.sendto(wire.reply(wire.parse(message), wire.NOERROR, [(wire.A, b"\x0a\x01\x02\x03")]), client)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            asks = "import socket; print(socket.getaddrinfo('far.example.org', 1, socket.AF_INET)[0][4][0])"
            assert stack.ok("exec", "-T", "web", "python3", "-c", asks).strip() == "10.1.2.3"
        finally:
            thread.join()


def test_limits_of_processes_kernel_parameters_and_groups_are_set(stack: Pyorch) -> None:
    pid = stack.pid("words-walls-1")
    limits = {line[:26].strip(): line[26:].split()[:2] for line in Path(f"/proc/{pid}/limits").read_text().splitlines()}
    assert limits["Max open files"] == ["200", "300"]
    most = ["unlimited", "unlimited"] if may_raise() else [str(resource.getrlimit(resource.RLIMIT_MEMLOCK)[1])] * 2
    assert limits["Max locked memory"] == most
    told = "ulimit memlock is" in stack.ok("events", "--no-follow")
    assert told == (most[0] != "unlimited")
    assert limits["Max processes"] == ["77", "77"]
    assert inside(stack, "walls", "ulimit -n").strip() == "200", "what is run in it later has them too"
    assert inside(stack, "walls", "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax").split() == ["99", "9000"]
    assert inside(stack, "walls", "df -k /dev/shm | tail -1").split()[1] == "2048"
    groups = inside(stack, "walls", "id -G").split()
    assert "4711" in groups
    assert inside(stack, "walls", "getent group mail").split(":")[2] in groups


def test_security_options_lift_what_they_say(stack: Pyorch) -> None:
    lifted, usual = status(stack.pid("words-walls-1")), status(stack.pid("words-web-1"))
    assert (lifted["NoNewPrivs"], lifted["Seccomp"]) == ("0", "0")
    assert (usual["NoNewPrivs"], usual["Seccomp"]) == ("1", "2")
    assert inside(stack, "walls", "grep -c ' /proc/[a-z]' /proc/self/mounts || true").strip() == "0", (
        "nothing is masked"
    )


def test_interfaces_have_the_names_addresses_and_sizes_that_are_written(stack: Pyorch) -> None:
    own = stack.ps()["words-wired-1"]["Addresses"]
    assert own["words_lan"] == "10.213.7.130", "the first of its range that is not reserved"
    lan = "/sys/class/net/lan0"
    assert inside(stack, "wired", f"cat {lan}/address {lan}/mtu").split() == ["02:42:ac:11:65:43", "1380"]
    default = inside(stack, "wired", "awk '$2 == \"00000000\" {print $1}' /proc/net/route").split()
    assert default == ["eth1"], "the highest gw_priority has the default route"
    assert inside(stack, "wired", "cat /proc/sys/net/ipv4/conf/eth1/log_martians") == "1\n"
    table = inside(stack, "wired", "cat /proc/net/fib_trie /proc/net/if_inet6")
    assert "169.254.8.8" in table and "fe800000000000000000000000000008" in table
    index, mine = socket.if_nametoindex("po-test-lan"), Path("/sys/class/net").glob(f"po{stack.root.instance}b*")
    (bridge,) = [link for link in mine if int((link / "ifindex").read_text()) == index]
    assert (bridge / "mtu").read_text() == "1380\n"


def test_a_range_of_host_ports_gives_a_free_one_of_it(stack: Pyorch) -> None:
    (port,) = stack.ps()["words-web-1"]["Publishers"]
    assert 18300 <= port["PublishedPort"] <= 18310


def test_without_a_network_there_is_only_lo_and_it_is_up(stack: Pyorch) -> None:
    shown = inside(stack, "alone", "cat /proc/net/dev; cat /sys/class/net/lo/flags")
    assert "eth0" not in shown
    assert int(shown.split()[-1], 16) & 1, "IFF_UP"
    assert stack.ps()["words-alone-1"]["Addresses"] == {}


def test_the_bridge_is_a_network_of_its_own(stack: Pyorch) -> None:
    assert set(stack.ps()["words-bridged-1"]["Addresses"]) == {"bridge"}
    assert stack.run("exec", "-T", "bridged", "getent", "hosts", "db").returncode == 2


def test_what_is_logged_to_nobody_is_kept_nowhere(stack: Pyorch) -> None:
    assert stack.ok("-f", "stack.yaml", "logs", "silent") == ""


def test_a_log_takes_no_more_room_than_it_may(stack: Pyorch) -> None:
    """128 KiB in all, of stdout and stderr together; the newest lines are there, whole."""
    flood = "i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line $i of nine thousand; echo oops $i >&2; done"
    pid_1 = "exec >/proc/1/fd/1 2>/proc/1/fd/2"
    inside(stack, "web", f"{pid_1}; {flood}")
    log = Path(stack.root.container(stack.ps()["words-web-1"]["ID"])) / "log"
    shown = stack.until(lambda: "line 9000 of" in (s := stack.ok("logs", "--no-log-prefix", "web")) and s)
    assert sum(file.stat().st_size for file in log.glob("*.log")) <= 128 << 10
    numbers = [int(line.split()[1]) for line in shown.splitlines() if line.startswith("line ")]
    assert numbers == list(range(numbers[0], 9001))
    assert all(line.startswith(("line ", "oops ")) for line in shown.splitlines()[2:]), "no line was cut"


def test_a_container_that_gets_a_name_is_replaced_and_no_two_stacks_have_the_same(pyorch: Pyorch) -> None:
    plain = f"name: n\nservices:\n  a:\n    image: host:/\n    command: {WAITS}\n    stop_signal: KILL\n"
    pyorch.up(plain)
    before = pyorch.ps()["n-a-1"]["ID"]
    pyorch.up(plain + "    container_name: only.one\n")
    after = pyorch.ps()
    assert set(after) == {"only.one"}
    assert after["only.one"]["ID"] != before
    pyorch.write(plain.replace("name: n", "name: m") + "    container_name: only.one\n", "other.yaml")
    refused = pyorch.run("up", "-d", "other.yaml")
    assert refused.returncode == 1
    assert "service 'a' of stack 'n' has one of this name" in refused.stdout + refused.stderr
