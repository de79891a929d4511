"""What applying a commit would do, without applying it: for a pull request, before it is merged."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from dataclasses import replace

from orchestrator.agent.sources.git import Repository
from orchestrator.agent.sources.record import Source
from orchestrator.agent.sources.stacks import External, stacks_of
from orchestrator.stack.model import Stack
from orchestrator.stack.store import from_json, to_json


async def commit_stacks(source: Source, ref: str, home: str, external: External) -> tuple[str, list[Stack]]:
    """The commit that `ref` names now, and its stacks as they would be once it is checked out in `home`/tree.

    It is read in a directory of its own that is gone afterwards; paths are then those of the real checkout. Raises
    Unreachable, Mistake.
    """
    source = replace(source, ref=ref)
    with tempfile.TemporaryDirectory(prefix="plan-", dir=os.path.dirname(home)) as directory:
        repository = Repository(directory, source.repo, source.access, source.verify)
        commit = await repository.resolve(ref)
        await repository.fetch(commit)
        await repository.check_out(commit)
        stacks = await asyncio.to_thread(stacks_of, source, repository.tree, external)
        here, there = json.dumps(directory)[1:-1], json.dumps(home)[1:-1]
        return commit, [from_json(to_json(stack).replace(here, there)) for stack in stacks]
