"""One blob on its way into the store: it goes on where it stopped, and is a blob only once its digest is right."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable
from typing import IO, Any

import urllib3

from orchestrator.errors import HostRefused, Unreachable
from orchestrator.images.http import ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE, Caller, Refusal, words
from orchestrator.images.manifest import Descriptor
from orchestrator.images.registry import Repository, pieces
from orchestrator.images.store import Store

Tell = Callable[[int], None]  # so many bytes more (fewer, where it had to begin again)
SLOWEST, LOOK = 512.0, 20.0  # bytes a second, over so many seconds: less is no transfer, and is begun again
WRONG = 2  # times that a blob may come with another content


def download(store: Store, repository: Repository, blob: Descriptor, caller: Caller, tell: Tell) -> None:
    """The blob is in the store afterwards. Raises Denied, NotThere, Refusal, Unreachable, HostRefused (disk full)."""
    part = os.path.join(store.ingest, blob.digest.replace(":", "-") + ".part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # whoever fetches the same blob waits, and then finds it there
        if store.has(blob.digest, blob.size):
            tell(blob.size)
            _unlink(part)
            return
        try:
            _fill(file, repository, blob, caller, tell)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                _unlink(part)  # the room is needed more than what has come so far
                raise HostRefused(f"there is no room left on the disk of {store.directory}") from error
            raise HostRefused(f"cannot write {part}: {error.strerror}") from error
        if not os.path.exists(part):  # collected, or made anew, by somebody who took no notice of the lock
            raise HostRefused(f"cannot keep blob {blob.digest}: its file was removed meanwhile")
        store.adopt(part, blob.digest)


def _fill(file: IO[bytes], repository: Repository, blob: Descriptor, caller: Caller, tell: Tell) -> None:
    transfer = _Transfer(file, blob, caller, tell)
    transfer.resume()
    failed = wrong = 0
    while True:
        before = transfer.length
        trouble = ""
        try:
            if transfer.length < blob.size:
                trouble = transfer.take(repository)
        except (urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
            trouble = words(error)
        if not trouble and transfer.length == blob.size:
            found = transfer.digest
            if found == blob.digest:
                return
            wrong += 1
            transfer.begin_again()
            if wrong > WRONG:
                raise Refusal(f"blob {blob.digest} comes with another content, of digest {found}")
            continue
        failed = 1 if transfer.length > before else failed + 1  # what goes forward may go on for ever
        if failed >= ATTEMPTS:
            raise Unreachable(f"the transfer of {blob.digest} breaks off again and again: {trouble or 'too short'}")
        caller.pause(min(FIRST_PAUSE * 2 ** (failed - 1), LONGEST_PAUSE))


class _Transfer:
    """What has come so far: the file, its length, and the hash of it."""

    def __init__(self, file: IO[bytes], blob: Descriptor, caller: Caller, tell: Tell) -> None:
        self._file = file
        self._blob = blob
        self._caller = caller
        self._tell = tell
        self._hash: Any = None
        self.length = 0
        self._start()

    @property
    def digest(self) -> str:
        return f"{self._hash.name}:{self._hash.hexdigest()}"

    def _start(self) -> None:
        self._hash = hashlib.new(self._blob.digest.partition(":")[0])
        self.length = 0

    def resume(self) -> None:
        """What an earlier pull has left counts."""
        if os.fstat(self._file.fileno()).st_size > self._blob.size:
            self._file.truncate(0)
        while piece := self._file.read(1 << 20):
            self._hash.update(piece)
            self.length += len(piece)
        self._tell(self.length)

    def begin_again(self) -> None:
        self._tell(-self.length)
        self._file.truncate(0)
        self._file.seek(0)
        self._start()

    def take(self, repository: Repository) -> str:
        """One answer of the registry, as far as it goes; returns why it did not go to the end."""
        answer = repository.blob(self._blob.digest, self.length)
        if answer.status == 416 or (answer.status == 200 and self.length) or self._elsewhere(answer):
            if answer.status != 200:
                answer.drain_conn()
                self.begin_again()
                return "it does not go on where the last transfer stopped"
            self.begin_again()
        self._file.seek(self.length)
        mark, since = self.length, self._caller.clock()
        try:
            for piece in pieces(answer):
                if self.length + len(piece) > self._blob.size:
                    self.begin_again()
                    raise Refusal(
                        f"blob {self._blob.digest} is longer than the {self._blob.size} bytes of its manifest"
                    )
                _write_all(self._file, piece)
                self._hash.update(piece)
                self.length += len(piece)
                self._tell(len(piece))
                if (now := self._caller.clock()) - since > LOOK:
                    if self.length - mark < SLOWEST * LOOK:
                        answer.close()
                        return f"less than {SLOWEST:g} bytes a second come"
                    mark, since = self.length, now
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return "" if self.length == self._blob.size else "it ended too early"

    def _elsewhere(self, answer: urllib3.BaseHTTPResponse) -> bool:
        said = answer.headers.get("Content-Range", "")
        return answer.status == 206 and not said.startswith(f"bytes {self.length}-")


def _write_all(file: IO[bytes], data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _unlink(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
