"""One HTTP exchange with a registry: back-off, tokens, redirects; the answer's head read, its body still to come.

Below it urllib3: connections, TLS and proxies. What is ours is what the OCI Distribution Specification 1.1 and Docker's
token protocol (https://distribution.github.io/distribution/spec/auth/token/) add, and the rule that a credential goes
to whom it belongs and to nobody else. Blocking, for a process of its own whose threads each carry one layer.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3

from orchestrator import __version__
from orchestrator.errors import Missing, Mistake, OrchestratorError, Unreachable
from orchestrator.images import credentials
from orchestrator.images.credentials import Credential
from orchestrator.images.settings import Settings, identities

ATTEMPTS = 5  # of one exchange
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 10.0  # seconds between two; a registry may ask for more by Retry-After, up to:
LONGEST_ASKED = 60.0
CONNECT, SILENCE = 10.0, 30.0  # seconds until a connection, until the next byte
WHOLE = 60.0  # seconds for a manifest
REDIRECTS = 5
SAID = 300  # characters of a registry's own words

Response = urllib3.BaseHTTPResponse


class Denied(Missing):
    """The registry knows the way, but not for this caller."""


class NotThere(Missing):
    """The registry has no such thing."""


class Refusal(OrchestratorError):
    """The registry said no, for a reason of its own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose behalf it is on. `environment`: HOME, DOCKER_CONFIG, PATH, proxies. `pause` waits for so many seconds."""

    environment: Mapping[str, str]
    pause: Callable[[float], object]
    clock: Callable[[], float]


@dataclass(slots=True)
class Line:
    """The connections to all hosts, shared by all threads, and the tokens got so far."""

    settings: Settings
    caller: Caller
    tokens: dict[tuple[str, str], str] = field(default_factory=dict)  # (base URL, scope) → Authorization
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pools: dict[tuple[Any, ...], urllib3.PoolManager] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        base: str,
        path: str,
        *,
        registry: str,
        scope: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        accept: tuple[int, ...] = (200,),
        patient: bool = True,
    ) -> Response:
        """The answer, of one of the statuses `accept`. `path`: below `base`, or a URL the registry gave.

        Raises Denied, NotThere, Refusal; Unreachable once `ATTEMPTS` have failed (after the first, if not `patient`).
        """
        url = urljoin(f"{base}/", path)
        trouble = ""
        for attempt in range(ATTEMPTS if patient else 1):
            if attempt:
                self.caller.pause(min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.8, 1.2))
            if attempt and hasattr(body, "seek"):
                body.seek(0)
            try:
                answer = self._once(method, url, base, registry, scope, dict(headers or {}), body)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                trouble = words(error)
                if isinstance(error, urllib3.exceptions.SSLError):
                    break  # a certificate does not get better by asking again
                continue
            if answer.status in accept:
                return answer
            said = _said(answer)
            if answer.status in (408, 425, 429) or answer.status >= 500:
                trouble = f"it answers {answer.status}{said}"
                if attempt + 1 < ATTEMPTS and patient and (asked := _retry_after(answer)):
                    self.caller.pause(asked)
                continue
            _raise(answer.status, said)
        host = urlsplit(url).netloc
        raise Unreachable(f"{host} cannot be reached: {trouble}" if "answers" not in trouble else f"{host}: {trouble}")

    def _once(
        self, method: str, url: str, base: str, registry: str, scope: str, headers: dict[str, str], body: Any
    ) -> Response:
        """With the token there is; with a new one where the registry asks for it."""
        with self._lock:
            known = self.tokens.get((base, scope))
        ours = _same_host(url, base)
        answer = self._send(method, url, registry, headers | ({"Authorization": known} if known and ours else {}), body)
        if answer.status != 401 or not ours:
            return answer
        challenges = answer.headers.get("WWW-Authenticate", "")
        answer.drain_conn()
        granted = self._authorise(challenges, base, registry, scope)
        if granted is None:
            return answer
        with self._lock:
            self.tokens[base, scope] = granted
        if hasattr(body, "seek"):
            body.seek(0)
        return self._send(method, url, registry, headers | {"Authorization": granted}, body)

    def _send(self, method: str, url: str, registry: str, headers: dict[str, str], body: Any) -> Response:
        """Follows redirects of reads: without the credential to another host, never from https to http."""
        for _ in range(REDIRECTS):
            answer = self._pool(url, registry).urlopen(
                method,
                url,
                body=body,
                headers={"User-Agent": f"pyorch/{__version__}", **headers},
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            where = answer.headers.get("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not where or method not in ("GET", "HEAD"):
                return answer
            answer.drain_conn()
            further = urljoin(url, where)
            _check_redirect(url, further)
            if not _same_host(url, further):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = further
        raise Refusal(f"{urlsplit(url).netloc} redirects again and again")

    def _authorise(self, challenges: str, base: str, registry: str, scope: str) -> str | None:
        """The Authorization that a 401 asks for; None where we have none to give."""
        host = urlsplit(base).netloc
        key = registry if not self._is_mirror(base, registry) else host
        who = credentials.find(key, self.caller.environment)
        if who and who.bearer:
            return f"Bearer {who.bearer}"
        bearer = _challenge(challenges, "bearer")
        if bearer.get("realm"):
            return f"Bearer {self._token(bearer, base, registry, scope, who)}"
        if _challenge(challenges, "basic") or challenges.lower().startswith("basic"):
            return _basic(who) if who and who.username else None
        return None

    def _token(self, challenge: dict[str, str], base: str, registry: str, scope: str, who: Credential | None) -> str:
        realm = urljoin(f"{base}/", challenge["realm"])
        if urlsplit(realm).scheme not in ("http", "https"):
            raise Refusal(f"{urlsplit(base).netloc} sends for a token to {realm!r}, which is no web address")
        if who and urlsplit(realm).scheme == "http" and urlsplit(base).scheme == "https":
            raise Refusal(f"{urlsplit(base).netloc} wants the password sent in the clear, to {realm}")
        wanted = {"service": challenge.get("service", ""), "scope": challenge.get("scope") or scope}
        wanted = {name: value for name, value in wanted.items() if value}
        if who and who.identity:  # an identity token is a refresh token of OAuth 2
            form = {"grant_type": "refresh_token", "refresh_token": who.identity, "client_id": "pyorch", **wanted}
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, registry, headers, urlencode(form).encode())
        else:
            url = realm + ("&" if urlsplit(realm).query else "?") + urlencode(wanted)
            headers = {"Authorization": _basic(who)} if who and who.username else {}
            answer = self._send("GET", url, registry, headers, None)
        if answer.status in (401, 403):
            raise Denied(f"{urlsplit(realm).netloc} does not accept the credentials{_said(answer)}")
        if answer.status >= 500 or answer.status == 429:
            raise urllib3.exceptions.HTTPError(f"{urlsplit(realm).netloc} gives no token: it answers {answer.status}")
        try:
            value = json.loads(answer.read(1 << 20))
            token = value.get("token") or value["access_token"]
        except (ValueError, KeyError, AttributeError) as error:
            raise Refusal(f"{urlsplit(realm).netloc} gives no token (status {answer.status})") from error
        return str(token)

    def _is_mirror(self, base: str, registry: str) -> bool:
        return any(mirror and base == url for url, mirror in self.settings.endpoints(registry))

    def _pool(self, url: str, registry: str) -> urllib3.PoolManager:
        proxy = proxy_of(url, self.caller.environment)
        host = urlsplit(url).netloc
        ours = tuple(identities(host))  # never those of another host, whoever sends us here
        key = (proxy, tuple(self.settings.authorities(registry, host)), ours)
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                timeout = urllib3.Timeout(connect=CONNECT, read=SILENCE)
                options: dict[str, Any] = {"maxsize": 16, "timeout": timeout}
                if key[1] or ours:
                    options["ssl_context"] = _trusting(key[1], ours, registry)
                pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
                self._pools[key] = pool
            return pool


def whole(answer: Response, most: int, clock: Callable[[], float]) -> bytes:
    """The body, up to `most` bytes and one. Raises Unreachable where it does not come within a minute."""
    content, until = bytearray(), clock() + WHOLE
    try:
        while len(content) <= most and (piece := answer.read1(most + 1 - len(content))):
            content += piece
            if clock() > until:
                raise Unreachable(f"its answer does not come to an end within {WHOLE:g} s")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unreachable(f"its answer breaks off: {words(error)}") from error
    finally:
        answer.release_conn() if len(content) <= most else answer.close()
    return bytes(content)


def words(error: Exception) -> str:
    """What a failed connection comes down to, without the insides of three libraries."""
    text = str(getattr(error, "reason", None) or error)
    inner = error.__cause__ or error.__context__
    if isinstance(inner, OSError) and inner.strerror and "certificate" not in text:
        text = inner.strerror
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        text = f"it said nothing for {SILENCE:g} s"
    elif isinstance(error, urllib3.exceptions.NewConnectionError):
        text = text.partition("] ")[2] or text.rpartition(": ")[2]
    elif isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        text = f"no connection within {CONNECT:g} s"
    return re.sub(r"<[^>]*>:? ?|\(_ssl\.c:\d+\)", "", text).strip()


def _raise(status: int, said: str) -> None:
    if status in (401, 403):
        raise Denied(f"it answers {status}{said}")
    if status == 404:
        raise NotThere(f"it answers {status}{said}")
    raise Refusal(f"it answers {status}{said}")


def _said(answer: Response) -> str:
    """The registry's own words (Distribution Specification, "Error Codes")."""
    try:
        body = answer.read(16 << 10)
        first = json.loads(body)["errors"][0]
        text = str(first.get("message") or first.get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError, urllib3.exceptions.HTTPError, OSError):
        text = ""
    finally:
        answer.release_conn()
    return f" ({text[:SAID]})" if text else ""


def _retry_after(answer: Response) -> float:
    """Seconds; its other form, a date, is not worth a clock."""
    text = answer.headers.get("Retry-After", "")
    return min(float(text), LONGEST_ASKED) if text.isdecimal() else 0.0


def _challenge(header: str, scheme: str) -> dict[str, str]:
    """The parameters of one scheme in WWW-Authenticate (RFC 9110, 11.6.1)."""
    found = re.search(rf"(?:^|,\s*){scheme}\s+((?:[\w-]+=(?:\"[^\"]*\"|[^\s,]+),?\s*)+)", header, re.IGNORECASE)
    if not found:
        return {}
    pairs = re.findall(r"([\w-]+)=(?:\"([^\"]*)\"|([^\s,]+))", found[1])
    return {name.lower(): quoted or plain for name, quoted, plain in pairs}


def _trusting(authorities: Sequence[str], identities: Sequence[tuple[str, str]], registry: str) -> Any:
    """Those authorities beside the system's: where a registry redirects to, another one may vouch. `identities`: our
    own certificates, with their keys."""
    import ssl

    context = ssl.create_default_context()
    for path in authorities:
        try:
            context.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise Mistake(f"cannot trust registry '{registry}' by the certificates in {path}: {error}") from error
    for certificate, key in identities:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise Mistake(f"cannot use certificate {certificate} with {key}: {error}") from error
    return context


def _basic(who: Credential) -> str:
    return "Basic " + base64.b64encode(f"{who.username}:{who.password}".encode()).decode()


def _same_host(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def _check_redirect(source: str, target: str) -> None:
    old, new = urlsplit(source), urlsplit(target)
    if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
        raise Refusal(f"{old.netloc} redirects from {old.scheme} to {new.scheme}, which is not followed")
    try:
        local = ipaddress.ip_address(new.hostname or "").is_link_local
    except ValueError:
        local = False
    if local:  # where clouds keep the secrets of a machine
        raise Refusal(f"{old.netloc} redirects to {new.netloc}, which is not followed")


def proxy_of(url: str, environment: Mapping[str, str]) -> str | None:
    """HTTPS_PROXY, HTTP_PROXY, NO_PROXY, as curl(1) reads them."""
    parts = urlsplit(url)
    lower = {name.lower(): value for name, value in environment.items() if name.lower().endswith("_proxy")}
    proxy = lower.get(f"{parts.scheme}_proxy")
    host = parts.hostname or ""
    exempt = [name.strip().lstrip(".") for name in lower.get("no_proxy", "").split(",") if name.strip()]
    if not proxy or any(name in ("*", host, parts.netloc) or host.endswith(f".{name}") for name in exempt):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
