"""What is never printed: values that are secret by their name or by their look.

A plan, a diff and a history show old and new values, and end up in terminals, tickets and pull requests. A value is
hidden where its name says that it is a secret, and so are passwords inside URLs and options wherever they stand.
"""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
_NAMES = re.compile(
    r"pass(word|wd|phrase)?($|[_\W\d])|pwd|secret|token|credential|private|api_?key|access_?key|(^|[_-])key($|[_-])"
    r"|auth($|[_-])|cookie|signature|salt|dsn($|_)|cert($|_)",
    re.IGNORECASE,
)
_URL = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)")
_OPTION = re.compile(
    r"((?:pass(?:word|wd)?|secret|token|api[_-]?key|access[_-]?key|credentials?)[\"']?\s*[=:]\s*)([^\s,;&\"']+)",
    re.IGNORECASE,
)
_FLAG = re.compile(r"(--?[\w-]*(?:password|passwd|secret|token|api-key)\s+)(\S+)", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [^-]*PRIVATE KEY-----.*", re.DOTALL)


def secret_name(name: str) -> bool:
    """Whether a variable, label or option called so holds a secret."""
    return bool(_NAMES.search(name))


def masked(name: str, value: str) -> str:
    """`value` as it may be shown, of what is called `name`."""
    if value and secret_name(name):
        return HIDDEN
    for pattern, shown in ((_URL, rf"\1:{HIDDEN}"), (_OPTION, rf"\1{HIDDEN}"), (_FLAG, rf"\1{HIDDEN}"), (_PEM, HIDDEN)):
        value = pattern.sub(shown, value)
    return value
