"""Requests that are repeated until they are answered."""

import http.client
import ipaddress
import json
import random
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from time import sleep
from typing import IO, Any

from ._errors import KINDS, InvalidRequest, NodeError, Problem, Unanswered
from ._model import Json, Memory

Token = str | Callable[[], str] | None

# An answer has one memory of about 8 MiB, or about 4 MiB and one such memory.
MAX_ANSWER_BYTES = 32 << 20
# A snapshot has at most 64 MiB, which a restore takes.
MAX_SNAPSHOT_BYTES = 65 << 20
FIRST_PAUSE = 0.1
MAX_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request to the node."""

    method: str
    path: str
    """In percent-encoding."""
    query: Mapping[str, str | int | float]
    body: bytes | None = None
    clock: str | None = None
    idempotency_key: str | None = None
    max_bytes: int = MAX_ANSWER_BYTES
    """How many bytes the answer may have."""
    may_be_list: bool = False
    """Whether the answer may be a list."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A node redirects nowhere, and a token must not follow whoever does."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


class _Unreadable(NodeError):
    """An answer has arrived, and cannot be read."""


class Connection:
    """Sends requests to one node."""

    def __init__(self, address: str, token: Token, timeout: float, attempts: int, tls: ssl.SSLContext | None) -> None:
        try:
            parts = urllib.parse.urlsplit(address)
            host, _ = parts.hostname, parts.port
        except ValueError:
            # Its text may quote the address, which may have a password.
            raise InvalidRequest("the address of the node is not a URL: http://127.0.0.1:8001 is one") from None
        if parts.scheme not in ("http", "https") or not host:
            raise InvalidRequest("the address of the node begins with http:// or https://, and names a host")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise InvalidRequest("the address of the node has no user, query or fragment: a token is an argument of its own")
        if timeout <= 0 or attempts < 1:
            raise InvalidRequest("the timeout of a client is above 0, and it has 1 attempt at least")
        self._base = address.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._attempts = attempts
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects(), urllib.request.HTTPSHandler(context=tls)]
        if _is_loopback(host):
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def send(self, request: Request) -> Json:
        """The answer, a JSON object. Once an attempt of a write was not answered, only an answer that
        has looked for its key says what has become of it."""
        answer: Json = self.send_any(request)
        return answer

    def send_any(self, request: Request) -> Any:
        """The answer, which may be a list where the request says so."""
        attempt = 0
        is_open = False
        while True:
            attempt += 1
            retry_after = 0.0
            try:
                return self._try(request)
            except Problem as problem:
                is_open = is_open or (request.idempotency_key is not None and problem.is_of_proxy())
                if attempt >= self._attempts or not problem.may_pass():
                    if is_open and not problem.knows_key():
                        raise self._unanswered(request, attempt, problem) from problem
                    raise
                retry_after = problem.retry_after
            except (OSError, http.client.HTTPException, _Unreadable) as error:
                if isinstance(error, _Unreadable) and request.idempotency_key is None:
                    raise
                is_open = request.idempotency_key is not None
                if attempt >= self._attempts:
                    raise self._unanswered(request, attempt, error) from error
            except NodeError as error:
                if is_open:
                    raise self._unanswered(request, attempt, error) from error
                raise
            pause(attempt, retry_after)

    def open(self, request: Request, kind: str, headers: Mapping[str, str], silence: float) -> IO[bytes]:
        """The body of an answer of a kind, which is read while it arrives. It breaks where nothing
        arrives for `silence` seconds."""
        token = self._read_token()
        message = self._message(request, token)
        message.add_header("Accept", kind)
        for name, value in headers.items():
            message.add_header(name, value)
        try:
            response = self._opener.open(message, timeout=silence)
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error, _read(error), token) from None
        if response.headers.get_content_type() != kind:
            response.close()
            raise NodeError(f"the node's answer is no {kind}: is this the address of a node?")
        body: IO[bytes] = response
        return body

    @staticmethod
    def _unanswered(request: Request, attempts: int, error: BaseException) -> Unanswered:
        return Unanswered(request.method, attempts, request.idempotency_key, why(error))

    def _try(self, request: Request) -> Any:
        token = self._read_token()
        message = self._message(request, token)
        try:
            with self._opener.open(message, timeout=self._timeout) as response:
                body = _read(response, request.max_bytes)
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error, _read(error), token) from None
        try:
            answer = json.loads(body)
        except ValueError as error:
            raise _Unreadable(f"the node's answer cannot be read: {error}") from None
        if not isinstance(answer, dict) and not request.may_be_list:
            raise _Unreadable("the node's answer is no JSON object: is this the address of a node?")
        return answer

    def _message(self, request: Request, token: str | None) -> urllib.request.Request:
        query = f"?{urllib.parse.urlencode(request.query)}" if request.query else ""
        message = urllib.request.Request(f"{self._base}{request.path}{query}", request.body, method=request.method)
        message.add_header("Accept", "application/json")
        if request.body is not None:
            message.add_header("Content-Type", "application/json")
        if request.clock is not None:
            message.add_header("If-Match", f'"{request.clock}"')
        if request.idempotency_key is not None:
            message.add_header("Idempotency-Key", request.idempotency_key)
        if token is not None:
            message.add_unredirected_header("Authorization", f"Bearer {token}")
        return message

    def _read_token(self) -> str | None:
        token = self._token() if callable(self._token) else self._token
        if token is not None and (not token or any(not "!" <= char <= "~" for char in token)):
            raise InvalidRequest("the token is empty, or has a character that HTTP does not allow in it: look for a line end")
        return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(response: IO[bytes], limit: int = MAX_ANSWER_BYTES) -> bytes:
    body = response.read(limit + 1)
    if len(body) > limit:
        raise _Unreadable(f"the node's answer has more than {limit} bytes")
    return body


def pause(attempt: int, retry_after: float) -> None:
    """Waits before the next attempt: twice as long each time, a part of it at random, or as long as the
    node asks for, up to a limit."""
    wait = min(FIRST_PAUSE * 2 ** min(attempt - 1, 16), MAX_PAUSE) * random.uniform(0.5, 1)
    sleep(max(wait, min(retry_after, MAX_PAUSE)))


def why(error: BaseException) -> str:
    """What an error of the connection says."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__


def _problem(answer: urllib.error.HTTPError, body: bytes, token: str | None) -> Problem:
    """Reads a problem document. Of another body nothing is shown, and the token not even if the
    answer quotes it."""
    document: Any = None
    if answer.headers.get_content_type() == "application/problem+json":
        try:
            document = json.loads(body)
        except ValueError:
            document = None
    if not isinstance(document, dict):
        document = {}

    def text(name: str) -> str:
        said = str(document.get(name, ""))
        return said if token is None else said.replace(token, "(the token)")

    try:
        memory = Memory.of(document)
    except KeyError:
        memory = None
    problem = KINDS.get(answer.code, Problem)(answer.code, text("code"), text("title"), text("detail"), memory)
    seconds = answer.headers.get("Retry-After", "")
    if seconds.isdecimal():
        problem.retry_after = float(seconds)
    return problem
