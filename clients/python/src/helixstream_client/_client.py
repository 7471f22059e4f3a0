"""The calls of a node."""

import json
import os
import ssl
import threading
import urllib.parse
import uuid
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, TypeVar, Unpack

from ._errors import InvalidRequest, NodeError
from ._history import History
from ._http import MAX_SNAPSHOT_BYTES, Connection, Request, Token
from ._model import Event, Fields, Hits, Json, Memory, OwnEvent, OwnEvents, Page, Parts, Written
from ._nodes import Nodes, Restored, Status, SyncRequest
from ._stream import Change, follow

# The clock tokens that a client keeps, of 50 bytes and more for each node that wrote the memory.
MAX_SEEN = 10_000

T = TypeVar("T")

Query = dict[str, str | int | float]


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
        """Lets a memory absorb others. What the write has seen of each of them is as for `update`."""
        seen = ((_id(other), self._clock_of(other)) for other in absorbed if _id(other) != _id(memory))
        clocks = {memory_id: clock for memory_id, clock in seen if clock is not None}
        body: Json = {"merged_from": [_id(other) for other in absorbed], "clocks": clocks}
        written = self._write_memory("POST", memory, "/merge", idempotency_key, body)
        with self._lock:
            for memory_id in clocks:
                self._seen.pop(memory_id, None)
        return written

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
        inactive = "true" if include_inactive else None
        query = _given(limit=limit, user_id=user_id, session_id=session_id, cursor=cursor, include_inactive=inactive)
        return self._page("/v1/memories", query)

    def list(
        self, *, user_id: str | None = None, session_id: str | None = None, include_inactive: bool = False
    ) -> Iterator[Memory]:
        """All memories of a list, page by page while they are asked for."""
        inactive = "true" if include_inactive else None
        return self._pages("/v1/memories", _given(user_id=user_id, session_id=session_id, include_inactive=inactive))

    def conflicts(self, *, user_id: str | None = None, session_id: str | None = None) -> Iterator[Memory]:
        """The active memories with a field in conflict, which `conflicted_fields` names. An `update` of
        such a memory decides the fields that it writes."""
        return self._pages("/v1/conflicts", _given(user_id=user_id, session_id=session_id))

    def search(
        self,
        words: str | None = None,
        *,
        embedding: Sequence[float] | None = None,
        weight: float | None = None,
        user_id: str | None = None,
        session_id: str | None = None,
        type: str | None = None,
        category: str | None = None,
        created_from: str | None = None,
        created_to: str | None = None,
        top_k: int = 10,
        min_score: float | None = None,
    ) -> Hits:
        """Searches for memories, the best first: at most 100.

        By words these have at least one of them (BM25). By an `embedding` the score is the cosine of
        the angle between the two, and the token needs the right `act` beside `read`. With both,
        `weight` is how much the embedding counts, from 0 to 1. `type` and `category` are HelixAgent's;
        times are in RFC 3339.
        """
        query = _given(
            query=words,
            user_id=user_id,
            session_id=session_id,
            type=type,
            category=category,
            created_from=created_from,
            created_to=created_to,
            top_k=top_k,
            min_score=min_score,
        )
        if embedding is None:
            answer = self._get("/v1/memories/search", query | _given(weight=weight))
        else:
            body: Json = {"embedding": list(embedding)} | query | _given(weight=weight)
            answer = self._connection.send(Request("POST", "/v1/memories/search", {}, _encode(body)))
        hits = _list(answer, "hits")
        return Hits(
            memories=[self._shown(hit) for hit in hits],
            scores=[float(hit["score"]) for hit in hits],
            truncated=bool(answer.get("truncated")),
            compared=int(answer.get("compared", 0)),
            skipped=int(answer.get("skipped", 0)),
        )

    def entities(self, memory: Memory | str) -> Parts:
        """The entities of a memory."""
        return self._parts(memory, "entities")

    def relationships(self, memory: Memory | str) -> Parts:
        """The relationships of a memory."""
        return self._parts(memory, "relationships")

    def put_entity(
        self, memory: Memory | str, entity_id: str, members: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Written:
        """Creates or replaces an entity of a memory. What the write has seen is as for `update`. Events
        cannot clear an entity, so there is no delete."""
        return self._write_part("PUT", memory, "entities", entity_id, idempotency_key, dict(members))

    def put_relationship(
        self, memory: Memory | str, relationship_id: str, members: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> Written:
        """Creates or replaces a relationship of a memory. What the write has seen is as for `update`."""
        return self._write_part("PUT", memory, "relationships", relationship_id, idempotency_key, dict(members))

    def delete_relationship(
        self, memory: Memory | str, relationship_id: str, *, idempotency_key: str | None = None
    ) -> Written:
        """Clears a relationship of a memory. What the write has seen is as for `update`. To clear one
        that is not there is a write as well."""
        return self._write_part("DELETE", memory, "relationships", relationship_id, idempotency_key, None)

    def follow(
        self, *, user_id: str | None = None, session_id: str | None = None, last_event_id: str | None = None
    ) -> Generator[Change, None, None]:
        """Each change of a memory, in the order in which the node makes them.

        After an `Interrupted` the stream comes back by itself while it is iterated, behind the last
        event: no change is missing where no `Reset` says so. A `Problem` that will not pass, such as
        `Unauthorized`, ends it. `last_event_id` is that of the last change that the caller has dealt
        with. To begin, wait for `Opened`, and then list the memories.
        """
        return follow(self._connection, _given(user_id=user_id, session_id=session_id), last_event_id)

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

    def history(self, memory: Memory | str, *, limit: int = 50, cursor: str | None = None) -> History:
        """How a memory has become what it is: a page of at most 100 states."""
        return _read(History.of, self._get(f"{_path(_id(memory))}/history", _given(limit=limit, cursor=cursor)))

    def snapshot(self, user_id: str) -> Json | Sequence[Json]:
        """Takes a snapshot of a user, as `restore` takes it: one, or a list of its parts. Writes of the
        node that are not resolved yet are not in it."""
        path = f"/v1/users/{_segment(user_id)}/snapshot"
        answer = self._connection.send_any(Request("GET", path, {}, max_bytes=MAX_SNAPSHOT_BYTES, may_be_list=True))
        if isinstance(answer, dict):
            return answer
        return _list({"parts": answer}, "parts")

    def status(self) -> Status:
        """The state of the node."""
        return _read(Status.of, self._get("/v1/sync/status", {}))

    def nodes(self) -> Nodes:
        """All nodes. A token that is bound to users does not see them: `Forbidden`."""
        return _read(Nodes.of, self._get("/v1/nodes", {}))

    def force_sync(self, user_id: str | None = None) -> SyncRequest:
        """Asks the stream for the memories of a user, or of all, once more. For 10 seconds after such a
        request the node refuses the next one with 429."""
        return _read(SyncRequest.of, self._connection.send(Request("POST", "/v1/sync/force", _given(user_id=user_id))))

    def restore(self, snapshot: Json | Sequence[Json]) -> Restored:
        """Brings a user snapshot back: the snapshot, or all of its parts. What the node has as new or
        newer stays. A token that is bound to users restores none."""
        return _read(Restored.of, self._connection.send(Request("POST", "/v1/restore", {}, _encode(snapshot))))

    def openapi(self) -> Json:
        """The node's OpenAPI document."""
        return self._get("/v1/openapi.json", {})

    def _get(self, path: str, query: Query) -> Json:
        return self._connection.send(Request("GET", path, query))

    def _page(self, path: str, query: Query) -> Page:
        answer = self._get(path, query)
        following = answer.get("next")
        return Page([self._shown(one) for one in _list(answer, "memories")], None if following is None else str(following))

    def _pages(self, path: str, query: Query) -> Iterator[Memory]:
        page = self._page(path, query | {"limit": 200})
        yield from page.memories
        while page.next is not None:
            page = self._page(path, query | {"limit": 200, "cursor": page.next})
            yield from page.memories

    def _parts(self, memory: Memory | str, field: str) -> Parts:
        answer = self._get(f"{_path(_id(memory))}/{field}", {})
        return Parts(str(answer.get("clock", "")), bool(answer.get("pending")), list(_list(answer, field)))

    def _write_part(
        self, method: str, memory: Memory | str, field: str, part_id: str, idempotency_key: str | None, body: Json | None
    ) -> Written:
        return self._write_memory(method, memory, f"/{field}/{_segment(part_id)}", idempotency_key, body)

    def _write_memory(
        self, method: str, memory: Memory | str, action: str, idempotency_key: str | None, body: Json | None
    ) -> Written:
        return self._write(method, _path(_id(memory)) + action, self._clock_of(memory), idempotency_key, body)

    def _clock_of(self, memory: Memory | str) -> str | None:
        """The token of what a caller has seen of a memory, or this client was last shown of it."""
        if isinstance(memory, Memory):
            return memory.clock
        with self._lock:
            return self._seen.get(memory)

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


def _given(**values: str | int | float | None) -> Query:
    """The values that are there."""
    return {name: value for name, value in values.items() if value is not None}


def _path(memory_id: str) -> str:
    """The path of a memory. The route of the search has the name of a possible id."""
    return "/v1/memories/%73earch" if memory_id == "search" else f"/v1/memories/{_segment(memory_id)}"


def _segment(part_id: str) -> str:
    """An id as a part of a path."""
    if part_id in ("", ".", ".."):
        raise InvalidRequest(f"the id {part_id!r} cannot be part of a URL's path")
    try:
        return urllib.parse.quote(part_id, safe="")
    except UnicodeEncodeError:
        raise InvalidRequest(f"the id {part_id!r} is no text") from None


def _encode(body: Json | Sequence[Json]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        # UnicodeEncodeError is a ValueError.
        raise InvalidRequest(f"a field cannot be written as JSON: {error}") from None
