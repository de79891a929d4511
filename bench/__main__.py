"""`python -m bench [PART] [--peers ROOT]`: every figure, what is asked of it, what was measured here.

Without a part: the containers, then every other part. Root is needed for `containers`, `launcher`, `logs`, `images`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import birth, common, config, decider, engines, host, images, inside, launcher, logs, peers, rollout
from bench import scheduler, settle, simulate, sources
from bench.figures import Table, at_most, shown

THINKING: dict[str, Callable[[Table], None]] = {  # these need neither root nor containers
    "config": config.measure,
    "decider": decider.measure,
    "settle": settle.measure,
    "scheduler": scheduler.measure,
    "simulate": simulate.measure,
}
