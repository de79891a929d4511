"""The road of a newborn from its root to exec, written on a tape. Every step is the child's own; an error ends it.

`rootfs.build` writes how the root is made with all that is in it (an exec into a running container takes `join`
instead); `confine` gives up every power the program is not to have, `run` becomes the program.
"""

from __future__ import annotations

import errno
import os
import resource
import struct

from orchestrator.kernel import capabilities, seccomp, signals, syscalls
from orchestrator.kernel.tape import ANY, Mark, Register, Tape, table, text
from orchestrator.runtime.registers import (
    ABOVE_REPORT,
    BELOW_REPORT,
    CONTAINER,
    FIRST_LOOK,
    LAST_DESCRIPTOR,
    LAST_LOOK,
    SCRATCH,
    SCRATCH_ADDRESS,
    SCRATCH_SIZE,
    STDERR,
    STDIN,
    STDOUT,
)
from orchestrator.runtime.rootfs import explained

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.kernel.walker import Page
    from orchestrator.runtime.accounts import Account

_PR_SET_NO_NEW_PRIVS = 38
_KEYCTL_JOIN_SESSION_KEYRING = 1
_TIOCSCTTY = 0x540E
_F_OK = 0


class Powers:
    """What the program may do, prepared before the birth: see `native.powers`."""

    __slots__ = ("bounding", "effective", "filter", "host_bounding", "no_new_privileges")

    def __init__(self, host: int, bounding: int, effective: int, nnp: bool, filter: seccomp.Filter | None) -> None:
        self.host_bounding = host
        self.bounding = bounding
        self.effective = effective
        self.no_new_privileges = nnp
        self.filter = filter


def join(tape: Tape, kinds: int) -> None:
    """Into namespaces (and with them the root) of a running container; the pid namespace came with the birth."""
    tape.call("enter the container's namespaces", "setns", Register(CONTAINER), kinds)


def ready(tape: Tape, stdin: bool, tty: bool) -> None:
    """Standard descriptors, the signals and the umask a program expects."""
    what = "set the standard descriptors"
    if not stdin:
        flags = os.O_RDWR | os.O_CLOEXEC
        tape.call("open /dev/null", "openat", syscalls.AT_FDCWD, b"/dev/null", flags, into=STDIN)
    for number, descriptor in enumerate((STDIN, STDOUT, STDERR)):
        tape.call(what, "dup3", Register(descriptor), number, 0)
    if tty:
        tape.call("take the terminal", "ioctl", 0, _TIOCSCTTY, 0)
    tape.call(what, "umask", 0o022)
    signals.restore(tape)


def take_terminal(tape: Tape) -> None:
    """The first pty of the container becomes its standard descriptors and its controlling terminal."""
    what, terminal = "take the terminal", Register(STDIN)
    tape.call(what, "openat", syscalls.AT_FDCWD, b"/dev/pts/0", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, into=STDIN)
    for number in range(3):
        tape.call(what, "dup3", terminal, number, 0)
    tape.call(what, "ioctl", 0, _TIOCSCTTY, 0)


def confine(tape: Tape, cwd: str, rlimits: list[dict[str, Any]], powers: Powers, user: Account) -> None:
    """Give everything up that is not granted; the working directory is entered as root."""
    _close(tape)
    _enter(tape, cwd)
    for limit in rlimits:
        _limit(tape, limit)
    # A keyring of the session would be shared with the launcher and with every other container.
    what = "join a session keyring of its own"
    tape.call(what, "keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0, on={errno.ENOSYS: None})
    if powers.no_new_privileges:
        tape.call("give up new privileges", "prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    elif powers.filter is not None:
        seccomp.load(tape, powers.filter)  # without no_new_privs it takes CAP_SYS_ADMIN: now or never
    capabilities.drop_bounding(tape, powers.host_bounding, powers.bounding)
    groups = struct.pack(f"={len(user.groups)}I", *user.groups)
    tape.call("set the groups", "setgroups", len(user.groups), groups)
    tape.call("set the group", "setresgid", user.gid, user.gid, user.gid)
    # A user other than root loses every capability here.
    tape.call("set the user", "setresuid", user.uid, user.uid, user.uid)
    capabilities.settle(tape, powers.effective if user.uid == 0 else 0)
    if powers.no_new_privileges and powers.filter is not None:
        seccomp.load(tape, powers.filter)


def _close(tape: Tape) -> None:
    """Every descriptor above 2, whoever opened it and however; the report is closed by the exec."""
    what, none = "keep descriptors from the program", {errno.EINVAL: None}  # a range without any
    tape.call(what, "close_range", 3, Register(BELOW_REPORT), 0, on=none)
    tape.call(what, "close_range", Register(ABOVE_REPORT), LAST_DESCRIPTOR, 0, on=none)


def _enter(tape: Tape, cwd: str) -> None:
    """The working directory, made where the image has none; one that is not below the root is refused."""
    what = f"use working directory {cwd!r}"
    if not cwd.startswith("/"):
        raise OSError(errno.EINVAL, f"cannot {what}: it is not an absolute path")
    missing, there = Mark(), Mark()
    tape.call(what, "chdir", text(cwd), on={errno.ENOENT: missing})
    tape.skip_to(there)
    tape.mark(missing)
    parts = [part for part in cwd.split("/") if part]
    for depth in range(1, len(parts) + 1):
        directory = text("/" + "/".join(parts[:depth]))
        tape.call(what, "mkdirat", syscalls.AT_FDCWD, directory, 0o755, on={errno.EEXIST: None})
    tape.call(what, "chdir", text(cwd))
    tape.mark(there)
    # "(unreachable)/…": a descriptor of the host's led here (CVE-2024-21626)
    tape.call(what, "getcwd", Register(SCRATCH_ADDRESS), SCRATCH_SIZE)
    inside = Mark()
    tape.skip_if(Register(SCRATCH), 0xFF, ord("/"), inside)
    outside = explained(what, errno.EXDEV, "it is outside the container's root")
    tape.unless_equal(outside, 0, 0, 0, errno.EXDEV)
    tape.mark(inside)


def _limit(tape: Tape, limit: dict[str, Any]) -> None:
    """A resource limit; no higher than our own hard limit where we may not raise it."""
    number = getattr(resource, limit["type"])
    soft, hard = (_unsigned(limit[name]) for name in ("soft", "hard"))
    most = _unsigned(resource.getrlimit(number)[1])
    what, refused, done = f"set {limit['type']}", Mark(), Mark()
    wanted, possible = struct.pack("=2Q", soft, hard), struct.pack("=2Q", min(soft, most), min(hard, most))
    tape.call(what, "prlimit64", 0, number, wanted, 0, on={errno.EPERM: refused, errno.EINVAL: refused})
    tape.skip_to(done)
    tape.mark(refused)
    tape.call(what, "prlimit64", 0, number, possible, 0)
    tape.mark(done)


def _unsigned(limit: int) -> int:
    return limit & 0xFFFFFFFF_FFFFFFFF  # RLIM_INFINITY is -1 here


def run(tape: Tape, arguments: list[str], environment: dict[str, str]) -> None:
    """Become the program. Fails with ENOENT where there is none in the image, or with why it could not be executed."""
    program = arguments[0]
    if "/" in program:
        candidates = [program]
    else:
        candidates = [f"{place or '.'}/{program}" for place in environment.get("PATH", "").split(":")]
    argv, kept = table(text(argument) for argument in arguments)
    envp, more = table(text(f"{name}={value}") for name, value in environment.items())
    tape.keep((argv, kept, envp, more))
    for place, candidate in enumerate(candidates):
        path, further, look = text(candidate), Mark(), min(FIRST_LOOK + place, LAST_LOOK)
        tape.call("start", "execve", path, argv, envp, into=look, on={errno.ENOENT: None, ANY: further})
        tape.call("start", "faccessat", syscalls.AT_FDCWD, path, _F_OK, on={ANY: further})
        tape.unless_equal(_no_interpreter(candidate), 0, 0, 0, errno.ENOENT)
        tape.mark(further)
    where = "" if "/" in program else f" (PATH={environment.get('PATH', '')})"
    looks = range(FIRST_LOOK, min(FIRST_LOOK + len(candidates), LAST_LOOK + 1))
    tape.unless_equal(_not_found(program, where, looks), 0, 0, 0, errno.ENOENT)


def _no_interpreter(candidate: str) -> Any:
    def sentence(number: int, _: object) -> OSError:
        why = f"the interpreter that the first line of {candidate!r} names is missing"
        return OSError(number, f"cannot start: {why}")

    return sentence


def _not_found(program: str, where: str, looks: range) -> Any:
    """Where one of the candidates was there and refused, that is the reason."""

    def sentence(number: int, page: Page) -> OSError:
        results = [-page.registers[look] for look in looks]
        denied = [result for result in results if result not in (errno.ENOENT, errno.ENOTDIR)]
        if not denied:
            return OSError(number, f"cannot start: command {program!r} not found in the image{where}")
        plain = denied[-1] == errno.ENOEXEC
        why = "it is neither a program nor a script with a #! line" if plain else os.strerror(denied[-1])
        return OSError(denied[-1], f"cannot start: command {program!r} cannot be executed: {why}")

    return sentence
