"""Who one is to a registry: ~/.docker/config.json, as `docker login` leaves it, with its credential helpers.

The file: https://docs.docker.com/reference/cli/docker/login/; the helpers' protocol:
https://github.com/docker/docker-credential-helpers ("Development"). Secrets are never part of an error's text.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import Mistake

HUB_KEY = "https://index.docker.io/v1/"
PATIENCE = 30  # seconds for a helper: it may ask its user


@dataclass(frozen=True, slots=True)
class Credential:
    """A name and password, or a token to be exchanged (`identity`), or one that is used as it is (`bearer`)."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


def find(registry: str, environment: Mapping[str, str]) -> Credential | None:
    """The caller's credential for a registry, None where there is none.

    `environment`: the caller's, for DOCKER_CONFIG, HOME and the PATH on which helpers are looked for. Raises Mistake.
    """
    path = os.path.join(_directory(environment), "config.json")
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Mistake(f"cannot read the credentials in {path}: {error}") from error
    if not isinstance(value, dict):
        raise Mistake(f"cannot read the credentials in {path}: it holds no JSON object")
    key = HUB_KEY if registry == "docker.io" else registry
    helpers = value.get("credHelpers")
    helper = (helpers.get(registry) or helpers.get(key)) if isinstance(helpers, dict) else None
    helper = helper or value.get("credsStore")
    if helper and (found := _ask(str(helper), key, environment)):
        return found
    auths = value.get("auths")
    for name, auth in auths.items() if isinstance(auths, dict) else ():
        if isinstance(auth, dict) and _host(str(name)) == _host(key):
            return _from_file(auth, path, registry)
    return None


def _directory(environment: Mapping[str, str]) -> str:
    return environment.get("DOCKER_CONFIG") or os.path.join(environment.get("HOME") or "/root", ".docker")


def _host(key: str) -> str:
    """Old files have URLs where new ones have host names."""
    host = key.partition("://")[2] or key
    return host.partition("/")[0]


def _from_file(auth: dict[str, Any], path: str, registry: str) -> Credential | None:
    username, password = str(auth.get("username") or ""), str(auth.get("password") or "")
    if auth.get("auth"):
        try:
            pair = base64.b64decode(str(auth["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Mistake(f"cannot read the credentials in {path}: 'auth' of {registry} is no base64") from error
        username, _, password = pair.partition(":")
    found = Credential(
        username,
        password.rstrip("\0"),
        str(auth.get("identitytoken") or ""),
        str(auth.get("registrytoken") or ""),
    )
    return found if found != Credential() else None


def _ask(helper: str, key: str, environment: Mapping[str, str]) -> Credential | None:
    """`docker-credential-<helper> get`: the key on its stdin, JSON on its stdout; it fails where it knows none."""
    if "/" in helper:
        raise Mistake(f"cannot use credential helper {helper!r}: that is no name of a program")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=PATIENCE,
            env=dict(environment),
            check=False,
            **_found_on(environment, program),
        )
    except FileNotFoundError as error:
        raise Mistake(f"cannot get the credentials for {key}: {program} is not on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise Mistake(f"cannot get the credentials for {key}: {program} said nothing for {PATIENCE} s") from error
    if done.returncode:
        return None  # "credentials not found", as each helper words it
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise Mistake(f"cannot get the credentials for {key}: the answer of {program} is not its protocol's") from error
    return Credential(identity=secret) if username == "<token>" else Credential(username, secret)


def _found_on(environment: Mapping[str, str], program: str) -> dict[str, Any]:
    """The PATH is the caller's, not ours."""
    import shutil

    found = shutil.which(program, path=environment.get("PATH"))
    return {"executable": found} if found else {"executable": f"/nonexistent/{program}"}
