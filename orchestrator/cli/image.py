"""pyorch image: what is in the store, to and from registries and files. Docker's commands, flags and fields."""

from __future__ import annotations

from orchestrator.cli.image_files import Import, Load, Save
from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Look at images, pull, push, load, save, import and remove them."""
FORMAT = Option(
    "--format", kind="text", metavar="FORMAT", default="table", help="table, json, or a {{.Field}} template."
)
NAMES = (Argument("names", many=True, metavar="IMAGE"),)


class List:
    """`image ls`"""

    HELP = """List the images in the store."""
    EXAMPLES = """
  pyorch image ls
  pyorch image ls --format json | jq -r .Repository
  pyorch image ls --filter dangling=true -q
"""
    OPTIONS = (
        Option("-a", "--all", help="Nameless ones too."),
        Option("-q", "--quiet", help="Only ids."),
        Option("--digests", help="Digests of the registry too."),
        Option("--no-trunc", help="Whole ids."),
        Option(
            "--filter", kind="many", metavar="KEY=VALUE", help="dangling=true, reference=PATTERN, label=KEY[=VALUE]."
        ),
        FORMAT,
    )
    ARGUMENTS = (Argument("names", many=True, required=False, metavar="REPOSITORY[:TAG]"),)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_rows import docker_row, formatted
        from orchestrator.cli.image_work import short
        from orchestrator.cli.printing import table

        filters = [*given.filter, *(f"reference={name}" for name in given.names[:1])]
        found = _agent(given).get("/v1/images", all=int(given.all) or None, filter=",".join(filters) or None)
        rows = [docker_row(row, given.no_trunc) for row in found]
        if given.quiet:
            print(
                "".join(f"{code}\n" for code in dict.fromkeys(short(row["ID"], given.no_trunc) for row in found)),
                end="",
            )
        elif given.format != "table":
            print(formatted(rows, given.format), end="")
        else:
            head = ["Repository", "Tag", *(["Digest"] if given.digests else []), "ID", "CreatedSince", "Size"]
            titles = {"ID": "IMAGE ID", "CreatedSince": "CREATED"}
            print(
                table([titles.get(key, key.upper()) for key in head], [[r[key] for key in head] for r in rows]), end=""
            )
        return 0


class Pull:
    """`image pull`"""

    HELP = """Fetch images from their registries, or from oci:/dir, oci-archive:/file, docker-archive:/file."""
    EXAMPLES = """
  pyorch image pull alpine:3
  pyorch image pull --platform linux/arm64 registry.example:5000/app
  pyorch image pull oci:/srv/layout:v1
"""
    OPTIONS = (
        Option("-q", "--quiet", help="Say only the name."),
        Option("--platform", kind="text", metavar="OS/ARCH", help="Not for this machine but for that kind."),
    )
    ARGUMENTS = NAMES

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_work import work

        asked = [{"reference": name, "platform": given.platform} for name in dict.fromkeys(given.names)]
        code, pulled = work(given, "pull", asked)
        for message in pulled:
            print(message["name"])
        return code


class Push:
    """`image push`"""

    HELP = """Send images to their registries."""
    EXAMPLES = """
  pyorch image push registry.example:5000/app:1
"""
    OPTIONS = (Option("-q", "--quiet", help="Say only the name."),)
    ARGUMENTS = NAMES

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_work import work

        code, pushed = work(given, "push", [{"reference": name} for name in dict.fromkeys(given.names)])
        for message in pushed:
            print(
                message["name"]
                if given.quiet
                else f"{message['image']}: digest: {message['digest']} size: {message['size']}"
            )
        return code


class Tag:
    """`image tag`"""

    HELP = """Give an image another name."""
    EXAMPLES = """
  pyorch image tag app:1 registry.example:5000/app:1
"""
    OPTIONS: tuple[Option, ...] = ()
    ARGUMENTS = (Argument("source", metavar="IMAGE"), Argument("target", metavar="NAME[:TAG]"))

    @staticmethod
    def run(given: Given) -> int:
        _agent(given).post("/v1/images/tag", {"image": given.source, "name": given.target})
        return 0


class Remove:
    """`image rm`"""

    HELP = """Take names away, and what then has none. Images that containers or kept revisions need stay."""
    EXAMPLES = """
  pyorch image rm app:1
  pyorch image rm -f 1f2e3d4c5b6a
"""
    OPTIONS = (Option("-f", "--force", help="Names of what is in use too; its content stays until nothing needs it."),)
    ARGUMENTS = NAMES

    @staticmethod
    def run(given: Given) -> int:
        for line in _agent(given).post("/v1/images/remove", {"images": given.names, "force": given.force}):
            print(*(f"{deed}: {name}" for deed, name in line.items()))
        return 0


class Prune:
    """`image prune`"""

    HELP = """Remove nameless images that no container and no kept revision needs.

    With -a those that have a name too, and the build cache.
    """
    EXAMPLES = """
  pyorch image prune -f
  pyorch image prune -af --filter until=240h
"""
    OPTIONS = (
        Option("-a", "--all", help="Those with a name too."),
        Option("-f", "--force", help="Do not ask."),
        Option("--filter", kind="many", metavar="until=AGE", help="Only what was pulled before."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_work import amount

        which = (
            "all images that nothing uses, and the build cache"
            if given.all
            else "all images without a name that nothing uses"
        )
        if not given.force and not _agreed(f"This will remove {which}."):
            return 1
        done = _agent(given).post("/v1/images/prune", {"all": given.all, "until": _until(given.filter)})
        if done["ImagesDeleted"]:
            print("Deleted Images:")
        for line in done["ImagesDeleted"]:
            print(*(f"{deed.lower()}: {name}" for deed, name in line.items()))
        print(f"Total reclaimed space: {amount(done['SpaceReclaimed'])}")
        return 0


class Inspect:
    """`image inspect`"""

    HELP = """Show everything about images, as JSON."""
    EXAMPLES = """
  pyorch image inspect app:1
  pyorch image inspect -f '{{.Config.Entrypoint}}' app:1
"""
    OPTIONS = (
        Option("-f", "--format", kind="text", metavar="FORMAT", default="", help="json, or a {{.Field}} template."),
    )
    ARGUMENTS = NAMES

    @staticmethod
    def run(given: Given) -> int:
        import json

        from orchestrator.cli.image_rows import formatted

        client = _agent(given)
        found = [client.get("/v1/images/inspect", name=name) for name in given.names]
        if given.format in ("", "json"):
            print(json.dumps(found, indent=None if given.format else 4, ensure_ascii=False))
        else:
            print(formatted(found, given.format), end="")
        return 0


class History:
    """`image history`"""

    HELP = """Show the steps an image was made by."""
    EXAMPLES = """
  pyorch image history --no-trunc app:1
"""
    OPTIONS = (Option("--no-trunc", help="Whole commands and ids."), Option("-q", "--quiet", help="Only ids."), FORMAT)
    ARGUMENTS = (Argument("name", metavar="IMAGE"),)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.image_rows import cut, formatted
        from orchestrator.cli.image_work import age, amount, short
        from orchestrator.cli.printing import table

        rows = [
            {
                "ID": row["ID"] if row["ID"].startswith("<") else short(row["ID"], given.no_trunc),
                "CreatedAt": row["created"],
                "CreatedSince": age(row["created"]),
                "CreatedBy": row["CreatedBy"] if given.no_trunc else cut(row["CreatedBy"], 45),
                "Size": amount(row["size"]),
                "Comment": row["Comment"],
            }
            for row in _agent(given).get("/v1/images/history", name=given.name)
        ]
        if given.quiet:
            print("".join(f"{row['ID']}\n" for row in rows), end="")
        elif given.format != "table":
            print(formatted(rows, given.format), end="")
        else:
            keys = ("ID", "CreatedSince", "CreatedBy", "Size", "Comment")
            heads = ("IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT")
            print(table(heads, [[row[key] for key in keys] for row in rows]), end="")
        return 0


COMMANDS = {
    "ls": List,
    "pull": Pull,
    "push": Push,
    "load": Load,
    "save": Save,
    "import": Import,
    "tag": Tag,
    "rm": Remove,
    "prune": Prune,
    "inspect": Inspect,
    "history": History,
}


def _agent(given: Given) -> Any:
    from orchestrator.cli.where import ensured

    return ensured(given)


def _agreed(what: str) -> bool:
    import sys

    from orchestrator.errors import Mistake

    if not sys.stdin.isatty():
        raise Mistake("cannot ask whether to go on: stdin is no terminal; use --force")
    print(f"WARNING! {what}\nAre you sure you want to continue? [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _until(filters: list[str]) -> float | None:
    """Seconds since the epoch. Mistake for another filter."""
    import time

    from orchestrator.errors import Mistake
    from orchestrator.units import duration

    moment = None
    for word in filters:
        key, _, text = word.partition("=")
        if key != "until":
            raise Mistake(f"cannot filter by '{key}': known is until")
        try:
            moment = time.time() - duration(text)
        except ValueError as error:
            raise Mistake(f"cannot filter by until: {error}") from error
    return moment
