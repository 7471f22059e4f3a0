"""The state of a node, and the other nodes. Times are in RFC 3339."""

from dataclasses import dataclass

from ._model import Json


def _text(answer: Json, name: str) -> str | None:
    text = answer.get(name)
    return None if text is None else str(text)


@dataclass(frozen=True, slots=True)
class Outbox:
    """The events of a node that wait for Kafka."""

    depth: int
    oldest: str | None
    """When the oldest one was accepted."""

    @staticmethod
    def of(answer: Json) -> "Outbox":
        """Reads an answer."""
        return Outbox(int(answer["depth"]), _text(answer, "oldest"))


@dataclass(frozen=True, slots=True)
class Peer:
    """Another node."""

    node_id: str
    """The writer of its events."""
    name: str
    """The operator's name for it."""
    status: str
    """`active`, `inactive`, `failed`, `stopped` or `replaced` (docs/node.md)."""
    last_heartbeat: str
    """The time of its last record."""

    @staticmethod
    def of(answer: Json) -> "Peer":
        """Reads a peer of an answer."""
        return Peer(str(answer["node_id"]), str(answer["name"]), str(answer["status"]), str(answer["last_heartbeat"]))


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """What the record of a node says."""

    node_id: str
    """The writer of its events."""
    name: str
    """The operator's name for it."""
    status: str
    """`active`, `inactive`, `failed`, `stopped` or `replaced` (docs/node.md)."""
    type: str
    """`primary`, `replica` or `worker`."""
    software_version: str
    capabilities: list[str]
    incarnation: str
    """Drawn anew where its folder was lost, copied or rolled back."""
    successor: str | None
    """The node that a replaced one goes on as."""
    counter: int
    """That of its last accepted event."""
    published: int
    """The counter of its last published event."""
    outbox: Outbox
    joined_at: str
    """The time of its first record."""
    last_heartbeat: str
    """The time of its last record."""

    @staticmethod
    def of(answer: Json) -> "NodeRecord":
        """Reads a node of an answer."""
        return NodeRecord(
            node_id=str(answer["node_id"]),
            name=str(answer["name"]),
            status=str(answer["status"]),
            type=str(answer["type"]),
            software_version=str(answer["software_version"]),
            capabilities=[str(one) for one in answer["capabilities"]],
            incarnation=str(answer["incarnation"]),
            successor=_text(answer, "successor"),
            counter=int(answer["clock"]["counter"]),
            published=int(answer["clock"]["published"]),
            outbox=Outbox.of(answer["outbox"]),
            joined_at=str(answer["joined_at"]),
            last_heartbeat=str(answer["last_heartbeat"]),
        )


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that have left records."""

    nodes: list[NodeRecord]
    complete: bool
    """Whether the node has read the topic of the records to its end."""
    truncated: bool
    """Whether nodes are left out, since the answer would have become too large."""
    unreadable: int
    """Records that the node cannot read and leaves out."""

    @staticmethod
    def of(answer: Json) -> "Nodes":
        """Reads an answer."""
        nodes = [NodeRecord.of(node) for node in answer["nodes"]]
        return Nodes(nodes, bool(answer["complete"]), bool(answer["truncated"]), int(answer["unreadable"]))


@dataclass(frozen=True, slots=True)
class Position:
    """How far a node has read a partition."""

    topic: str
    partition: int
    next_offset: int
    lag: int | None
    """How many offsets are left; `None` where Kafka has not said it yet."""

    @staticmethod
    def of(answer: Json) -> "Position":
        """Reads a position of an answer."""
        lag = answer.get("lag")
        offset = int(answer["next_offset"])
        return Position(str(answer["topic"]), int(answer["partition"]), offset, None if lag is None else int(lag))


@dataclass(frozen=True, slots=True)
class FormerNode:
    """An earlier incarnation of a node."""

    node_id: str
    ended_at: str
    published: int
    """The greatest counter that it has published."""
    reason: str

    @staticmethod
    def of(answer: Json) -> "FormerNode":
        """Reads an earlier incarnation of an answer."""
        return FormerNode(str(answer["node_id"]), str(answer["ended_at"]), int(answer["published"]), str(answer["reason"]))


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the node."""

    node_id: str
    """The writer of new events."""
    counter: int
    """That of the last accepted event."""
    published: int
    """The counter of the last event that Kafka has committed."""
    version: int
    """The greatest version that the node has seen or written."""
    outbox: Outbox
    sync_requests: int
    """Sync requests that wait for Kafka."""
    memories: int
    """Memories that the node holds, also deleted and merged ones."""
    pending: int
    """Memories with a write of this node that is not resolved yet."""
    conflicted: int
    """Memories with a field in conflict."""
    failed: int
    """Events that no other node will see."""
    dead_letters: int
    """Those of them that the stream could not process."""
    consumed: int
    """Records of resolved memories that were applied since the start."""
    positions: list[Position]
    former: list[FormerNode]
    peers: list[Peer]
    """The other nodes; a token that is bound to users sees none."""

    @staticmethod
    def of(answer: Json) -> "Status":
        """Reads an answer."""
        return Status(
            node_id=str(answer["node_id"]),
            counter=int(answer["counter"]),
            published=int(answer["published"]),
            version=int(answer["version"]),
            outbox=Outbox.of(answer["outbox"]),
            sync_requests=int(answer["sync_requests"]),
            memories=int(answer["memories"]),
            pending=int(answer["pending"]),
            conflicted=int(answer["conflicted"]),
            failed=int(answer["failed"]),
            dead_letters=int(answer["dead_letters"]),
            consumed=int(answer["consumed"]),
            positions=[Position.of(position) for position in answer["positions"]],
            former=[FormerNode.of(former) for former in answer["former"]],
            peers=[Peer.of(peer) for peer in answer.get("peers", [])],
        )


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What asks the stream for memories once more."""

    request_id: str
    timestamp: str
    user_id: str | None
    """Whose memories are asked for; `None` for all."""
    repeated: bool
    """Whether the same request waited already, and is enough."""

    @staticmethod
    def of(answer: Json) -> "SyncRequest":
        """Reads an answer."""
        user_id = _text(answer, "user_id")
        return SyncRequest(str(answer["request_id"]), str(answer["timestamp"]), user_id, bool(answer["repeated"]))


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of a restore."""

    user_id: str
    memories: int
    """Memories of the snapshot."""
    restored: int
    """Those that the node now shows as the snapshot has them."""
    not_subscribed: int
    """Those that the node does not keep."""
    request: SyncRequest

    @staticmethod
    def of(answer: Json) -> "Restored":
        """Reads an answer."""
        return Restored(
            user_id=str(answer["user_id"]),
            memories=int(answer["memories"]),
            restored=int(answer["restored"]),
            not_subscribed=int(answer["not_subscribed"]),
            request=SyncRequest.of(answer["request"]),
        )
