"""Fill the shelves, then end: the api starts only when this has gone well."""

import json
import os
from urllib.request import Request, urlopen

PRODUCTS = {"tea": 4.20, "coffee": 7.50, "cocoa": 5.80}

for name, price in PRODUCTS.items():
    body = json.dumps({"name": name, "price": price}).encode()
    urlopen(Request(f"{os.environ['STORE']}/products/{name}", body, method="PUT"), timeout=5).close()
print(f"migrate: {len(PRODUCTS)} products on the shelves", flush=True)
