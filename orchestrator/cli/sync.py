"""pyorch sync: stacks that follow a git repository. The agent does it; here it is told what to do, and looked at."""

from __future__ import annotations

from orchestrator.cli.option import Argument, Given, Option

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

HELP = """Follow git repositories: what is committed there is what runs here.

A source is fetched at its interval (and when a webhook announces a push), checked, and applied as `up` would. A commit
that keeps failing is set aside, and the last good one is kept running.
"""
NAME = Argument("name", metavar="NAME")
FORMAT = Option("--format", kind="text", choices=("text", "json"), default="text", help="How it is printed.")


class Add:
    """`sync add`"""

    HELP = """Follow a repository from now on; a source of that name and repository is changed.

Without --allow its stacks may mount only what lies in the repository, publish ports from 1024 and have no powers over
this machine. Nothing in the repository is run: no hooks, no submodules.
"""
    EXAMPLES = """
  pyorch sync add shop --repo https://git.example.org/shop.git
  pyorch sync add shop --repo git@git.example.org:shop.git --ref main --ssh-key /root/.ssh/shop
  pyorch sync add shop --repo /srv/git/shop.git --ref 'semver:^1.4' --path 'stacks/*/stack.yaml' --prune
  pyorch sync add shop --repo URL --verify ssh --keys allowed_signers --allow port=80 --allow path=/srv/data
  pyorch sync add shop --repo URL --webhook 127.0.0.1:9000 --secret-file /root/hook.secret
"""
    OPTIONS = (
        Option("--repo", kind="text", metavar="URL", help="file, http, https, ssh or git; also host:path."),
        Option("--ref", kind="text", metavar="REF", help="Branch, tag, semver:RANGE or commit [the remote's HEAD]."),
        Option("--path", kind="text", metavar="PATH", default="stack.yaml", help="The stack file; * for several."),
        Option("--interval", kind="text", metavar="DURATION", default="60s", help="Between two looks."),
        Option("--manual", help="Apply nothing before `sync now`."),
        Option("--prune", help="Take away what the repository no longer has. Never volumes."),
        Option("--attempts", kind="integer", default=3, help="Of one commit; then it is set aside."),
        Option("--timeout", kind="text", metavar="DURATION", default="10m", help="For one attempt to come up whole."),
        Option("--settle", kind="text", metavar="DURATION", default="2s", help="It must then stay well for so long."),
        Option("--allow", kind="many", metavar="WHAT", help="path=DIR, port=N, port=N-M, secret=NAME, privileged."),
        Option("--env", kind="many", metavar="NAME=VALUE", help="For ${…} in its stacks."),
        Option("--ssh-key", kind="text", metavar="FILE", help="The key that opens the repository."),
        Option("--known-hosts", kind="text", metavar="FILE", help="Whose host keys are trusted."),
        Option("--credentials", kind="text", metavar="FILE", help="As git-credential-store keeps them."),
        Option("--verify", kind="text", choices=("ssh", "gpg"), help="Only commits signed with one of --keys."),
        Option("--keys", kind="text", metavar="FILE", help="allowed_signers (ssh) or exported public keys (gpg)."),
        Option("--age-key", kind="text", metavar="FILE", help="Identities that open age and SOPS files."),
        Option("--webhook", kind="text", metavar="HOST:PORT", help="Listen for pushes: POST /hook/NAME."),
        Option("--secret-file", kind="text", metavar="FILE", help="The webhook's secret."),
    )
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        import os

        from orchestrator.cli.where import ensured
        from orchestrator.errors import Mistake

        if not given.repo:
            raise Mistake("cannot add a source without its repository: write --repo URL")
        local = os.path.exists(given.repo)
        body = {
            "name": given.name,
            "repo": os.path.abspath(given.repo) if local else given.repo,
            "ref": given.ref,
            "path": given.path,
            "interval": _seconds("--interval", given.interval),
            "manual": given.manual,
            "prune": given.prune,
            "attempts": given.attempts,
            "timeout": _seconds("--timeout", given.timeout),
            "settle": _seconds("--settle", given.settle),
            "allow": given.allow,
            "environment": dict(_variable(word) for word in given.env),
            "ssh_key": _path(given.ssh_key),
            "known_hosts": _path(given.known_hosts),
            "credentials": _path(given.credentials),
            "verify": given.verify,
            "keys": _content(given.keys),
            "age_key": _path(given.age_key),
            "webhook": given.webhook,
            "secret": _content(given.secret_file).strip(),
        }
        ensured(given).post("/v1/sync", {name: value for name, value in body.items() if value not in (None, "")})
        print(f"{given.name}: followed from now on; 'pyorch sync status {given.name}' shows how far it is")
        return 0


class Ls:
    """`sync ls`"""

    HELP = """List the sources, each with its two axes: whether it is the commit, and whether it is well."""
    EXAMPLES = """
  pyorch sync ls
  pyorch sync ls --format json
"""
    OPTIONS = (FORMAT,)
    ARGUMENTS: tuple[Argument, ...] = ()

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.printing import table
        from orchestrator.cli.where import agent

        sources = agent(given).get("/v1/sync")
        if given.format == "json":
            return _json(sources)
        rows = [
            (one["name"], one["sync"], one["health"], (one["live"] or "-")[:8], one["ref"], one["why"].split("\n")[0])
            for one in sources
        ]
        print(table(("NAME", "SYNC", "HEALTH", "COMMIT", "REF", "WHY"), rows), end="")
        return 0


class Status:
    """`sync status`"""

    HELP = """Say how far a source is. Exit code: 0 synced and healthy, 1 not."""
    EXAMPLES = """
  pyorch sync status shop
  pyorch sync status shop --format json
"""
    OPTIONS = (FORMAT,)
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent

        one = agent(given).get(_path_of(given.name))
        if given.format == "json":
            _json(one)
        else:
            print(_sentences(one), end="")
        return 0 if one["sync"] == "Synced" and one["health"] == "Healthy" else 1


class Now:
    """`sync now`"""

    HELP = """Look at once, and apply what is found: also a commit that waits for a user or was set aside."""
    EXAMPLES = """
  pyorch sync now shop
  pyorch sync now shop --allow-removal   even if most of what runs would go
"""
    OPTIONS = (Option("--allow-removal", help="Even if most of the services would be taken away."),)
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent

        agent(given).post(_path_of(given.name, "now"), {"removal": given.allow_removal})
        print(f"{given.name}: looking; 'pyorch sync status {given.name}' shows how far it is")
        return 0


class Suspend:
    """`sync suspend`"""

    HELP = """Neither look nor apply for a while. What runs goes on and is healed."""
    EXAMPLES = """
  pyorch sync suspend shop --for 2h --reason 'release freeze'
"""
    OPTIONS = (
        Option("--for", kind="text", metavar="DURATION", help="It ends by itself [when resumed]."),
        Option("--reason", kind="text", help="What status says."),
    )
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent

        length = getattr(given, "for")
        seconds = _seconds("--for", length) if length else None
        one = agent(given).post(_path_of(given.name, "suspend"), {"seconds": seconds, "reason": given.reason})
        print(f"{given.name}: suspended: {one['why']}")
        return 0


class Resume:
    """`sync resume`"""

    HELP = """Follow it again, from now on."""
    EXAMPLES = """
  pyorch sync resume shop
"""
    OPTIONS: tuple[Option, ...] = ()
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        from orchestrator.cli.where import agent

        agent(given).post(_path_of(given.name, "resume"), {})
        print(f"{given.name}: followed again")
        return 0


class Rm:
    """`sync rm`"""

    HELP = """No longer follow a source. Its stacks go on; `pyorch -p STACK down` takes one away."""
    EXAMPLES = """
  pyorch sync rm shop
"""
    OPTIONS: tuple[Option, ...] = ()
    ARGUMENTS = (NAME,)

    @staticmethod
    def run(given: Given) -> int:
        import json

        from orchestrator.cli.where import agent

        left = json.loads(agent(given).open("DELETE", _path_of(given.name)).all())["stacks"]
        print(f"{given.name}: no longer followed" + (f"; what runs goes on: {', '.join(left)}" if left else ""))
        return 0


COMMANDS = {"add": Add, "ls": Ls, "status": Status, "now": Now, "suspend": Suspend, "resume": Resume, "rm": Rm}


def _path_of(name: str, deed: str = "") -> str:
    from orchestrator.api.client import quoted

    return f"/v1/sync/{quoted(name)}" + (f"/{deed}" if deed else "")


def _seconds(option: str, word: str) -> float:
    from orchestrator.errors import Mistake
    from orchestrator.units import duration

    try:
        return duration(word)
    except ValueError as error:
        raise Mistake(f"cannot read {option} {word}: {error}") from error


def _variable(word: str) -> tuple[str, str]:
    from orchestrator.errors import Mistake

    name, equals, value = word.partition("=")
    if not name or not equals:
        raise Mistake(f"cannot read --env {word}: write NAME=VALUE")
    return name, value


def _path(word: str | None) -> str | None:
    import os

    return None if word is None else os.path.abspath(word)


def _content(file: str | None) -> str:
    """The text of a file that the user names: the agent keeps it, the file may go."""
    if file is None:
        return ""
    from orchestrator.errors import Mistake

    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Mistake(f"cannot read {file}: {getattr(error, 'strerror', None) or error}") from error


def _json(value: Any) -> int:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))
    return 0


def _sentences(one: dict[str, Any]) -> str:
    lines = [
        f"source   {one['name']}: {one['repo']} {one['ref']} {one['path']}",
        f"sync     {one['sync']}: {one['why']}",
        f"health   {one['health']}",
        f"newest   {(one['head'] or '-')[:8]} {one['headline']}".rstrip(),
        f"live     {(one['live'] or '-')[:8]}; last good {(one['good'] or '-')[:8]}",
    ]
    if one["quarantined"]:
        lines.append(f"aside    {', '.join(commit[:8] for commit in one['quarantined'])}")
    for stack in one["stacks"]:
        lines.append(f"stack    {stack['name']}: {stack['health']}{': ' + stack['why'] if stack['why'] else ''}")
    return "\n".join(lines) + "\n"
