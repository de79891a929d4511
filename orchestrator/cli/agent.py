"""pyorch agent: the process that turns the circle. Not imported here: `run` becomes it, `start` starts it."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.root import Root

HELP = """Run, start, stop or look at the agent.

`pyorch up` starts it where it does not run; a service manager calls `pyorch agent run`.
"""


NODES = (
    Option("--node", kind="many", metavar="NAME:SPEC", help="A virtual node: n1:cpus=1,memory=4G,label.disk=ssd."),
    Option("--reserve", kind="text", metavar="SPEC", help="Kept free of this machine: cpus=0.5,memory=512M."),
)


def words(given: Given) -> list[str]:
    """The options of the agent's own command line."""
    found = [word for node in given.node for word in ("--node", node)]
    return [*found, "--reserve", given.reserve] if given.reserve else found


class Run:
    """`agent run`"""

    HELP = """Be the agent, in the foreground, until SIGTERM. For service managers."""
    EXAMPLES = """
  pyorch agent run                 as root; state in /var/lib/pyorch
  pyorch --root /srv/x agent run   another one beside it
  pyorch agent run --node n1:cpus=1,memory=4G --node n2:cpus=1,memory=2G,label.disk=ssd
  pyorch agent run --node none     this machine is one node again
"""
    OPTIONS: tuple[Option, ...] = NODES
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.api.start import command, must_be_root
        from orchestrator.cli.where import root

        must_be_root()
        line = command(root(given), *words(given))
        os.execv(line[0], line)


class Start:
    """`agent start`"""

    HELP = """Start the agent in the background, unless it runs."""
    EXAMPLES = """
  pyorch agent start
  pyorch agent start --reserve cpus=0.5,memory=1G    so much of this machine is kept free
"""
    OPTIONS: tuple[Option, ...] = NODES
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.api.client import Client
        from orchestrator.api.start import ensure_agent
        from orchestrator.cli.where import root

        place = root(given)
        started = ensure_agent(place, *words(given))
        if not started and words(given):
            from orchestrator.errors import Conflict

            raise Conflict(
                "cannot change the nodes: the agent runs already; 'pyorch agent stop' first (containers go on)"
            )
        pid = Client(place.api_socket, lambda: ensure_agent(place)).get("/v1/info")["pid"]
        print(f"agent {'started' if started else 'runs already'} (pid {pid})")
        return 0


class Stop:
    """`agent stop`"""

    HELP = """Stop the agent. Containers go on, with their names, ports and logs; `--all` ends them too."""
    EXAMPLES = """
  pyorch agent stop         containers go on; nobody heals them until the next start
  pyorch agent stop --all   containers, launcher and name server end too
"""
    OPTIONS = (Option("--all", help="Every container, the launcher and the name server too."),)
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        import os
        import select

        from orchestrator.cli.where import agent

        client = agent(given)
        pid = client.get("/v1/info")["pid"]
        process = os.pidfd_open(pid)
        left = client.post("/v1/agent/stop", {"all": given.all})["containers"]
        poll = select.poll()
        poll.register(process, select.POLLIN)  # readable when it has ended: pidfd_open(2)
        poll.poll()
        os.close(process)
        going_on = f"; its {left} containers go on" if left != 1 else "; its container goes on"
        print("agent stopped" + (", and everything it looked after" if given.all else going_on if left else ""))
        return 0


class Status:
    """`agent status`"""

    HELP = """Say whether the agent runs, and the pids of its processes. Exit code 3 where it does not."""
    EXAMPLES = """
  pyorch agent status
  pyorch agent status --format json
"""
    OPTIONS = (Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed."),)
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent, root
        from orchestrator.errors import Unreachable

        place = root(given)
        try:
            info: dict[str, Any] = agent(given).get("/v1/info")
            status = {"running": True, **info, "agent": {"pid": info["pid"]}}
        except Unreachable:
            status = _without_agent(place)
        if given.format == "json":
            import json

            print(json.dumps(status))
        else:
            print(_sentences(status), end="")
        return 0 if status["running"] else Unreachable.exit_code


COMMANDS = {"run": Run, "start": Start, "stop": Stop, "status": Status}


def _without_agent(place: Root) -> dict[str, Any]:
    """What can be seen from outside: launcher and dns outlive the agent, their pids are in their lock files."""
    processes = {name: {"pid": _holder(place, name)} for name in ("launcher", "dns")}
    return {"running": False, "pid": None, "agent": {"pid": None}, **processes, "root": place.directory}


def _holder(place: Root, name: str) -> int | None:
    """The pid in RUN/<name>.lock where such a process lives; the number alone may be anybody's by now."""
    import os

    try:
        with open(os.path.join(place.run, f"{name}.lock"), encoding="ascii") as file:
            pid = int(file.read() or 0)
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return pid if f"orchestrator.{name}".encode() in file.read() else None
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None


def _sentences(status: dict[str, Any]) -> str:
    lines = [f"agent      {'runs (pid ' + str(status['pid']) + ')' if status['running'] else 'does not run'}"]
    for name in ("launcher", "dns"):
        pid = (status.get(name) or {}).get("pid")
        lines.append(f"{name.ljust(9)}  {f'runs (pid {pid})' if pid else 'does not run'}")
    lines.append(f"root       {status['root']}")
    if status["running"]:
        lines.append(f"cgroup     {status['cgroup']}")
        lines.append(f"stacks     {status['stacks']}, containers {status['containers']}")
    return "\n".join(lines) + "\n"
