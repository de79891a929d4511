"""What the shop can do, over HTTP. Two of these run; each answer says which one it came from."""

import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

STORE = os.environ["STORE"]
ME = socket.gethostname()


def ask(path: str, document: object = None) -> object:
    """GET from the store, or POST where there is a document."""
    body = None if document is None else json.dumps(document).encode()
    with urlopen(Request(STORE + path, body), timeout=5) as answer:
        return json.load(answer)


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/":
            self.answer(200, {"served_by": ME, "products": ask("/products"), "orders": ask("/orders")})
        elif self.path == "/health":
            self.answer(200, {"healthy": True})
        else:
            self.answer(404, {"error": f"no such page: {self.path}"})

    def do_POST(self) -> None:
        product = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if product not in [known["name"] for known in ask("/products")]:
            return self.answer(404, {"error": f"no such product: {product}"})
        print(f"api: sold {product}", flush=True)
        return self.answer(200, {"served_by": ME, "order": ask("/orders", {"product": product, "state": "new"})})

    def answer(self, status: int, value: object) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())

    def log_message(self, *_: object) -> None:
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(f"api: {ME} is open", flush=True)
ThreadingHTTPServer(("", 8000), Api).serve_forever()
