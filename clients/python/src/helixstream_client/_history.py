"""How a memory has become what it is. Times are in RFC 3339."""

from dataclasses import dataclass
from typing import Any

from ._model import Event, Json


def _text(answer: Json, name: str) -> str | None:
    text = answer.get(name)
    return None if text is None else str(text)


def _number(answer: Json, name: str) -> int | None:
    number = answer.get(name)
    return None if number is None else int(number)


def _texts(answer: Json, name: str) -> list[str] | None:
    texts = answer.get(name)
    return None if texts is None else [str(text) for text in texts]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field of a state that differs from the state before."""

    path: str
    value: Any
    """The value; `None` where it was removed, or is not kept."""
    removed: bool
    """Whether the memory has the field no longer."""
    bytes: int | None
    """The size of a value that is not kept."""

    @staticmethod
    def of(answer: Json) -> "FieldChange":
        """Reads a field of an answer."""
        return FieldChange(str(answer["path"]), answer.get("value"), bool(answer.get("removed")), _number(answer, "bytes"))


@dataclass(frozen=True, slots=True)
class State:
    """A resolved state of a memory."""

    number: int
    """The states of a memory are counted from 1."""
    applied_at: str
    source: str
    """`stream`, or `restore` where a client has restored it."""
    status: str
    version: int
    conflicted_fields: list[str]
    changed: list[FieldChange]
    """The fields that differ from the state before."""
    event_ids: list[str]
    """The events of which none has seen another one."""
    entered: list[str] | None
    """Those of them that the state before does not have; `None` where that is not known."""
    superseded: list[str] | None
    """Those of the state before that are gone; `None` where that is not known."""
    follows: bool | None
    """Whether it holds all events of the state before; `None` where that is not known."""
    raw: Json
    """The state as the node has sent it."""

    @staticmethod
    def of(answer: Json) -> "State":
        """Reads a state of an answer."""
        follows = answer.get("follows")
        return State(
            number=int(answer["number"]),
            applied_at=str(answer["applied_at"]),
            source=str(answer["source"]),
            status=str(answer["status"]),
            version=int(answer["version"]),
            conflicted_fields=[str(field) for field in answer["conflicted_fields"]],
            changed=[FieldChange.of(change) for change in answer["changed"]],
            event_ids=[str(event) for event in answer["event_ids"]],
            entered=_texts(answer, "entered"),
            superseded=_texts(answer, "superseded"),
            follows=None if follows is None else bool(follows),
            raw=answer,
        )


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event of the node to a memory, and its place in the order of events."""

    event: Event
    event_type: str
    fields: list[str]
    """The names of the fields that it writes."""
    supersedes: list[str]
    """The own events before it that it supersedes directly."""
    seen_state: int | None
    """The number of the last state that it has seen."""
    in_state: int | None
    """The number of the first state that lists it."""
    reason: str | None
    """Why it has failed."""

    @staticmethod
    def of(answer: Json) -> "PastEvent":
        """Reads an event of an answer."""
        return PastEvent(
            event=Event.of(answer),
            event_type=str(answer["event_type"]),
            fields=[str(field) for field in answer["fields"]],
            supersedes=[str(event) for event in answer["supersedes"]],
            seen_state=_number(answer, "seen_state"),
            in_state=_number(answer, "in_state"),
            reason=_text(answer, "reason"),
        )


@dataclass(frozen=True, slots=True)
class History:
    """A page of how a memory has become what it is (docs/node.md, "History")."""

    memory_id: str
    states: list[State]
    """The resolved states that the node has applied, the latest first."""
    events: list[PastEvent]
    """The node's last own events to the memory, the oldest first; on the first page alone."""
    next: str | None
    """The cursor of the next page, of earlier states."""
    complete: bool
    """Whether the node still keeps the first state that it has applied."""
    truncated: bool
    """Whether there are earlier own events, which are left out."""

    @staticmethod
    def of(answer: Json) -> "History":
        """Reads an answer."""
        return History(
            memory_id=str(answer["memory_id"]),
            states=[State.of(state) for state in answer["states"]],
            events=[PastEvent.of(event) for event in answer["events"]],
            next=_text(answer, "next"),
            complete=bool(answer["complete"]),
            truncated=bool(answer["truncated"]),
        )
