"""The files of /etc that say who is who: hosts, resolv.conf, hostname. Pure texts; hosts(5), resolv.conf(5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOST_GATEWAY = "host-gateway"  # of extra_hosts: the host, as it is seen from the container
MOST_RESOLVERS = 3  # MAXNS of resolv.conf(5): libc reads no more
LOCAL = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


def hosts(
    own: Sequence[str], names: Sequence[str], extra: Mapping[str, Sequence[str]], gateway: str, local: str = LOCAL
) -> str:
    """`own` addresses are called `names`; `extra`: name → addresses; `gateway` stands for host-gateway."""
    lines = [
        f"{gateway if address == HOST_GATEWAY else address}\t{name}\n"
        for name, addresses in extra.items()
        for address in addresses
    ]
    return local + "".join(lines) + "".join(f"{address}\t{' '.join(names)}\n" for address in own)


def resolv_conf(servers: Sequence[str], search: Sequence[str], options: Sequence[str]) -> str:
    """Names of one word are asked for as they are (ndots:0) unless the options say otherwise, as in Docker."""
    chosen = [*options, *(() if any(word.startswith("ndots:") for word in options) else ("ndots:0",))]
    lines = [f"nameserver {server}" for server in servers[:MOST_RESOLVERS]]
    lines += [f"search {' '.join(search)}"] if search and tuple(search) != (".",) else []
    return "\n".join([*lines, f"options {' '.join(chosen)}"]) + "\n"
