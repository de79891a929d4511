"""pyorch volume: what services keep. docker's flags and fields where docker has them."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Look at volumes, make, remove, copy, back up and restore them."""
_FORMAT = Option("--format", kind="text", choices=("table", "json"), default="table", help="A table, or JSON lines.")
_STOP = Option("--stop", help="Stop the services that use it meanwhile, and start them again.")


class Ls:
    """`volume ls`"""

    HELP = """List volumes."""
    EXAMPLES = """
  pyorch volume ls
  pyorch volume ls -q --filter dangling=true     those that no container uses
  pyorch volume ls --size                        with what they take of the disk
"""
    OPTIONS = (
        Option("--filter", kind="many", metavar="KEY=VALUE", help="dangling=, name=, label=, driver=, stack=."),
        _FORMAT,
        Option("-q", "--quiet", help="Only names."),
        Option("-s", "--size", help="What each takes of the disk."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent

        rows = agent(given).get("/v1/volumes", sizes=int(given.size))
        show(given, [row for row in rows if all(_passes(row, text) for text in given.filter)])
        return 0


def show(given: Given, rows: list[dict[str, Any]]) -> None:
    """The list as docker prints it."""
    from orchestrator.cli.printing import table
    from orchestrator.units import human_bytes

    sizes = [human_bytes(row["UsageData"]["Size"]) if "UsageData" in row else "N/A" for row in rows]
    if given.quiet:
        print("".join(f"{row['Name']}\n" for row in rows), end="")
    elif given.format == "json":
        import json

        for row, size in zip(rows, sizes, strict=True):
            labels = ",".join(f"{key}={value}" for key, value in (row["Labels"] or {}).items())
            line = {"Availability": "N/A", "Driver": row["Driver"], "Group": "N/A", "Labels": labels, "Links": "N/A"}
            line |= {"Mountpoint": row["Mountpoint"], "Name": row["Name"], "Scope": "local", "Size": size}
            print(json.dumps(line | {"Status": "N/A"}))
    else:
        cells = [
            (row["Driver"], row["Name"], size, ", ".join(user["Name"] for user in row["Users"]))
            for row, size in zip(rows, sizes, strict=True)
        ]
        print(table(("DRIVER", "VOLUME NAME", "SIZE", "USED BY"), cells), end="")


def _passes(row: dict[str, Any], text: str) -> bool:
    from orchestrator.errors import Mistake

    key, _, value = text.partition("=")
    labels = row["Labels"] or {}
    match key:
        case "dangling":
            return (value.lower() in ("true", "1")) == (not row["Users"])
        case "name":
            return value in row["Name"]
        case "label":
            name, equals, wanted = value.partition("=")
            return name in labels and (not equals or labels[name] == wanted)
        case "driver":
            return bool(row["Driver"] == value)
        case "stack":
            return bool(labels.get("com.docker.compose.project") == value)
    raise Mistake(f"cannot filter by '{key}': expected dangling, name, label, driver or stack")


class Inspect:
    """`volume inspect`"""

    HELP = """Show all that is known of volumes, as JSON."""
    EXAMPLES = """
  pyorch volume inspect shop_data
"""
    OPTIONS = (Option("-s", "--size", help="What each takes of the disk."),)
    ARGUMENTS = (Argument("names", many=True, metavar="VOLUME"),)

    @staticmethod
    def run(given: Given) -> int:
        import json

        from orchestrator.cli.where import agent

        rows = agent(given).get("/v1/volumes", names=",".join(given.names), sizes=int(given.size))
        print(json.dumps(rows, indent=4, ensure_ascii=False))
        return 0


class Create:
    """`volume create`"""

    HELP = """Make a volume; without a name, one that nobody named."""
    EXAMPLES = """
  pyorch volume create shared
  pyorch volume create -o type=tmpfs -o device=tmpfs -o o=size=64m scratch
"""
    OPTIONS = (
        Option("-d", "--driver", kind="text", choices=("local",), default="local", help="local is the only one."),
        Option("--label", kind="many", metavar="KEY=VALUE", help="A label; may be given again."),
        Option("-o", "--opt", kind="many", metavar="KEY=VALUE", help="type, o or device; may be given again."),
    )
    ARGUMENTS = (Argument("name", required=False, metavar="VOLUME"),)

    @staticmethod
    def run(given: Given) -> int:
        body = {"name": given.name, "labels": _pairs(given.label), "options": _pairs(given.opt)}
        return _make(given, body)


class Clone:
    """`volume clone`"""

    HELP = """Make a new volume with what another one holds. Where the file system can, it takes no room."""
    EXAMPLES = """
  pyorch volume clone shop_data shop_data_before
"""
    OPTIONS = (Option("--label", kind="many", metavar="KEY=VALUE", help="A label; may be given again."), _STOP)
    ARGUMENTS = (Argument("origin", metavar="VOLUME"), Argument("name", metavar="NEW"))

    @staticmethod
    def run(given: Given) -> int:
        with _quiet(given, given.origin):
            return _make(given, {"name": given.name, "from": given.origin, "labels": _pairs(given.label)})


def _make(given: Given, body: dict[str, Any]) -> int:
    from orchestrator.cli.where import ensured

    print(ensured(given).post("/v1/volumes", body)["Name"])
    return 0


def _pairs(texts: list[str]) -> dict[str, str]:
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


class Rm:
    """`volume rm`"""

    HELP = """Remove volumes and what they hold; not while a container uses them."""
    EXAMPLES = """
  pyorch volume rm shop_data
"""
    OPTIONS = (Option("-f", "--force", help="Protected ones too; content with those that are not there."),)
    ARGUMENTS = (Argument("names", many=True, metavar="VOLUME"),)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.api.client import quoted
        from orchestrator.cli.where import agent, each

        client, query = agent(given), {"force": int(given.force)}
        return each(given.names, lambda name: client.open("DELETE", f"/v1/volumes/{quoted(name)}", query=query).all())


class Prune:
    """`volume prune`"""

    HELP = """Remove anonymous volumes that nobody uses any more; with -a all that no container and no stack uses."""
    EXAMPLES = """
  pyorch volume prune
  pyorch volume prune -af
"""
    OPTIONS = (
        Option("-a", "--all", help="Named ones too. Protected ones stay."),
        Option("-f", "--force", help="Do not ask."),
    )
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent
        from orchestrator.units import human_bytes

        if not given.force:
            kind = "all volumes" if given.all else "anonymous volumes"
            print(f"WARNING! This will remove {kind} not used by any container or stack.")
            try:
                sure = input("Are you sure you want to continue? [y/N] ").strip().lower() in ("y", "yes")
            except EOFError:
                sure = False
            if not sure:
                return 0
        answer = agent(given).post("/v1/volumes/prune", {"all": given.all})
        if answer["VolumesDeleted"]:
            print("Deleted Volumes:", *answer["VolumesDeleted"], "", sep="\n")
        print(f"Total reclaimed space: {human_bytes(answer['SpaceReclaimed'])}")
        return 0


class Backup:
    """`volume backup`"""

    HELP = """Write what a volume holds into an archive: owners, modes, attributes, ACLs, hard links and holes.

The name's end says how it is compressed: .tar, .tar.gz, .tar.zst. What runs meanwhile may write: --stop makes sure.
"""
    EXAMPLES = """
  pyorch volume backup shop_data                       into ./shop_data.tar.zst
  pyorch volume backup --stop shop_data /srv/data.tar.gz
"""
    OPTIONS = (_STOP,)
    ARGUMENTS = (Argument("name", metavar="VOLUME"), Argument("archive", required=False, metavar="FILE"))

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.api.client import quoted
        from orchestrator.cli.printing import say
        from orchestrator.cli.where import agent
        from orchestrator.units import human_bytes

        path = os.path.abspath(given.archive or f"{given.name}.tar.zst")
        client = agent(given)
        running = _running(given, given.name)
        if running and not given.stop:
            names = ", ".join(user["Name"] for user in running)
            say(f"warning: {names} may write into it meanwhile; --stop stops what uses it for so long")
        with _quiet(given, given.name):
            answer = client.post(f"/v1/volumes/{quoted(given.name)}/backup", {"path": path})
        print(f"{answer['Path']} ({human_bytes(answer['Size'])})")
        return 0


class Restore:
    """`volume restore`"""

    HELP = """Let a volume hold what an archive holds. A volume with something in it is left alone, unless --force."""
    EXAMPLES = """
  pyorch volume restore shop_data shop_data.tar.zst
  pyorch volume restore --stop --force shop_data before.tar.gz
"""
    OPTIONS = (Option("-f", "--force", help="Replace what it holds."), _STOP)
    ARGUMENTS = (Argument("name", metavar="VOLUME"), Argument("archive", metavar="FILE"))

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.api.client import quoted
        from orchestrator.cli.where import ensured

        body = {"path": os.path.abspath(given.archive), "force": given.force}
        with _quiet(given, given.name):
            print(ensured(given).post(f"/v1/volumes/{quoted(given.name)}/restore", body)["Name"])
        return 0


def _running(given: Given, name: str) -> list[dict[str, str]]:
    """The containers that run and use it; none where there is no such volume yet."""
    from orchestrator.cli.where import agent

    rows = agent(given).get("/v1/volumes")
    return [user for row in rows if row["Name"] == name for user in row["Users"] if user["State"] == "running"]


class _quiet:
    """With --stop: what uses the volume is stopped, and started again however it goes."""

    def __init__(self, given: Given, name: str) -> None:
        self._given, self._users = given, _running(given, name) if given.stop else []

    def __enter__(self) -> None:
        self._each("stop")

    def __exit__(self, *_: object) -> None:
        self._each("start")

    def _each(self, deed: str) -> None:
        from orchestrator.cli.deed import do

        for stack in sorted({user["Stack"] for user in self._users}):
            self._given.__dict__["project_name"] = stack
            services = sorted({user["Service"] for user in self._users if user["Stack"] == stack})
            do(self._given, deed, {"services": services, "grace": None, "no_deps": True})


COMMANDS = {
    "ls": Ls,
    "inspect": Inspect,
    "create": Create,
    "rm": Rm,
    "prune": Prune,
    "backup": Backup,
    "restore": Restore,
    "clone": Clone,
}
