"""Tapes of system calls: what both walkers make of them, and that the machine's is what its source says."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.kernel import syscalls, walker
from orchestrator.kernel.tape import ANY, Mark, Register, Tape, joined, table

KERNEL = Path(walker.__file__).parent
FIRST, SECOND = walker.FREE, walker.FREE + 1

Walk = Callable[[Tape], tuple[int, walker.Page]]


@pytest.fixture(params=["machine", "python"])
def walk(request: pytest.FixtureRequest) -> Iterator[Walk]:
    """Walks a tape in a child: its exit code, and the page it was walked with."""
    if request.param == "machine" and not walker.ready():
        pytest.skip("no machine code for this machine, or the kernel does not let it be executed")
    pages = []

    def in_our_memory(tape: Tape) -> tuple[int, walker.Page]:
        pages.append(page := walker.take())
        pid, pidfd = walker.bear(page, joined([walker.BEGINNING, tape.cut()]), 0)
        os.close(pidfd)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), page

    def forked(tape: Tape) -> tuple[int, walker.Page]:
        pages.append(page := walker.take())
        strip = tape.cut()
        pid = os.fork()
        if pid == 0:
            try:
                walker.walk(page, strip)
            finally:
                os._exit(127)
        page.strips.append(strip)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), page

    yield in_our_memory if request.param == "machine" else forked
    for page in pages:
        walker.give_back(page)


def test_a_result_is_the_argument_of_a_later_call(walk: Walk, tmp_path: Path) -> None:
    tape = Tape()
    flags = os.O_CREAT | os.O_WRONLY
    tape.call("open", "openat", syscalls.AT_FDCWD, bytes(tmp_path / "file"), flags, 0o600, into=FIRST)
    tape.call("write", "write", Register(FIRST), b"hello", 5, into=SECOND)
    tape.call("end", "exit", Register(SECOND))
    assert walk(tape)[0] == 5
    assert (tmp_path / "file").read_bytes() == b"hello"


def test_a_failure_without_an_answer_ends_the_walk_and_says_what_was_tried(walk: Walk) -> None:
    tape = Tape()
    tape.call("get its number", "getpid")
    tape.call("go to /nonesuch", "chdir", b"/nonesuch", on={errno.EACCES: None, errno.EPERM: None})
    tape.call("end", "exit", 0)
    code, page = walk(tape)
    failure = page.failure()
    assert failure is not None
    assert (code, failure.errno, failure.strerror) == (
        127,
        errno.ENOENT,
        "cannot go to /nonesuch: No such file or directory",
    )


def test_errnos_with_an_answer_and_results_above_0_lead_on(walk: Walk) -> None:
    tape, missing, other, end = Tape(), Mark(), Mark(), Mark()
    tape.call("", "chdir", b"/nonesuch", on={errno.EACCES: other, errno.ENOENT: missing})
    tape.call("", "exit", 1)
    tape.mark(missing)
    tape.call("", "chdir", b"/etc/passwd", on={errno.ENOENT: None, ANY: other})
    tape.call("", "exit", 2)
    tape.mark(other)
    tape.call("", "getpid", then=end)
    tape.call("", "exit", 3)
    tape.mark(end)
    tape.call("", "chdir", b"/nonesuch", on={errno.ENOENT: None})
    tape.call("", "exit", 42)
    assert walk(tape)[0] == 42


def test_values_are_compared_under_a_mask(walk: Walk) -> None:
    tape, same = Tape(), Mark()
    tape.call("", "getpid", into=FIRST)
    tape.skip_if(Register(FIRST), 0, 1, same)
    tape.skip_if(Register(FIRST), -1, Register(FIRST), same)
    tape.call("", "exit", 1)
    tape.mark(same)
    tape.unless_equal("be it", Register(FIRST), 0, 0, errno.EXDEV)
    code, page = walk(tape)
    failure = page.failure()
    assert (code, failure and failure.strerror) == (127, f"cannot be it: {os.strerror(errno.EXDEV)}")


def test_a_strip_may_be_walked_under_another_name(walk: Walk, tmp_path: Path) -> None:
    tape = Tape()
    tape.call("make the directory of alpha", "mkdirat", syscalls.AT_FDCWD, bytes(tmp_path / "alpha"), 0o755)
    tape.call("go to alpha's house", "chdir", b"/nonesuch/alpha/house")
    original = tape.cut()
    renamed = original.renamed("alpha", "omega")
    again = Tape()
    again.keep(renamed)
    again.jump(renamed.address)
    code, page = walk(again)
    page.strips.append(renamed)
    failure = page.failure()
    assert (code, failure and failure.strerror) == (127, "cannot go to omega's house: No such file or directory")
    assert os.listdir(tmp_path) == ["omega"]


def test_the_end_of_a_tape_may_be_written_while_it_is_walked(walk: Walk) -> None:
    end = Tape()
    end.call("", "exit", 9)
    strip = end.cut()
    tape = Tape()
    tape.call("", "getpid", into=FIRST)
    tape.jump(strip.address)
    assert walk(tape)[0] == 9


def test_a_program_finds_its_words(walk: Walk) -> None:
    argv, words = table([b"sh", b"-c", b'exit "$CODE"'])
    envp, more = table([b"CODE=17"])
    tape = Tape()
    tape.keep((argv, words, envp, more))
    tape.call("start", "execve", b"/bin/sh", argv, envp)
    assert walk(tape)[0] == 17


def test_a_child_that_cannot_be_born_is_an_error_and_no_wait_for_ever() -> None:
    if not walker.ready():
        pytest.skip("no machine code for this machine")
    page = walker.take()
    with pytest.raises(OSError, match="cannot fork into new namespaces"):
        walker.bear(page, joined([]), 0, held=999)  # no such descriptor
    walker.give_back(page)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_machine_code_is_what_its_source_says(machine: str, tmp_path: Path) -> None:
    prefix = "" if os.uname().machine == machine else f"{machine.replace('_', '-')}-linux-gnu-"
    if not shutil.which(f"{prefix}as"):
        pytest.skip(f"needs an assembler for {machine}: `make test` installs it")
    source, assembled, code = KERNEL / f"walker_{machine}.S", tmp_path / "walker.o", tmp_path / "walker"
    subprocess.run([f"{prefix}as", "-o", assembled, source], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", "-j", ".text", assembled, code], check=True)
    assert code.read_bytes().hex() == walker.CODE[machine]


def test_the_machine_code_neither_calls_nor_touches_the_stack_after_the_clone() -> None:
    """The child stands on its parent's stack."""
    for machine, stack in (("x86_64", r"\b(push|pop|call|ret|rsp|rbp)\b"), ("aarch64", r"\b(sp|bl|blr|ret)\b")):
        steps = re.sub(r"(#|//).*", "", (KERNEL / f"walker_{machine}.S").read_text())
        assert not re.search(stack, steps.partition(".macro")[2]), machine
