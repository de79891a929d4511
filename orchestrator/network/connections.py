"""Who is still talking to a container: its established TCP connections, read from its network namespace's procfs.

proc(5), /proc/PID/net/tcp: one line a socket, addresses in hexadecimal, `st` as in net/tcp_states.h.
"""

from __future__ import annotations

_ESTABLISHED, _SYN_RECV, _LISTEN = "01", "03", "0A"


def incoming(pid: int) -> int:
    """How many connections are open to ports that the container listens on; 0 where it has ended."""
    listening: set[str] = set()
    open_to: list[str] = []
    for file in ("tcp", "tcp6"):
        try:
            with open(f"/proc/{pid}/net/{file}", encoding="ascii") as lines:
                next(lines, None)
                for line in lines:
                    _, local, _, state = line.split(None, 4)[:4]
                    port = local.rpartition(":")[2]
                    if state == _LISTEN:
                        listening.add(port)
                    elif state in (_ESTABLISHED, _SYN_RECV):
                        open_to.append(port)
        except (FileNotFoundError, ProcessLookupError, OSError):
            continue  # it has just ended, or this kernel has no IPv6
    return sum(port in listening for port in open_to)
