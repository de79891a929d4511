"""Whatever goes wrong with an image becomes one sentence for who asked for it: "cannot load x: why"."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from orchestrator.errors import HostRefused, Missing, OrchestratorError
from orchestrator.images.http import Refusal
from orchestrator.images.store import Damaged


@contextlib.contextmanager
def explained(
    cannot: str, missing: str = "a file is missing", unfit: type[OrchestratorError] = Refusal
) -> Iterator[None]:
    """`cannot`: the beginning of the sentence; `missing`: its end where a file is not there; `unfit`: what a ValueError
    (something is not what it should be) becomes."""
    try:
        yield
    except (Refusal, HostRefused, Damaged) as error:
        raise type(error)(f"{cannot}: {error}") from error
    except FileNotFoundError as error:
        raise Missing(f"{cannot}: {missing}") from error
    except ValueError as error:
        raise unfit(f"{cannot}: {error}") from error
    except OSError as error:
        raise HostRefused(f"{cannot}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """Why the kernel said no, for the end of a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "there is no room left on the disk"
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
