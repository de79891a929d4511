"""What a repository keeps encrypted, opened in memory: age files, and SOPS files through the sops program.

The plain text is handed to whoever asked to read the file; it is never written anywhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

AGE = (b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----")
LFS = b"version https://git-lfs.github.com/spec/"
SOPS_MARK = b"ENC[AES256_GCM,"
PATIENCE = 30.0  # seconds for sops: it may have to ask a key service


def opener(identities: str | None) -> Callable[[str, bytes], bytes]:
    """A function that opens what is encrypted and leaves the rest as it is.

    `identities`: the file of the age identities of this machine (age-keygen(1)). The function raises OSError, a
    sentence, where it cannot open what is encrypted.
    """

    def reveal(path: str, data: bytes) -> bytes:
        if data.startswith(LFS):
            raise OSError(
                1, "it is a pointer of Git LFS, and what it points to is not fetched: keep the file in git itself"
            )
        if data.startswith(AGE):
            return _age(data, identities)
        if SOPS_MARK in data and b"sops" in data:
            return _sops(path, data, identities)
        return data

    return reveal


def _age(data: bytes, identities: str | None) -> bytes:
    if identities is None:
        raise OSError(1, "it is encrypted with age, and the source was added without --age-key FILE")
    try:
        import pyrage
    except ImportError as error:
        raise OSError(1, "it is encrypted with age: install pyorch[secrets] to open it") from error
    with open(identities, encoding="ascii") as file:
        words = [line.strip() for line in file if line.startswith("AGE-SECRET-KEY-")]
    try:
        plain: bytes = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(word) for word in words])
    except (pyrage.DecryptError, pyrage.IdentityError) as error:
        raise OSError(1, f"it is encrypted with age, and no identity in {identities} opens it: {error}") from error
    return plain


def _sops(path: str, data: bytes, identities: str | None) -> bytes:
    kind = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".env": "dotenv"}.get(os.path.splitext(path)[1], "binary")
    command = ["sops", "--decrypt", "--input-type", kind, "--output-type", kind, "/dev/stdin"]
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    if identities is not None:
        environment["SOPS_AGE_KEY_FILE"] = identities
    try:
        done = subprocess.run(command, input=data, env=environment, capture_output=True, timeout=PATIENCE, check=False)
    except FileNotFoundError as error:
        raise OSError(1, "it is encrypted with SOPS, and there is no sops on this machine; install it") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(1, f"it is encrypted with SOPS, and sops did not answer within {PATIENCE:g}s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise OSError(1, f"it is encrypted with SOPS, and sops could not open it: {lines[-1][:200]}")
    return done.stdout
