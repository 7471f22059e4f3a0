"""The stream of changes: Server-Sent Events (WHATWG HTML) over a connection that comes back."""

import http.client
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from ._errors import InvalidRequest, NodeError, Problem
from ._http import MAX_ANSWER_BYTES, Connection, Request, pause, why
from ._model import Json, Memory

# Three times the seconds after which the node writes a comment where nothing else is to be written.
SILENCE = 30.0
KIND = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Opened:
    """The stream begins."""

    last_event_id: str
    resumed: bool
    """Whether it goes on behind the last event, and nothing is missing."""


@dataclass(frozen=True, slots=True)
class Changed:
    """A memory has changed; it may be a deleted or merged one, as its status says."""

    last_event_id: str
    memory: Memory
    """What a read would have answered. The client does not take it for read: a write of this `Memory`
    carries its clock token."""


@dataclass(frozen=True, slots=True)
class Left:
    """A memory is no longer among those that the stream asks for."""

    last_event_id: str
    memory_id: str


@dataclass(frozen=True, slots=True)
class Reset:
    """Changes are missing: list the memories anew. The stream goes on from now."""

    last_event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The connection was lost, or could not be made. The stream is opened again after a pause, and goes
    on behind the last event."""

    last_event_id: str | None
    error: NodeError
    """What has happened; a `Problem` where the node has answered with one that may pass."""


Change = Opened | Changed | Left | Reset | Interrupted


def follow(connection: Connection, query: Mapping[str, str | int | float], last_event_id: str | None) -> Generator[Change, None, None]:
    """The changes, over connections that are made again while they are asked for."""
    last = last_event_id
    if last is not None and any(not " " <= char <= "~" for char in last):
        raise InvalidRequest("the id of the last event is none that a node has sent")
    return _follow(connection, Request("GET", "/v1/events", query), last)


def _follow(connection: Connection, request: Request, last: str | None) -> Generator[Change, None, None]:
    failures = 0
    while True:
        retry_after = 0.0
        try:
            with connection.open(request, KIND, {"Last-Event-ID": last} if last else {}, SILENCE) as body:
                for name, event_id, data in _events(body):
                    last = event_id or last
                    change = _change(name, last or "", data)
                    if change is not None:
                        failures = 0
                        yield change
            error = NodeError("the stream has ended")
        except Problem as problem:
            if not problem.may_pass():
                raise
            error, retry_after = problem, problem.retry_after
        except (OSError, http.client.HTTPException) as broken:
            error = NodeError(f"the stream has broken: {why(broken)}")
        failures += 1
        yield Interrupted(last, error)
        pause(failures, retry_after)


def _events(body: IO[bytes]) -> Iterator[tuple[str, str, str]]:
    """Name, id and data of each event. One that is cut off counts for nothing."""
    name, event_id, data, size = "", "", list[str](), 0
    while True:
        line = body.readline(MAX_ANSWER_BYTES - size + 1)
        size += len(line)
        if size > MAX_ANSWER_BYTES:
            raise NodeError(f"an event of the node has more than {MAX_ANSWER_BYTES} bytes")
        if not line.endswith(b"\n"):
            return
        try:
            text = line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            raise NodeError(f"an event of the node cannot be read: {error}") from None
        if not text:
            yield name, event_id, "\n".join(data)
            name, event_id, data, size = "", "", [], 0
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "id":
                event_id = value
            case "data":
                data.append(value)


def _change(name: str, last: str, data: str) -> Change | None:
    """Reads an event. `None` where it has no data, or is of a kind that this client does not know."""
    if name not in ("opened", "memory", "left", "reset"):
        return None
    try:
        answer: Json = json.loads(data)
        match name:
            case "opened":
                return Opened(last, bool(answer["resumed"]))
            case "memory":
                return Changed(last, Memory.of(answer))
            case "left":
                return Left(last, str(answer["memory_id"]))
            case _:
                return Reset(last, str(answer["reason"]))
    except (KeyError, TypeError, ValueError) as error:
        raise NodeError(f"an event of the node cannot be read: {error!r}") from None
