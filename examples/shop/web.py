"""The shop's window: one page, made from what the api says."""

import json
import os
import signal
import sys
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

API = os.environ["API"]
PAGE = """<!doctype html><title>shop</title><h1>Shop</h1>
<form method=post><ul>{products}</ul></form>
<h2>Orders</h2><ol>{orders}</ol>
<p>served by api {served_by}</p>
"""


def ask(path: str, body: bytes | None = None) -> dict:
    with urlopen(Request(API + path, body), timeout=5) as answer:
        return json.load(answer)


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            return self.answer(200, "healthy\n")
        try:
            shop = ask("/")
        except OSError as error:  # no name, no connection, no answer in time
            return self.answer(502, f"the api does not answer: {error}\n")
        row = "<li>{name}: {price:.2f} <button name=product value={name}>buy</button></li>"
        return self.answer(
            200,
            PAGE.format(
                products="\n".join(row.format(name=escape(p["name"]), price=p["price"]) for p in shop["products"]),
                orders="\n".join(f"<li>{escape(o['product'])}: {escape(o['state'])}</li>" for o in shop["orders"]),
                served_by=escape(shop["served_by"]),
            ),
        )

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        ask("/orders", form["product"][0].encode())
        self.send_response(303)
        self.send_header("Location", "/")
        self.end_headers()

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("web: open", flush=True)
ThreadingHTTPServer(("", 8000), Web).serve_forever()
