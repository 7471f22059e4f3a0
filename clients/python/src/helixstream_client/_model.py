"""What a node answers with, and what a write sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

Json = dict[str, Any]


class Fields(TypedDict, total=False):
    """The fields that a write sets. A field that is absent is not written, and `None` clears one."""

    user_id: str | None
    session_id: str | None
    content: str | None
    embedding: Sequence[float] | None
    importance: float | None
    tags: Sequence[str] | None
    entities: Sequence[Mapping[str, Any]] | None
    relationships: Sequence[Mapping[str, Any]] | None
    metadata: Mapping[str, Any] | None
    merged_from: Sequence[str] | None
    expires_at: str | None
    """When the memory expires, in RFC 3339."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory as the node shows it. Times are in RFC 3339, with nanoseconds."""

    clock: str
    """The clock token: what the reader of this has seen."""
    pending: bool
    """Whether a write of this node lies over it that the stream has not resolved yet."""
    raw: Json
    """The resolved memory as the node has sent it."""

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.raw["memory_id"])

    @property
    def user_id(self) -> str | None:
        """Whose memory it is."""
        return self._text("user_id")

    @property
    def session_id(self) -> str | None:
        """The session in which it was made."""
        return self._text("session_id")

    @property
    def content(self) -> str | None:
        """The text."""
        return self._text("content")

    @property
    def embedding(self) -> list[float]:
        """The embedding of the text; empty where it has none."""
        return [float(number) for number in self.raw.get("embedding", [])]

    @property
    def importance(self) -> float | None:
        """The importance."""
        importance = self.raw.get("importance")
        return None if importance is None else float(importance)

    @property
    def tags(self) -> list[str]:
        """The tags."""
        return list(self.raw.get("tags", []))

    @property
    def entities(self) -> list[Json]:
        """The entities."""
        return list(self.raw.get("entities", []))

    @property
    def relationships(self) -> list[Json]:
        """The relationships."""
        return list(self.raw.get("relationships", []))

    @property
    def metadata(self) -> Json:
        """The metadata."""
        return dict(self.raw.get("metadata", {}))

    @property
    def status(self) -> str:
        """`active`, `deleted` or `merged`."""
        return str(self.raw["status"])

    @property
    def merged_into(self) -> str | None:
        """The id of the memory that has absorbed it."""
        return self._text("merged_into")

    @property
    def created_at(self) -> str:
        """The time of its first event."""
        return str(self.raw["created_at"])

    @property
    def updated_at(self) -> str:
        """The time of its last event."""
        return str(self.raw["updated_at"])

    @property
    def expires_at(self) -> str | None:
        """When it expires."""
        time = self.metadata.get("helixagent.expires_at")
        return None if time is None else str(time)

    @property
    def version(self) -> int:
        """Its version."""
        return int(self.raw["version"])

    @property
    def vector_clock(self) -> dict[str, int]:
        """The writers that it has seen, and the greatest counter of each."""
        return dict(self.raw["vector_clock"])

    @property
    def conflicted_fields(self) -> list[str]:
        """The fields in conflict."""
        return list(self.raw.get("conflicted_fields", []))

    def _text(self, name: str) -> str | None:
        text = self.raw.get(name)
        return None if text is None else str(text)

    @staticmethod
    def of(answer: Json) -> "Memory":
        """Reads an answer about a memory."""
        raw = answer["memory"]
        if not isinstance(raw, dict) or not raw.get("memory_id"):
            raise KeyError("memory_id")
        return Memory(clock=str(answer["clock"]), pending=bool(answer["pending"]), raw=raw)


@dataclass(frozen=True, slots=True)
class Event:
    """What a write has become."""

    event_id: str
    node_id: str
    counter: int
    version: int
    timestamp: str
    state: str
    """`pending` until Kafka has committed the event, then `published`, or `failed`."""

    @staticmethod
    def of(answer: Json) -> "Event":
        """Reads an event of an answer."""
        return Event(
            event_id=str(answer["event_id"]),
            node_id=str(answer["node_id"]),
            counter=int(answer["counter"]),
            version=int(answer["version"]),
            timestamp=str(answer["timestamp"]),
            state=str(answer["state"]),
        )


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write."""

    memory: Memory
    event: Event
    assumed: bool
    """Whether the write carried no clock token, so that the node assumed what its caller has seen."""
    repeated: bool
    """Whether the node had accepted the write before, under the same idempotency key."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, in the order of the ids."""

    memories: list[Memory]
    next: str | None
    """The cursor of the next page."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search has found, the best first."""

    memories: list[Memory]
    scores: list[float]
    """The score of each memory."""
    truncated: bool
    """Whether hits were left out because the answer would have become too large."""
    compared: int
    """How many embeddings were compared."""
    skipped: int
    """How many memories were not compared: their embeddings have another number of dimensions."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The entities or the relationships of a memory."""

    clock: str
    """The clock token of the memory."""
    pending: bool
    """Whether a write of this node lies over the memory that the stream has not resolved yet."""
    objects: list[Json]
    """The objects, by their ids."""


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """An event of the node to a memory, without the values of its fields."""

    event: Event
    event_type: str
    fields: list[str]
    """The names of the fields that it writes."""
    resolved: bool
    """Whether the resolved memory that the node has covers it."""
    reason: str | None
    """Why it has failed."""


@dataclass(frozen=True, slots=True)
class OwnEvents:
    """Events of the node to a memory, the oldest first."""

    events: list[OwnEvent]
    truncated: bool
    """Whether the later events were left out because the answer would have become too large."""
