"""The shop's memory: documents in collections, over HTTP, kept in one SQLite file.

GET /products → all of them · POST /orders → a new one · PUT /orders/7 → replace it · GET /health
"""

import json
import signal
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def open_file() -> sqlite3.Connection:
    file = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)
    file.execute("CREATE TABLE IF NOT EXISTS documents (collection, id, body, PRIMARY KEY (collection, id))")
    return file


class Store(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            return self.answer({"healthy": True})
        query = "SELECT body FROM documents WHERE collection = ? ORDER BY id"
        return self.answer([json.loads(body) for (body,) in self.file.execute(query, [self.path.strip("/")])])

    def do_POST(self) -> None:
        collection = self.path.strip("/")
        with self.file:
            self.file.execute("BEGIN IMMEDIATE")  # nobody else may take the same number
            (number,) = self.file.execute(
                "SELECT count(*) + 1 FROM documents WHERE collection = ?", [collection]
            ).fetchone()
            self.keep(collection, f"{number:06}")

    def do_PUT(self) -> None:
        collection, _, name = self.path.strip("/").partition("/")
        self.keep(collection, name)

    def keep(self, collection: str, name: str) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"]))) | {"id": name}
        self.file.execute("REPLACE INTO documents VALUES (?, ?, ?)", [collection, name, json.dumps(document)])
        self.answer(document)

    def answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def setup(self) -> None:
        super().setup()
        self.file = open_file()  # a connection of SQLite belongs to one thread

    def finish(self) -> None:
        super().finish()
        self.file.close()

    def log_message(self, *_: object) -> None:
        pass


# The first process of a container has no default action for SIGTERM: without this, stopping takes the grace period.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("store: open", flush=True)
ThreadingHTTPServer(("", 7000), Store).serve_forever()
