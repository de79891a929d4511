"""The example shop as a customer sees it."""

from __future__ import annotations

import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from tests.scenarios.conftest import Pyorch

SHOP = Path(__file__).resolve().parents[2] / "examples/shop/stack.yaml"


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def page(port: int, product: str | None = None) -> str:
    body = None if product is None else urllib.parse.urlencode({"product": product}).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", body, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_the_shop_sells_packs_and_remembers(pyorch: Pyorch) -> None:
    port = free_port()
    pyorch.environment["SHOP_PORT"] = str(port)
    pyorch.ok("up", "-d", "--wait", str(SHOP))

    pyorch.until(lambda: len({re.search("served by api (.*)</p>", page(port))[1] for _ in range(8)}) == 2)  # type: ignore[index]
    assert "tea: 4.20" in page(port)
    page(port, "tea")
    pyorch.until(lambda: "tea: packed" in page(port))

    pyorch.ok("-f", str(SHOP), "down")  # without -v: the volume stays
    pyorch.ok("up", "-d", "--wait", str(SHOP))
    assert "tea: packed" in page(port)
