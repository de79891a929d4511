"""Looking into a container from outside: a socket that lives in its network, a file below its root.

A socket belongs for ever to the network namespace that its thread was in when it was made (network_namespaces(7)): so
one thread steps in for that one call and back again, and the container needs no program for it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct

from orchestrator.kernel import namespaces, syscalls

_RESOLVE_IN_ROOT = 0x10  # linux/openat2.h: links, absolute ones too, end below the directory
_how = struct.Struct("=3Q")  # struct open_how: flags, mode, resolve


def stream_socket(pid: int) -> socket.socket:
    """A TCP socket in the network namespace of a process, not connected and not blocking. Raises OSError."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespaces.join(theirs, namespaces.NEWNET, f"process {pid}")
            try:
                return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            finally:
                namespaces.join(own, namespaces.NEWNET, "the agent")
        finally:
            os.close(theirs)
    finally:
        os.close(own)


def exists(pid: int, path: str) -> bool:
    """Whether a container has a file or directory of this name."""
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        how = ctypes.create_string_buffer(_how.pack(os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT), _how.size)
        found = syscalls.attempt("openat2", root, os.fsencode(path), how, ctypes.c_long(_how.size))
        if found >= 0:
            os.close(found)
        return found >= 0
    finally:
        os.close(root)
