"""Who walks a tape: machine code in a child that shares our memory, or Python in a forked one.

The machine code is that of walker_x86_64.S and walker_aarch64.S, less than a hundred instructions. `bear` runs it in a
thread of this process that lives for one birth: it makes the child (CLONE_VM | CLONE_VFORK), waits until that has
become its program or has ended, and ends. Nothing is copied for the birth and nothing taken apart at its exec.

What sharing memory asks for, and where it is seen to:
- The thread and the child never touch the stack, on which the caller goes on; so no handler may run in them: all
  signals are blocked from before the thread's birth until the tape unblocks them, and the child has no handlers at all
  (CLONE_CLEAR_SIGHAND).
- They have descriptors, a directory and credentials of their own (no CLONE_FILES, no CLONE_FS for the child).
- CLONE_VFORK also keeps the kernel's OOM killer off: it would kill all who share the memory, us with them; and it lets
  the child set an oom_score_adj of its own.
- Nobody in a container may look into the child, that is into us: we are not dumpable (prctl PR_SET_DUMPABLE), and a
  container that holds CAP_SYS_PTRACE is born by fork (`runtime.native`). A set*id makes memory dumpable where
  fs.suid_dumpable is 1: then `ready` says no.
- What the tape points to lives as long as the page it is walked with, and a page is used again only when thread and
  child have left it.
- A child that shares memory enters a new time namespace with its exec (Linux 6.3), not before, and cannot join one.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import struct

from orchestrator.kernel import syscalls
from orchestrator.kernel.tape import ANY, COMPARE, ENTRY, JUMP, Mark, Register, Strip, Tape, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    pass

CODE = {
    "x86_64": (
        "5341544889fb4989f44889d74889ceb8b30100000f054885c07404415c5bc3498b7c241041f6442404017404488b3cfb"
        "498b74241841f6442404027404488b34f3498b54242041f6442404047404488b14d34d8b54242841f64424040874044e"
        "8b14d34d8b44243041f64424041074044e8b04c34d8b4c243841f64424042074044e8b0ccb418b042483f8ff743583f8"
        "fe74420f05410fb64c2405488904cb483d01f0ffff73364885c07408410fb74c2406eb0231c9ffc1c1e1064901cce95c"
        "ffffff31c04821f74839d775c84c89d048f7d8ebc04989fce942fffffff7d8410fb74c240a66413b44240874c9410fb7"
        "4c240e66413b44240c74bb6641837c240cff74b24c89630848894310bf7f000000b83c0000000f05"
    ),
    "aarch64": (
        "f353bfa9f30300aaf40301aae00302aae10303aa683680d2010000d4600000b4f353c1a8c0035fd689124039800a40f9"
        "49000036607a60f8810e40f949000836617a61f8821240f949001036627a62f8831640f949001836637a63f8841a40f9"
        "49002036647a64f8851e40f949002836657a65f8880280b91f0500b1c00100541f0900b140020054010000d48a164039"
        "607a2af81ffc3fb1e20100540a008052400000b48a0e40794a050011941a0a8bdeffff170000018a1f0002eb000080d2"
        "61feff54e00303cbf1ffff17f40300aad6ffff17e003004b8b1240798a1640791f000b6b20feff548b1a40798a1e4079"
        "1f000b6ba0fdff54ecff9f527f010c6b40fdff54740600f9600a00f9e00f80d2a80b80d2010000d4"
    ),
}  # fmt: skip

# Registers 0 … 511 are a page of memory; a tape may use those from FREE on, up to 255 for results.
ENDED, ERRNO, PID, PIDFD, THREAD, BORN, CHILD = range(1, 8)
PID_ADDRESS, ARGS_ADDRESS, HELD = range(8, 11)
FREE = 16
_THREAD_ARGS, _CHILD_ARGS = 488, 500  # struct clone_args
_COUNT = 512
_SAID = -1  # in ENDED: the reason is text

_VM, _FS, _FILES, _SIGHAND, _PIDFD, _VFORK, _THREAD = 0x100, 0x200, 0x400, 0x800, 0x1000, 0x4000, 0x10000
_SYSVSEM, _PARENT_SETTID, _CHILD_CLEARTID = 0x40000, 0x100000, 0x200000
_CLEAR_SIGHAND, _INTO_CGROUP = 0x1_0000_0000, 0x2_0000_0000
_NEWPID = 0x20000000
_ARGS = struct.Struct("=11Q")  # struct clone_args, linux/sched.h
_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_SETMASK, _MASK_SIZE = 2, 8
_ALL_SIGNALS = b"\xff" * _MASK_SIZE


class Page:
    """The registers of one walk: memory that parent and child share on either road."""

    __slots__ = ("_memory", "address", "registers", "strips")

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8 * _COUNT)
        self.registers = memoryview(self._memory).cast("q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.strips: list[Strip] = []  # what is walked with it
        flags = _VM | _FS | _FILES | _SIGHAND | _THREAD | _SYSVSEM | _PARENT_SETTID | _CHILD_CLEARTID
        word = self.at(THREAD)
        _ARGS.pack_into(self._memory, 8 * _THREAD_ARGS, flags, 0, word, word, 0, 0, 0, 0, 0, 0, 0)
        self.registers[PID_ADDRESS] = self.at(PID)
        self.registers[ARGS_ADDRESS] = self.at(_CHILD_ARGS)

    def at(self, register: int) -> int:
        """The register's address."""
        return self.address + 8 * register

    def ask(self, flags: int, cgroup: int | None) -> None:
        """The child's clone_args."""
        flags |= _VM | _VFORK | _PIDFD | _PARENT_SETTID | _CLEAR_SIGHAND | (_INTO_CGROUP if cgroup is not None else 0)
        words = (flags, self.at(PIDFD), 0, self.at(PID), signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup or 0)
        _ARGS.pack_into(self._memory, 8 * _CHILD_ARGS, *words)

    def say(self, sentence: str) -> None:
        """What a forked child leaves to be read in its parent's `failure`: over the registers, the walk is over."""
        self._memory[8 * FREE : 8 * (FREE + 1)] = struct.pack(
            "=q", length := min(len(words := sentence.encode()), 2048)
        )
        self._memory[8 * (FREE + 1) : 8 * (FREE + 1) + length] = words[:length]
        self.registers[ENDED] = _SAID

    def failure(self) -> OSError | None:
        """Why the walk ended where it should not; None: it did not."""
        ended = self.registers[ENDED]
        if ended == _SAID:
            said = self._memory[8 * (FREE + 1) : 8 * (FREE + 1) + self.registers[FREE]]
            return OSError(errno.ECANCELED, said.decode(errors="replace"))
        for strip in self.strips if ended else ():
            if 0 <= ended - strip.address < len(strip.code):
                return strip.failed(ended - strip.address, self.registers[ERRNO], self)
        return None


_pages: list[Page] = []


def take() -> Page:
    """A page for one walk, its registers from FREE on as somebody left them. `give_back` it when the walk is over."""
    for place in range(len(_pages) - 1, -1, -1):
        if not walking(_pages[place]):  # the thread of its last birth has ended
            page = _pages.pop(place)
            break
    else:
        page = Page()
    registers = page.registers
    registers[ENDED] = registers[PID] = registers[BORN] = 0
    return page


def give_back(page: Page) -> None:
    """The child has become its program, or ended."""
    page.strips = []
    _pages.append(page)


# the machine's road

_start: ctypes._CFunctionType | None = None
_code: mmap.mmap | None = None


def _thread() -> Strip:
    """What the thread of a birth does: step into the pid namespace of HELD, bear the child, wait, end."""
    tape, failed, end, inside = Tape(), Mark(), Mark(), Mark()
    tape.skip_if(Register(HELD), -1, -1, inside)
    tape.call("", "setns", Register(HELD), _NEWPID, into=BORN, on={ANY: failed})
    tape.mark(inside)
    tape.call("", "clone3", Register(ARGS_ADDRESS), _ARGS.size, into=BORN, then=end, on={ANY: failed})
    tape.jump(Register(CHILD))  # we are the child
    tape.mark(failed)
    told = Mark()
    tape.call("", "openat", -1, b"", 0, into=PID, on={ANY: told})  # fails: the word is no longer 0
    tape.mark(told)
    tape.call("", "futex", Register(PID_ADDRESS), _FUTEX_WAKE, 1, on={ANY: None})
    tape.mark(end)
    tape.call("", "exit", 0)
    return tape.cut()


def _beginning() -> Strip:
    """The child's first step: our pid stands in its register (CLONE_PARENT_SETTID), wake who waits for that."""
    tape = Tape()
    tape.call("", "futex", Register(PID_ADDRESS), _FUTEX_WAKE, 1, on={ANY: None})
    return tape.cut()


_THREAD_STRIP = _thread()
BEGINNING = _beginning()


def bear(page: Page, strip: Strip, flags: int, cgroup: int | None = None, held: int = -1) -> tuple[int, int]:
    """A child that walks `strip`, which begins with BEGINNING, in this memory: its pid and pidfd.

    flags: its new namespaces. cgroup: descriptor of the v2 group it is born in. held: a pidfd or file of the pid
    namespace it is born in, -1 for ours. Raises OSError. Only where `ready()` said yes.
    """
    begin(page, strip, flags, cgroup, held)
    return known(page)


def begin(page: Page, strip: Strip, flags: int, cgroup: int | None = None, held: int = -1) -> None:
    """The same without waiting for the child: no descriptor that it needs may be closed before `known`."""
    registers = page.registers
    page.strips.append(strip)
    page.ask(flags, cgroup)
    registers[CHILD], registers[HELD] = strip.address, held
    spawn(page, _THREAD_STRIP)


def known(page: Page) -> tuple[int, int]:
    """The child's pid and pidfd, as soon as it is there. Raises OSError where it could not be made."""
    registers = page.registers
    word = ctypes.c_void_p(page.at(PID))
    while not (pid := registers[PID]):
        syscalls.attempt("futex", word, _FUTEX_WAIT, 0, None, None, 0)
    if pid < 0:
        raise syscalls.refused("fork into new namespaces", -registers[BORN])
    return pid, registers[PIDFD] & 0xFFFFFFFF


def spawn(page: Page, strip: Strip) -> None:
    """A thread of ours that walks `strip`, which ends it. Raises OSError. Only where `ready()` said yes."""
    assert _start is not None
    page.strips.append(strip)
    syscalls.call("block the signals", "rt_sigprocmask", _SETMASK, _ALL_SIGNALS, _mask, _MASK_SIZE)
    made = _start(page.address, strip.address, page.at(_THREAD_ARGS), _ARGS.size)
    syscalls.call("unblock the signals", "rt_sigprocmask", _SETMASK, _mask, None, _MASK_SIZE)
    if made < 0:
        raise syscalls.refused("fork into new namespaces", -made)


def walking(page: Page) -> bool:
    """Whether its thread has not ended yet."""
    return bool(page.registers[THREAD])


def wait(page: Page) -> None:
    """Until its thread has ended."""
    word = ctypes.c_void_p(page.at(THREAD))
    while number := page.registers[THREAD]:
        syscalls.attempt("futex", word, _FUTEX_WAIT, ctypes.c_int(number), None, None, 0)


_mask = ctypes.create_string_buffer(_MASK_SIZE)


def ready() -> bool:
    """Whether children can walk in our memory on this machine: tried once, in a process that may fail at it."""
    global _start, _code
    if _start is not None:
        return True
    if syscalls.MACHINE not in CODE or struct.calcsize("P") != 8 or _sets_dumpable():
        return False
    try:
        _code = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        _code.write(bytes.fromhex("".join(CODE[syscalls.MACHINE])))
        place = ctypes.addressof(ctypes.c_char.from_buffer(_code))
        # Never writable and executable at once; where even this is refused (SELinux execmem), we fork.
        syscalls.call(
            "make the walker executable", "mprotect", ctypes.c_void_p(place), ctypes.c_long(mmap.PAGESIZE),
            mmap.PROT_READ | mmap.PROT_EXEC,
        )  # fmt: skip
    except OSError:
        return False
    prototype = ctypes.PYFUNCTYPE(ctypes.c_long, *[ctypes.c_void_p] * 3, ctypes.c_long)
    _start = prototype(place)
    if not _tried():
        _start = None
    return _start is not None


def _sets_dumpable() -> bool:
    try:
        with open("/proc/sys/fs/suid_dumpable", "rb") as file:
            return file.read().strip() == b"1"
    except FileNotFoundError:
        return False


def _tried() -> bool:
    tester = os.fork()
    if tester == 0:
        code = 1
        try:
            tape = Tape()
            tape.call("", "getpid", into=FREE)
            tape.call("", "exit", 42)
            page = take()
            pid, held = bear(page, joined([BEGINNING, tape.cut()]), 0)
            code = int(os.waitpid(pid, 0)[1] != 42 << 8 or page.registers[FREE] != pid or held < 0)
        finally:
            os._exit(code)
    held = os.pidfd_open(tester)
    if not select.select([held], [], [], 2)[0]:
        os.kill(tester, signal.SIGKILL)
    os.close(held)
    return os.waitpid(tester, 0)[1] == 0


# the road in Python


def walk(page: Page, strip: Strip) -> None:
    """Make the calls of `strip` in this process, to where the tape jumps to 0. Raises OSError where a step fails."""
    registers = page.registers
    page.strips.append(strip)
    at = strip.address
    while True:
        number, from_register, into, then, error, skip, other, other_skip, *words = ENTRY.unpack(
            ctypes.string_at(at, ENTRY.size)
        )
        arguments = [registers[word] if from_register >> place & 1 else word for place, word in enumerate(words)]
        if number == JUMP:
            at = arguments[0]
            if not at:
                return
            continue
        if number == COMPARE:
            value, mask, wanted, refusal = arguments[:4]
            result = -refusal if value & mask == wanted else 0
        else:
            result = syscalls.numbered(number, arguments)
        registers[into] = result
        if result >= 0:
            onward = then if result else 0
        elif -result == error:
            onward = skip
        elif -result == other or other == ANY:
            onward = other_skip
        else:
            registers[ENDED], registers[ERRNO] = at, -result
            raise page.failure() or syscalls.refused("go on", -result)
        at += (1 + onward) * ENTRY.size
