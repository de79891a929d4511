"""ctnetlink by hand: forget flows that connection tracking remembers. Source: linux/netfilter/nfnetlink_conntrack.h."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Set

from orchestrator.kernel.netlink import NETLINK_NETFILTER, NLM_F_ACK, Netlink, attribute, attributes, message

_GET, _DELETE = 1 << 8 | 1, 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK
_ORIGINAL, _REPLY, _ID = 1, 2, 12  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ID
_UDP = 17


def delete_udp(targets: Set[str]) -> int:
    """Delete the IPv4 UDP flows whose answers come from one of these addresses; returns how many.

    Raises OSError. A kernel that has tracked nothing yet has nothing to delete.
    """
    wanted, header = {socket.inet_aton(target) for target in targets}, struct.pack(">BBH", socket.AF_INET, 0, 0)
    if not wanted:
        return 0
    deleted = 0
    with Netlink(NETLINK_NETFILTER) as netlink:
        for entry in list(netlink.dump(_GET, header)):
            found = attributes(entry[4:])
            tuple_ = attributes(found[_REPLY])
            address, protocol = attributes(tuple_[1]), attributes(tuple_[2])
            if protocol.get(1) != bytes([_UDP]) or address.get(1) not in wanted:
                continue
            which = attribute(_ORIGINAL | 0x8000, found[_ORIGINAL]) + attribute(_ID, found[_ID])
            try:
                netlink.run(message(_DELETE, NLM_F_ACK, header + which))
                deleted += 1
            except OSError as error:
                if error.errno != errno.ENOENT:  # it ended by itself
                    raise
    return deleted
