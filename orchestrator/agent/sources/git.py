"""A git repository, read by the git program and never trusted.

Nothing that lies in a repository runs: no hooks, no submodules, no filters, no `ext::` transports, and neither the
machine's nor a user's git configuration is read. What is fetched is checked (`transfer.fsckObjects`: no `.git` in a
tree, no malformed object); the checkout is one directory that stays where it is, so that paths in a stack stay the
same from commit to commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import Mistake, OrchestratorError, Unreachable
from orchestrator.policy import versions

PATIENCE = 120.0  # seconds for one command; a repository that answers slower than that does not answer
LARGEST = 8 << 20  # bytes of a listing of references
LARGEST_LISTING = 32 << 20  # … and of files: some 300,000
LARGEST_TREE = 512 << 20  # bytes of a checkout: stacks and what they mount, not data
LARGEST_FILE = 1 << 30  # bytes that git may write into one file: what it fetches at once
PROTOCOLS = "file:git:http:https:ssh"
COMPLAINT = re.compile(r"(remote: )?(fatal|error): ")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# Of the agent's environment only what leads to the network and to certificates is handed on.
PASSED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK", "TZ")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")

SETTINGS = """\
[core]
\thooksPath = /dev/null
\tfsmonitor = false
\tattributesFile = /dev/null
\texcludesFile = /dev/null
[safe]
\tdirectory = *
[protocol "ext"]
\tallow = never
[transfer]
\tfsckObjects = true
[fetch]
\trecurseSubmodules = false
[submodule]
\trecurse = false
[http]
\tlowSpeedLimit = 100
\tlowSpeedTime = 30
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
"""


@dataclass(frozen=True, slots=True)
class Access:
    """How a private repository is opened: paths of files that only root may read. None: not needed."""

    ssh_key: str | None = None
    known_hosts: str | None = None  # None: the machine's own; a host that is in neither is refused
    credentials: str | None = None  # one line as git-credential-store has it: https://user:token@host


@dataclass(frozen=True, slots=True)
class Verify:
    """Whose signature a commit must bear. `keys`: an allowed_signers file (ssh) or exported public keys (gpg)."""

    kind: str
    keys: str


class Repository:
    """One remote, with its copy and its checkout below `directory`."""

    def __init__(self, directory: str, url: str, access: Access = Access(), verify: Verify | None = None) -> None:
        self.url = url
        self.tree = os.path.join(directory, "tree")
        self._directory = directory
        self._copy = os.path.join(directory, "git")
        self._access = access
        self._verify = verify

    async def resolve(self, ref: str) -> str:
        """The commit that `ref` names in the remote now: a branch, a tag, `semver:RANGE`, a commit, "" for its HEAD.

        Raises Unreachable where the remote does not answer, Mistake where it has no such reference.
        """
        if COMMIT.fullmatch(ref):
            return ref
        answer = await self._git("ls-remote", "--", self.url, doing="read", most=LARGEST)
        refs = dict(line.split("\t")[::-1] for line in answer.splitlines() if "\t" in line)
        name = _named(ref, refs)
        if name is None:
            raise Mistake(f"cannot follow {self.url}: it has no {ref or 'HEAD'}{_nearest(refs)}")
        return refs.get(f"{name}^{{}}", refs[name])

    async def fetch(self, commit: str) -> None:
        """Have `commit`, and prove its signature where that is asked for. Raises Unreachable, Mistake."""
        if not os.path.isdir(self._copy):
            await self._git("init", "--quiet", "--bare", "--template=", self._copy, doing="make a copy of")
        if not await self._has(commit):
            await self._fetch(commit)
        if self._verify is not None:
            await self._prove(commit, self._verify)

    async def _fetch(self, commit: str) -> None:
        shallow = ("fetch", "--quiet", "--no-tags", "--depth=1", "--no-write-fetch-head", "--", self.url)
        try:
            await self._git(*shallow, commit, doing="fetch from")
        except Unreachable:
            # A server may hand out only what has a name, or (plain files over HTTP) nothing shallow: then all of it.
            whole = ("fetch", "--quiet", "--no-write-fetch-head", "--", self.url, "+refs/*:refs/remotes/*")
            await self._git(*whole, doing="fetch from")
        if not await self._has(commit):
            raise Mistake(f"cannot follow {self.url}: it has no commit {commit}")
        await self._git("update-ref", f"refs/pyorch/{commit}", commit, doing="remember a commit of")

    async def _has(self, commit: str) -> bool:
        try:
            await self._git("cat-file", "-e", f"{commit}^{{commit}}", doing="look into")
        except OrchestratorError:
            return False
        return True

    async def _prove(self, commit: str, verify: Verify) -> None:
        home = os.path.join(self._directory, "keys")
        os.makedirs(home, mode=0o700, exist_ok=True)
        signers = os.path.join(home, "allowed_signers")
        if verify.kind == "ssh":
            _write(signers, verify.keys)
            settings: tuple[str, ...] = ("-c", f"gpg.ssh.allowedSignersFile={signers}")
        else:
            ring = os.path.join(home, "gnupg")
            shutil.rmtree(ring, ignore_errors=True)  # a key that was withdrawn must not linger
            os.makedirs(ring, mode=0o700)
            _write(os.path.join(ring, "gpg.conf"), "no-autostart\n")  # public keys need no gpg-agent
            await _run(
                ["gpg", "--batch", "--quiet", "--import"], {**self._environment(), "GNUPGHOME": ring}, verify.keys
            )
            settings = ()
        try:
            await self._git(*settings, "verify-commit", commit, doing="prove the signature of a commit of")
        except Unreachable as error:
            raise Mistake(
                f"cannot accept {commit[:8]} of {self.url}: it bears no valid signature of the {verify.kind} keys given"
            ) from error

    async def check_out(self, commit: str) -> None:
        """Make the tree exactly that commit's. Files of the tree that were edited here are put right. Raises Mistake
        where it is too large."""
        await self._weigh(commit)
        os.makedirs(self.tree, mode=0o755, exist_ok=True)
        await self._git("read-tree", "--reset", "-u", commit, doing="check out a commit of", tree=True)
        await self._git("checkout-index", "--all", "--force", "--quiet", doing="check out a commit of", tree=True)

    async def _weigh(self, commit: str) -> None:
        listing = await self._git(
            "ls-tree", "-r", "-l", "-z", "--full-tree", commit, doing="look into a commit of", most=LARGEST_LISTING
        )
        sizes = [line.partition("\t")[0].split()[3] for line in listing.split("\0") if line]
        size = sum(int(size) for size in sizes if size.isdigit())  # "-": a submodule, which is left out
        if size > LARGEST_TREE:
            have, may = f"{size >> 20} MiB in {len(sizes)} files", f"{LARGEST_TREE >> 20} MiB"
            raise Mistake(f"cannot check out {commit[:8]} of {self.url}: it has {have}, and may have {may}")

    async def show(self, commit: str) -> str:
        """Who, when and what, in one line."""
        line = await self._git("log", "-1", "--format=%h %an %cI %s", commit, doing="read a commit of")
        return line.strip()[:200]

    async def forget(self, keep: Sequence[str]) -> None:
        """Let go of every commit but those in `keep`."""
        listing = await self._git("for-each-ref", "--format=%(refname)", "refs/pyorch", doing="look into")
        for name in listing.split():
            if name.rpartition("/")[2] not in keep:
                await self._git("update-ref", "-d", name, doing="forget a commit of")
        await self._git("gc", "--quiet", "--prune=now", doing="tidy up the copy of")

    async def _git(self, *words: str, doing: str, most: int = 1 << 20, tree: bool = False) -> str:
        command = ["git", *words]
        environment = self._environment()
        if os.path.isdir(self._copy) or words[0] == "init":
            environment["GIT_DIR"] = self._copy
        if tree:
            environment |= {"GIT_WORK_TREE": self.tree, "GIT_INDEX_FILE": os.path.join(self._directory, "index")}
        try:
            return await _run(command, environment, most=most)
        except FileNotFoundError as error:
            raise Mistake(f"cannot {doing} {self.url}: there is no git on this machine; install it") from error
        except OSError as error:
            raise Unreachable(f"cannot {doing} {self.url}: {error}") from error

    def _environment(self) -> dict[str, str]:
        settings = os.path.join(self._directory, "gitconfig")
        text = SETTINGS
        if self._access.credentials:
            text += f"[credential]\n\thelper = store --file={self._access.credentials}\n"
        _write(settings, text)
        ssh = ["ssh", "-o BatchMode=yes", "-o StrictHostKeyChecking=yes", "-o ConnectTimeout=20"]
        if self._access.ssh_key:
            ssh += ["-F /dev/null", "-o IdentitiesOnly=yes", f"-i {_shell(self._access.ssh_key)}"]
        if self._access.known_hosts:
            ssh += [f"-o UserKnownHostsFile={_shell(self._access.known_hosts)}"]
        return {
            **_passed(os.environ),
            "HOME": self._directory,
            "GNUPGHOME": os.path.join(self._directory, "keys", "gnupg"),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": settings,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": PROTOCOLS,
            "GIT_SSH_COMMAND": " ".join(ssh),
        }


def _passed(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: environment[name] for name in PASSED if name in environment}
    return kept | {name: value for name, value in environment.items() if name.lower() in PROXIES}


def _named(ref: str, refs: Mapping[str, str]) -> str | None:
    """The full name of what the user called `ref`; branches before tags."""
    if not ref:
        return "HEAD" if "HEAD" in refs else None
    if ref.startswith("semver:"):
        tags = [name.removeprefix("refs/tags/") for name in refs if name.startswith("refs/tags/") and "^" not in name]
        try:
            found = versions.newest(tags, ref.removeprefix("semver:"))
        except ValueError as error:
            raise Mistake(f"cannot read --ref {ref}: {error}") from error
        return found and f"refs/tags/{found}"
    return next((name for name in (ref, f"refs/heads/{ref}", f"refs/tags/{ref}") if name in refs), None)


def _nearest(refs: Mapping[str, str]) -> str:
    heads = [name.removeprefix("refs/heads/") for name in refs if name.startswith("refs/heads/")]
    return f" (branches: {', '.join(sorted(heads)[:8])})" if heads else " (it has no branches)"


def _write(path: str, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _shell(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


async def _run(command: Sequence[str], environment: Mapping[str, str], input: str = "", most: int = 1 << 20) -> str:
    """One program in a session of its own, ended with all its children after PATIENCE. OSError is a sentence."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd="/",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin and process.stdout and process.stderr
    with contextlib.suppress(ProcessLookupError):  # over already
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    try:
        async with asyncio.timeout(PATIENCE):
            process.stdin.write(input.encode())
            process.stdin.close()
            output, complaint = await asyncio.gather(_most(process.stdout, most), _most(process.stderr, 1 << 16))
            await process.wait()
    except TimeoutError as error:
        raise OSError(f"no answer within {PATIENCE:g}s") from error
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode == -signal.SIGXFSZ:
        raise OSError(f"it would take more than {LARGEST_FILE >> 20} MiB")
    if process.returncode:
        raise OSError(_last(complaint.decode("utf-8", "replace")) or f"{command[0]} exited with {process.returncode}")
    return output.decode("utf-8", "replace")


async def _most(stream: asyncio.StreamReader, most: int) -> bytes:
    """All of it. OSError where that is more than `most` bytes: who answers so much means no good."""
    pieces, size = [], 0
    while piece := await stream.read(1 << 16):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise OSError(f"its answer has more than {most} bytes")
    return b"".join(pieces)


# What git says last where something else went wrong before: the first complaint is the one that tells.
HOLLOW = ("index-pack failed", "fsck error in packed object", "unpack-objects failed", "early EOF", "protocol error")


def _last(text: str) -> str:
    """What git complained of, without the address' password."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("hint:", "warning:"))]
    told = [line.removeprefix("fatal: ").removeprefix("error: ") for line in lines if COMPLAINT.match(line)] or lines
    telling = [line for line in told if not line.startswith(HOLLOW)]
    chosen = telling[0] if telling and told[-1].startswith(HOLLOW) else told[-1] if told else ""
    return re.sub(r"://[^/@\s]+@", "://…@", chosen)[:300]
