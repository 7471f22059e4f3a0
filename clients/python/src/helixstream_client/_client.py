"""The calls of a node."""

import json
import os
import ssl
import threading
import urllib.parse
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, Unpack

from ._errors import InvalidRequest, NodeError
from ._http import Connection, Request, Token
from ._model import Event, Fields, Hits, Json, Memory, OwnEvent, OwnEvents, Page, Written

# The clock tokens that a client keeps, of 50 bytes and more for each node that wrote the memory.
MAX_SEEN = 10_000

T = TypeVar("T")


class Client:
    """Calls a node. Several threads may use it at a time.

    `token` is a bearer token, or a function that is called for each attempt of a request.
    `timeout` is how many seconds an attempt waits for the next bytes. A request that is not
    answered, or is answered with 429, 502, 503 or 504, is tried `attempts` times. With
    `wait_for_kafka` a write waits until Kafka has committed its event, for 10 seconds at most; one
    for which that takes longer is accepted all the same, with an event in the state `pending`.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8001",
        *,
        token: Token = None,
        timeout: float = 30.0,
        attempts: int = 4,
        wait_for_kafka: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connection = Connection(address, token, timeout, attempts, tls)
        self._wait_for_kafka = wait_for_kafka
        self._seen: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def token_from_env(name: str) -> Callable[[], str]:
        """A function that reads the token from an environment variable, again for each request."""

        def read() -> str:
            token = os.environ.get(name, "")
            if not token:
                raise InvalidRequest(f"the environment variable {name} has no token: set it to a token of the node")
            return token

        return read

    def create(
        self, *, memory_id: str | None = None, idempotency_key: str | None = None, **fields: Unpack[Fields]
    ) -> Written:
        """Makes a memory. The node draws an id where there is none. A memory that is there already is
        a `Conflict`."""
        body: Json = dict(fields)
        if memory_id is not None:
            body["memory_id"] = memory_id
        return self._write("POST", "/v1/memories", None, idempotency_key, body)

    def read(self, memory: Memory | str) -> Memory:
        """Reads a memory. One that is unknown, deleted or merged is `NotFound`."""
        return self._shown(self._get(_path(_id(memory)), {}))

    def update(
        self, memory: Memory | str, *, idempotency_key: str | None = None, **fields: Unpack[Fields]
    ) -> Written:
        """Writes fields of a memory, and no others.

        The write of a `Memory` has seen this memory. That of an id has seen what this client was
        last shown of it, or, where that is nothing, what the node shows. `Conflict` says that this
        was not the latest write of the node.
        """
        return self._write_memory("PATCH", memory, "", idempotency_key, dict(fields))

    def replace(
        self, memory: Memory | str, *, idempotency_key: str | None = None, **fields: Unpack[Fields]
    ) -> Written:
        """Creates or replaces a memory: content, embedding, importance, session, tags and metadata
        that are absent are cleared. What the write has seen is as for `update`."""
        return self._write_memory("PUT", memory, "", idempotency_key, dict(fields))

    def merge(
        self,
        memory: Memory | str,
        absorbed: Sequence[Memory | str],
        *,
        idempotency_key: str | None = None,
    ) -> Written:
        """Lets a memory absorb others. What the write has seen is as for `update`."""
        body: Json = {"merged_from": [_id(other) for other in absorbed]}
        return self._write_memory("POST", memory, "/merge", idempotency_key, body)

    def delete(self, memory: Memory | str, *, idempotency_key: str | None = None) -> Written:
        """Deletes a memory. What the write has seen is as for `update`."""
        written = self._write_memory("DELETE", memory, "", idempotency_key, None)
        with self._lock:
            self._seen.pop(_id(memory), None)
        return written

    def page(
        self,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
        include_inactive: bool = False,
    ) -> Page:
        """One page of a list of at most 200 memories. It may have fewer than `limit`."""
        query: dict[str, str | int | float] = {"limit": limit}
        for name, value in (("user_id", user_id), ("session_id", session_id), ("cursor", cursor)):
            if value is not None:
                query[name] = value
        if include_inactive:
            query["include_inactive"] = "true"
        answer = self._get("/v1/memories", query)
        following = answer.get("next")
        return Page([self._shown(one) for one in _list(answer, "memories")], None if following is None else str(following))

    def list(
        self, *, user_id: str | None = None, session_id: str | None = None, include_inactive: bool = False
    ) -> Iterator[Memory]:
        """All memories of a list, page by page while they are asked for."""
        cursor = None
        while True:
            page = self.page(
                user_id=user_id, session_id=session_id, limit=200, cursor=cursor, include_inactive=include_inactive
            )
            yield from page.memories
            cursor = page.next
            if cursor is None:
                return

    def search(
        self,
        words: str,
        *,
        user_id: str | None = None,
        session_id: str | None = None,
        top_k: int = 10,
        min_score: float | None = None,
    ) -> Hits:
        """Memories that have at least one of the words, the best first: at most 100."""
        query: dict[str, str | int | float] = {"query": words, "top_k": top_k}
        for name, value in (("user_id", user_id), ("session_id", session_id), ("min_score", min_score)):
            if value is not None:
                query[name] = value
        answer = self._get("/v1/memories/search", query)
        hits = _list(answer, "hits")
        memories = [self._shown(hit) for hit in hits]
        return Hits(memories, [float(hit["score"]) for hit in hits], bool(answer.get("truncated")))

    def events(self, memory: Memory | str) -> OwnEvents:
        """This node's own events to a memory: whether they are published and resolved, or have failed
        and why."""
        answer = self._get(f"{_path(_id(memory))}/events", {})
        events = [
            OwnEvent(
                event=_read(Event.of, event),
                event_type=str(event.get("event_type", "")),
                fields=[str(field) for field in event.get("fields", [])],
                resolved=bool(event.get("resolved")),
                reason=event.get("reason"),
            )
            for event in _list(answer, "events")
        ]
        return OwnEvents(events, bool(answer.get("truncated")))

    def status(self) -> Json:
        """The state of the node (`Status` of the node's OpenAPI document)."""
        return self._get("/v1/sync/status", {})

    def force_sync(self, user_id: str | None = None) -> Json:
        """Asks the stream for the memories of a user, or of all, once more (`SyncRequested` of the
        node's OpenAPI document)."""
        query: dict[str, str | int | float] = {} if user_id is None else {"user_id": user_id}
        return self._connection.send(Request("POST", "/v1/sync/force", query))

    def restore(self, snapshot: Json | Sequence[Json]) -> Json:
        """Brings a user snapshot back: the snapshot, or all of its parts (`Restored` of the node's
        OpenAPI document). What the node has as new or newer stays. A token that is bound to users
        restores none."""
        return self._connection.send(Request("POST", "/v1/restore", {}, _encode(snapshot)))

    def openapi(self) -> Json:
        """The node's OpenAPI document."""
        return self._get("/v1/openapi.json", {})

    def _get(self, path: str, query: dict[str, str | int | float]) -> Json:
        return self._connection.send(Request("GET", path, query))

    def _write_memory(
        self, method: str, memory: Memory | str, action: str, idempotency_key: str | None, body: Json | None
    ) -> Written:
        if isinstance(memory, Memory):
            clock: str | None = memory.clock
        else:
            with self._lock:
                clock = self._seen.get(memory)
        return self._write(method, _path(_id(memory)) + action, clock, idempotency_key, body)

    def _write(
        self, method: str, path: str, clock: str | None, idempotency_key: str | None, body: Json | None
    ) -> Written:
        if idempotency_key is None:
            idempotency_key = uuid.uuid4().hex
        if not 1 <= len(idempotency_key) <= 190 or any(not " " <= char <= "~" for char in idempotency_key):
            raise InvalidRequest("an idempotency key has 1 to 190 characters of printable ASCII")
        answer = self._connection.send(
            Request(
                method=method,
                path=path,
                query={"ack": "kafka"} if self._wait_for_kafka else {},
                body=None if body is None else _encode(body),
                clock=clock,
                idempotency_key=idempotency_key,
            )
        )
        memory = self._shown(answer)
        event = _read(Event.of, answer.get("event", {}))
        return Written(memory, event, bool(answer.get("assumed")), bool(answer.get("repeated")))

    def _shown(self, answer: Json) -> Memory:
        """Notes what the node has shown of a memory."""
        memory = _read(Memory.of, answer)
        with self._lock:
            self._seen[memory.id] = memory.clock
            self._seen.move_to_end(memory.id)
            while len(self._seen) > MAX_SEEN:
                self._seen.popitem(last=False)
        return memory


def _read(read: Callable[[Json], T], answer: Json) -> T:
    try:
        return read(answer)
    except (KeyError, TypeError, ValueError) as error:
        raise NodeError(f"the node's answer cannot be read: {error!r}; is this the address of a node?") from None


def _list(answer: Json, name: str) -> Sequence[Json]:
    items = answer.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise NodeError(f"the node's answer has no list {name!r}: is this the address of a node?")
    return items


def _id(memory: Memory | str) -> str:
    return memory.id if isinstance(memory, Memory) else memory


def _path(memory_id: str) -> str:
    """The path of a memory. The route of the search has the name of a possible id."""
    if memory_id in ("", ".", ".."):
        raise InvalidRequest(f"the id {memory_id!r} cannot be part of a URL's path")
    if memory_id == "search":
        return "/v1/memories/%73earch"
    try:
        return f"/v1/memories/{urllib.parse.quote(memory_id, safe='')}"
    except UnicodeEncodeError:
        raise InvalidRequest(f"the id {memory_id!r} is no text") from None


def _encode(body: Json | Sequence[Json]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        # UnicodeEncodeError is a ValueError.
        raise InvalidRequest(f"a field cannot be written as JSON: {error}") from None
