"""A client of the HTTP interface of a helixstream node (docs/node.md).

    from helixstream_client import Client

    client = Client("http://127.0.0.1:8001")
    memory = client.create(user_id="u-17", content="likes green tea").memory
    client.update(memory, content="likes black tea")

The node says with each memory what its reader has seen by that: the clock token. A write of a
`Memory` carries the token of this memory, and a write of an id the token of what the client was
last shown of it. Each write has an idempotency key, so that it can be repeated until it is
answered, and is accepted once.
"""

from ._client import Client
from ._errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NodeError,
    NotFound,
    Problem,
    Unanswered,
    Unauthorized,
)
from ._history import FieldChange, History, PastEvent, State
from ._model import Event, Fields, Hits, Memory, OwnEvent, OwnEvents, Page, Parts, Written
from ._nodes import FormerNode, NodeRecord, Nodes, Outbox, Peer, Position, Restored, Status, SyncRequest
from ._stream import Change, Changed, Interrupted, Left, Opened, Reset

__all__ = [
    "Change",
    "Changed",
    "Client",
    "Conflict",
    "Event",
    "FieldChange",
    "Fields",
    "Forbidden",
    "FormerNode",
    "History",
    "Hits",
    "Interrupted",
    "InvalidRequest",
    "Left",
    "Memory",
    "NodeError",
    "NodeRecord",
    "Nodes",
    "NotFound",
    "Opened",
    "Outbox",
    "OwnEvent",
    "OwnEvents",
    "Page",
    "Parts",
    "PastEvent",
    "Peer",
    "Position",
    "Problem",
    "Reset",
    "Restored",
    "State",
    "Status",
    "SyncRequest",
    "Unanswered",
    "Unauthorized",
    "Written",
]
