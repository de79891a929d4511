"""The road of a newborn from its root to exec. Every step is the child's own; errors end it.

`rootfs.build` makes the root and all that is in it (an exec into a running container takes `join` instead); `confine`
gives up every power the program is not to have, `run` becomes the program.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource

from orchestrator.kernel import capabilities, descriptors, namespaces, seccomp, signals, syscalls
from orchestrator.runtime import accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_NO_NEW_PRIVS = 38
_KEYCTL_JOIN_SESSION_KEYRING = 1
_TIOCSCTTY = 0x540E


class Powers:
    """What the program may do, prepared before the birth: see `native.powers`."""

    __slots__ = ("bounding", "effective", "filter", "host_bounding", "no_new_privileges")

    def __init__(self, host: int, bounding: int, effective: int, nnp: bool, filter: seccomp.Filter | None) -> None:
        self.host_bounding = host
        self.bounding = bounding
        self.effective = effective
        self.no_new_privileges = nnp
        self.filter = filter


def join(pidfd: int, more: int, what: str) -> None:
    """Into the namespaces (and with them the root) of a running container; the pid namespace came with the birth."""
    kinds = namespaces.NEWNS | namespaces.NEWUTS | namespaces.NEWIPC | namespaces.NEWNET | namespaces.NEWCGROUP
    namespaces.join(pidfd, kinds | more, what)


def confine(process: dict[str, Any], powers: Powers) -> tuple[dict[str, str], str]:
    """Give everything up that is not granted; → (environment, working directory now entered)."""
    environment = dict(entry.partition("=")[::2] for entry in process.get("env", ()))
    user = accounts.resolve(process.get("user", {}))
    environment.setdefault("HOME", user.home)
    cwd = _enter(process.get("cwd") or "/", user)
    for limit in process.get("rlimits", ()):
        _limit(limit)
    # A keyring of the session would be shared with the launcher and with every other container.
    joined = syscalls.attempt("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None)
    if joined < 0 and joined != -errno.ENOSYS:
        raise syscalls.refused("join a session keyring of its own", -joined)
    if powers.no_new_privileges:
        syscalls.call("give up new privileges", "prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    elif powers.filter is not None:
        seccomp.load(powers.filter)  # without no_new_privs it takes CAP_SYS_ADMIN: now or never
    capabilities.drop_bounding(powers.host_bounding, powers.bounding)
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)  # a user other than root loses every capability here
    capabilities.settle(powers.effective if user.uid == 0 else 0)
    if powers.no_new_privileges and powers.filter is not None:
        seccomp.load(powers.filter)
    return environment, cwd


def _enter(cwd: str, user: accounts.Account) -> str:
    """The working directory, made where the image has none; one that is not below the root is refused."""
    if not cwd.startswith("/"):
        raise OSError(errno.EINVAL, f"cannot use working directory {cwd!r}: it is not an absolute path")
    try:
        try:
            os.chdir(cwd)
        except FileNotFoundError:
            os.umask(0o022)
            os.makedirs(cwd, 0o755)
            os.chdir(cwd)
        here = os.getcwd()
    except OSError as error:
        raise OSError(error.errno, f"cannot use working directory {cwd!r}: {os.strerror(error.errno or 0)}") from error
    if not here.startswith("/"):  # "(unreachable)/…": a descriptor of the host's led here (CVE-2024-21626)
        raise OSError(errno.EXDEV, f"cannot use working directory {cwd!r}: it is outside the container's root")
    return here


def _limit(limit: dict[str, Any]) -> None:
    """A resource limit; no higher than our own hard limit where we may not raise it."""
    number = getattr(resource, limit["type"])
    soft, hard = limit["soft"], limit["hard"]
    try:
        resource.setrlimit(number, (soft, hard))
    except (ValueError, PermissionError):
        most = resource.getrlimit(number)[1]
        resource.setrlimit(number, (min(soft, most), min(hard, most)))


def ready(stdin: int | None, stdout: int, stderr: int, tty: bool) -> None:
    """Standard descriptors, a session of its own, the signals and the umask a program expects."""
    if stdin is None:
        stdin = os.open("/dev/null", os.O_RDWR)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        if descriptor == number:
            os.set_inheritable(number, True)
        else:
            os.dup2(descriptor, number)
    if tty:
        fcntl.ioctl(0, _TIOCSCTTY, 0)
    os.umask(0o022)
    signals.restore()


def run(arguments: list[str], environment: dict[str, str]) -> None:
    """Become the program; comes back only with an OSError: ENOENT (exit code 127) or another (126)."""
    program = arguments[0]
    descriptors.close_on_exec()
    if "/" in program:
        candidates = [program]
    else:
        candidates = [f"{place or '.'}/{program}" for place in environment.get("PATH", "").split(":")]
    denied: OSError | None = None
    for candidate in candidates:
        try:
            os.execve(candidate, arguments, environment)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.exists(candidate):
                raise OSError(
                    errno.ENOENT, f"cannot start: the interpreter that the first line of {candidate!r} names is missing"
                ) from None
        except OSError as error:
            denied = error
    if denied is not None:
        plain = denied.errno == errno.ENOEXEC
        why = "it is neither a program nor a script with a #! line" if plain else denied.strerror
        raise OSError(denied.errno, f"cannot start: command {program!r} cannot be executed: {why}")
    where = "" if "/" in program else f" (PATH={environment.get('PATH', '')})"
    raise OSError(errno.ENOENT, f"cannot start: command {program!r} not found in the image{where}")
