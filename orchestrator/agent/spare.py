"""What is wanted, written a second time, in RUN: for the day the database is damaged or gone while containers run.

From their bundles one can tell what runs, not what for: an agent that knew no stack would see only strangers, and could
neither restart nor publish nor take down what its user has. RUN lies in memory and lives as long as the containers do,
which is just as long as this copy is needed. Events and addresses are not in it: the former are history, the latter
stand in the bundles.
"""

from __future__ import annotations

import json
import os
import sqlite3

ROWS = {
    "stacks": "SELECT * FROM stacks",
    # Of each stack the revision that is wanted, and those that its orphans are remembered by.
    "revisions": """SELECT r.* FROM revisions r JOIN stacks s ON r.stack = s.name WHERE r.revision = s.revision OR
        r.revision IN (SELECT json_extract(value, '$[1]') FROM json_each(s.wishes, '$.orphans'))""",
    "networks": "SELECT * FROM networks",
    "ports": "SELECT * FROM ports",
}


def keep(db: sqlite3.Connection, path: str) -> None:
    """Write the copy, by rename. Raises OSError."""
    tables = {table: db.execute(query).fetchall() for table, query in ROWS.items()}
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(json.dumps(tables))
    os.replace(f"{path}.new", path)


def restore(db: sqlite3.Connection, path: str) -> list[str]:
    """Fill an empty database from the copy; returns the names of the stacks, none where there is no copy."""
    try:
        with open(path, encoding="utf-8") as file:
            tables = json.load(file)
    except FileNotFoundError:
        return []
    for table in ROWS:
        for row in tables[table]:
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    db.commit()
    return [row[0] for row in tables["stacks"]]
