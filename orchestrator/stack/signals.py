"""Names of signals, as a stack file writes them."""

from __future__ import annotations

import re
import signal

from orchestrator.stack.places import did_you_mean


def signal_name(value: str | int) -> str:
    """ "SIGINT", "int" or 2 → "SIGINT"; SIGRTMIN+3 as it is."""
    word = str(value).upper()
    if word.isdecimal() and int(word[:4]) in list(signal.Signals):
        return signal.Signals(int(word)).name
    name = word if word.startswith("SIG") else f"SIG{word}"
    if name in signal.Signals.__members__ or re.fullmatch(r"SIGRTM(IN\+|AX-)\d{1,2}", name):
        return name
    raise ValueError(f"unknown signal {value!r}{did_you_mean(name, signal.Signals.__members__)}")
