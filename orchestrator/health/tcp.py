"""A probe over TCP: whoever accepts a connection is well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tcp:
    port: int

    def __str__(self) -> str:
        return f"tcp :{self.port}"
