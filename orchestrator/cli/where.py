"""Which agent, which stack: what the general options, the environment and the directory we stand in say together."""

from __future__ import annotations

import os

from orchestrator.api.client import Client, quoted

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from orchestrator.cli.option import Given
    from orchestrator.root import Root
    from orchestrator.stack.model import Stack
    from orchestrator.stack.project import Asked


def root(given: Given) -> Root:
    from orchestrator.root import Root

    return Root(given.root)


def agent(given: Given) -> Client:
    return Client(root(given).api_socket)


def ensured(given: Given) -> Client:
    """The agent, started where none runs. One that was just ending is followed by another."""
    from orchestrator.api.start import ensure_agent

    place = root(given)
    ensure_agent(place)
    return Client(place.api_socket, lambda: ensure_agent(place))


def written_name(given: Given) -> str | None:
    """The stack's name where the user wrote one: -p, else COMPOSE_PROJECT_NAME."""
    return given.project_name or os.environ.get("COMPOSE_PROJECT_NAME") or None


def files(given: Given) -> list[str]:
    """The stack's files, absolute: -f, else COMPOSE_FILE, else what lies here or above. Mistake where there is none."""
    separator = os.environ.get("COMPOSE_PATH_SEPARATOR") or ":"
    named = given.file or [file for file in os.environ.get("COMPOSE_FILE", "").split(separator) if file]
    if named:
        return [_existing(file) for file in named]
    from orchestrator.stack.files import find_all

    found = _of_dotenv() or find_all(os.getcwd())
    if not found:
        from orchestrator.errors import Mistake

        raise Mistake(
            f"cannot find a stack file in {os.getcwd()} or above (stack.yaml, compose.yaml, docker-compose.yaml …): "
            "name one with -f FILE, or a running stack with -p NAME"
        )
    return found


def _of_dotenv() -> list[str]:
    """COMPOSE_FILE may stand in `.env`; only then is it worth reading here."""
    try:
        with open(".env", "rb") as file:
            if b"COMPOSE_FILE" not in file.read(1 << 20):
                return []
    except OSError:
        return []
    from orchestrator.stack.loader import Loader, Options
    from orchestrator.stack.places import Complaints
    from orchestrator.stack.project import Asked, locate
    from orchestrator.stack.reading import Reader

    asked = Asked(os.getcwd(), environment())
    return [*locate(asked, Loader(Complaints(), Options(), asked.directory, Reader())).files]


def environment() -> dict[str, str]:
    """The caller's variables. In the C locale Python sets LC_CTYPE by itself (PEP 538): that one is not theirs."""
    found = dict(os.environ)
    if found.get("LC_CTYPE") == "C.UTF-8":
        with open("/proc/self/environ", "rb") as file:  # as the process was started
            if not any(word.startswith(b"LC_CTYPE=") for word in file.read().split(b"\0")):
                del found["LC_CTYPE"]
    return found


def take_file(given: Given, words: list[str]) -> None:
    """`pyorch up stack.yaml [SERVICE…]`: a first word that ends as YAML files do is the stack file, not a service."""
    if words and words[0].endswith((".yaml", ".yml")):
        given.file.append(words.pop(0))


def scope(given: Given) -> dict[str, str]:
    """The query that names the stack, its file unread: {"stack": NAME}, or {"file": PATH}, which the agent knows."""
    name = written_name(given)
    return {"stack": name} if name else {"file": files(given)[0]}


def stack_name(given: Given, client: Client) -> str:
    """The stack's name, asked of the agent where the user wrote none: it knows which file it made each stack from."""
    name = written_name(given)
    if name:
        return name
    return str(client.get("/v1/resolve", file=files(given)[0])["name"])


def deed_path(stack: str, deed: str) -> str:
    """Where the agent does it: /v1/stacks/NAME/deed."""
    return f"/v1/stacks/{quoted(stack)}/{deed}"


def wish(given: Given) -> dict[str, Any]:
    """What `up` and `plan` send of the stack: its files, what they are read against, and the caller's environment."""
    return {
        "files": files(given),
        "directory": os.getcwd(),
        "project_directory": os.path.abspath(given.project_directory) if given.project_directory else None,
        "name": written_name(given),
        "environment": environment(),
        "env_files": [os.path.abspath(file) for file in given.env_file],
        "profiles": profiles(given),
    }


def asked(given: Given) -> Asked:
    """What the caller says about their project, for those who read its files here and now."""
    from orchestrator.stack.project import Asked

    return Asked(
        directory=os.getcwd(),
        environment=environment(),
        files=given.file,
        name=given.project_name,
        env_files=given.env_file,
        project_directory=given.project_directory,
        profiles=given.profile,
    )


def read_stack(given: Given, words: list[str]) -> Stack:
    """The stack, loaded here and now (no agent, no root rights); a file among the `words` is taken from them."""
    from orchestrator.stack.load import load

    take_file(given, words)
    wanted = wish(given)
    return load(wanted.pop("files"), services=words, **wanted)


def only(stack: Stack, names: list[str]) -> Stack:
    """The stack with nothing but these services and all they wait for; as it is where none is named."""
    from dataclasses import replace

    from orchestrator.errors import Mistake
    from orchestrator.stack.graph import needs

    unknown = [name for name in names if name not in stack.services]
    if unknown:
        have = ", ".join(sorted(stack.services))
        raise Mistake(*(f"no such service: {name}; the stack has {have}" for name in unknown))
    if not names:
        return stack
    kept = {*names, *(need for name in names for need in needs(stack.services, name))}
    return replace(stack, services={name: service for name, service in stack.services.items() if name in kept})


def profiles(given: Given) -> list[str]:
    """--profile, else COMPOSE_PROFILES."""
    written: list[str] = given.profile
    return written or [name for name in os.environ.get("COMPOSE_PROFILES", "").split(",") if name]


def each(names: list[str], deed: Callable[[str], object]) -> int:
    """The deed done to each; a name it is done to is printed, a failure is said and the others go on. The exit code."""
    from orchestrator.cli.printing import say
    from orchestrator.errors import OrchestratorError, Unreachable

    code = 0
    for name in names:
        try:
            deed(name)
        except Unreachable:
            raise
        except OrchestratorError as error:
            say(str(error))
            code = max(code, error.exit_code)
        else:
            print(name)
    return code


def _existing(file: str) -> str:
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        from orchestrator.errors import Mistake

        raise Mistake(f"cannot read stack file '{file}': there is no such file")
    return path
