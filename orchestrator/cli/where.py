"""Which agent, which stack: what the general options, the environment and the directory we stand in say together."""

from __future__ import annotations

import os

from orchestrator.api.client import Client, quoted

TYPE_CHECKING = False  # typing itself costs 8 ms
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.cli.option import Given
    from orchestrator.root import Root


def root(given: Given) -> Root:
    from orchestrator.root import Root

    return Root(given.root)


def agent(given: Given) -> Client:
    return Client(root(given).api_socket)


def written_name(given: Given) -> str | None:
    """The stack's name where the user wrote one: -p, else COMPOSE_PROJECT_NAME."""
    return given.project_name or os.environ.get("COMPOSE_PROJECT_NAME") or None


def files(given: Given) -> list[str]:
    """The stack's files, absolute: -f, else COMPOSE_FILE, else what lies here or above. Mistake where there is none."""
    separator = os.environ.get("COMPOSE_PATH_SEPARATOR") or ":"
    named = given.file or [file for file in os.environ.get("COMPOSE_FILE", "").split(separator) if file]
    if named:
        return [_existing(file) for file in named]
    from orchestrator.stack.files import find

    found = find(os.getcwd())
    if found is None:
        from orchestrator.errors import Mistake

        raise Mistake(
            f"cannot find a stack file in {os.getcwd()} or above (stack.yaml, compose.yaml, docker-compose.yaml …): "
            "name one with -f FILE, or a running stack with -p NAME"
        )
    return [found]


def take_file(given: Given) -> None:
    """`pyorch up stack.yaml [SERVICE…]`: a first word that ends as YAML files do is the stack file, not a service."""
    if given.services and given.services[0].endswith((".yaml", ".yml")):
        given.file.append(given.services.pop(0))


def scope(given: Given) -> dict[str, str]:
    """The query that names the stack, its file unread: {"stack": NAME}, or {"file": PATH}, which the agent knows."""
    name = written_name(given)
    return {"stack": name} if name else {"file": files(given)[0]}


def stack_name(given: Given, client: Client) -> str:
    """The stack's name, asked of the agent where the user wrote none: it knows which file it made each stack from."""
    name = written_name(given)
    if name:
        return name
    paths = files(given)
    answer = client.get("/v1/resolve", file=paths[0], directory=_directory(given, paths))
    return str(answer["name"])


def stack_path(given: Given, client: Client, deed: str) -> str:
    """The path of a deed done to the stack: /v1/stacks/NAME/deed."""
    return f"/v1/stacks/{quoted(stack_name(given, client))}/{deed}"


def wish(given: Given) -> dict[str, Any]:
    """What `up` and `plan` send of the stack: its files, what they are read against, and the caller's environment."""
    paths = files(given)
    return {
        "files": paths,
        "directory": _directory(given, paths),
        "name": written_name(given),
        "environment": dict(os.environ),
        "env_files": [os.path.abspath(file) for file in given.env_file],
        "profiles": profiles(given),
    }


def profiles(given: Given) -> list[str]:
    """--profile, else COMPOSE_PROFILES."""
    written: list[str] = given.profile
    return written or [name for name in os.environ.get("COMPOSE_PROFILES", "").split(",") if name]


def _directory(given: Given, paths: list[str]) -> str:
    return os.path.abspath(given.project_directory or os.path.dirname(paths[0]))


def _existing(file: str) -> str:
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        from orchestrator.errors import Mistake

        raise Mistake(f"cannot read stack file '{file}': there is no such file")
    return path
