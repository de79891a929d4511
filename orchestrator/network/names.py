"""The name server inside of a container: 127.0.0.11, port 53, where programs of Docker's world ask.

The sockets are dns's, opened here in the container's network. They listen on another port, and the packets to and from
127.0.0.11:53 are rewritten one by one: so a program of the container may have port 53 of all addresses for itself
(0.0.0.0:53 would else be taken), and no connection is tracked that was not before.
"""

from __future__ import annotations

import errno
import os
import socket

from orchestrator.kernel import netlink
from orchestrator.kernel import nftables as nft

ADDRESS, PORT = "127.0.0.11", 53
BEHIND = 87  # "any private terminal link" (IANA): below the ports the kernel gives away, and nobody's
_TABLE = "pyorch_names"
_BEFORE_TRACKING, _AFTER_TRACKING = -300, -150  # priorities: who tracks connections sees BEHIND, both ways

_RULES = (
    nft.new_table(_TABLE),
    nft.new_chain(_TABLE, "questions", "filter", "output", _BEFORE_TRACKING),
    nft.new_chain(_TABLE, "answers", "filter", "output", _AFTER_TRACKING),
    nft.new_rule(
        *(_TABLE, "questions", nft.destination(ADDRESS), nft.not_icmp()),
        *(nft.any_port(PORT), nft.write_port(BEHIND)),
    ),
    nft.new_rule(
        *(_TABLE, "answers", nft.source(ADDRESS), nft.not_icmp()),
        *(nft.any_port(BEHIND, source=True), nft.write_port(PORT, source=True)),
    ),
)


def opened(pid: int, *, fresh: bool) -> tuple[socket.socket, socket.socket] | None:
    """Sockets for datagrams and for connections in the network of `pid`, and the rules that lead to them.

    None: somebody has them already. `fresh`: nothing of ours has ever been in there. Raises OSError.
    """
    if not fresh and os.stat(f"/proc/{pid}/ns/net").st_ino == os.stat("/proc/self/ns/net").st_ino:
        raise ProcessLookupError(errno.ESRCH, f"process {pid} is not the one that had a network of its own")
    with netlink.namespace_of(pid):
        datagrams = connections = None
        try:
            datagrams, connections = _bound(socket.SOCK_DGRAM), _bound(socket.SOCK_STREAM)
            connections.listen(16)
            if fresh or not nft.has_table(_TABLE):
                nft.commit(_RULES)
        except OSError as error:
            for each in filter(None, (datagrams, connections)):
                each.close()
            if error.errno == errno.EADDRINUSE:
                return None
            raise
        return datagrams, connections


def _bound(kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        made.bind((ADDRESS, BEHIND))
    except OSError:
        made.close()
        raise
    return made
