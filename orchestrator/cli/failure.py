"""How an error leaves the house: one sentence on stderr and an exit code, never a traceback for what was foreseen.

Exit codes: 0 done, 1 failed, 2 the user's mistake, 3 the agent cannot be reached, 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys

from orchestrator.cli.printing import say
from orchestrator.errors import Mistake, OrchestratorError


def report(error: BaseException, *, verbose: bool = False) -> int:
    """Prints what went wrong and returns the exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        case KeyboardInterrupt():
            say("interrupted")
            return 130
        case BrokenPipeError():
            _die_of_the_pipe()
        case Mistake():
            _complain(error)
            return Mistake.exit_code
        case OrchestratorError():
            say(str(error))
            return error.exit_code
    return _unforeseen(error, verbose=verbose or bool(os.environ.get("PYORCH_DEBUG")))


def _complain(mistake: Mistake) -> None:
    """A sentence is said as one; what shows lines of a file stands as it is, and is counted."""
    complaints = mistake.complaints
    if len(complaints) == 1 and "\n" not in complaints[0]:
        say(complaints[0])
        return
    print("\n".join(complaints), file=sys.stderr)
    say(f"{len(complaints)} mistake{'' if len(complaints) == 1 else 's'} found; nothing was done")


def _unforeseen(error: BaseException, *, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exception(error)
    hint = "" if verbose else " (-v shows where)"
    sentence = str(error) or "no more is known"
    say(f"cannot go on: {type(error).__name__}: {sentence}{hint}")
    return 1


def _die_of_the_pipe() -> None:
    """Our reader went away (`pyorch logs | head`): end as every Unix filter does, by SIGPIPE, without a word."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
