"""Packs what was ordered: looks at the store every second."""

import json
import os
import signal
import sys
import time
from urllib.request import Request, urlopen

STORE = os.environ["STORE"]

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("worker: ready to pack", flush=True)
while True:
    with urlopen(f"{STORE}/orders", timeout=5) as answer:
        orders = json.load(answer)
    for order in orders:
        if order["state"] == "new":
            body = json.dumps(order | {"state": "packed"}).encode()
            urlopen(Request(f"{STORE}/orders/{order['id']}", body, method="PUT"), timeout=5).close()
            print(f"worker: packed order {order['id']}: {order['product']}", flush=True)
    time.sleep(1)
