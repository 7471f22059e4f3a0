"""Our client for Python (clients/python) against two nodes and the stream.

Arguments: the addresses of two nodes. The environment has two tokens: TOKEN is bound to no users,
TOKEN_OF_ANN to u-ann.
"""

import os
import signal
import sys
import time

from helixstream_client import Changed, Client, Conflict, Forbidden, Left, NotFound, Opened, Problem, Reset, Unauthorized

A, B = sys.argv[1:]
# A stream waits for as long as nothing changes.
signal.alarm(300)


def eventually(what, holds):
    """Polls until something holds, and returns it."""
    end = time.monotonic() + 120
    while not (held := holds()):
        assert time.monotonic() < end, f"this did not come: {what}"
        time.sleep(0.02)
    return held


def fails(kind, call):
    """The error of a call, which is of exactly this kind."""
    try:
        call()
    except Exception as error:
        assert type(error) is kind, (kind, error)
        assert os.environ["TOKEN"] not in str(error) and os.environ["TOKEN_OF_ANN"] not in str(error), error
        return error
    raise AssertionError(f"the call should fail with {kind}")


def client_of(address, name="TOKEN"):
    return Client(address, token=Client.token_from_env(name))


def every_call(client):
    written = client.create(user_id="u-1", session_id="s", content="likes tea", tags=["drink"], metadata={"n": 2**60, "a": "b"})
    memory = written.memory
    assert written.event.counter >= 1 and not written.repeated, written
    assert (memory.content, memory.tags, memory.metadata) == ("likes tea", ["drink"], {"n": 2**60, "a": "b"}), memory
    assert client.read(memory.id).content == "likes tea"
    updated = client.update(memory, content="likes coffee", metadata={"a": None}, embedding=[0.5, -1.0], importance=0.25)
    assert not updated.assumed and updated.memory.metadata == {"n": 2**60}, updated
    assert (updated.memory.embedding, updated.memory.importance) == ([0.5, -1.0], 0.25), updated
    # The memory that was read first lacks the update.
    conflict = fails(Conflict, lambda: client.update(memory, content="likes water"))
    assert conflict.memory.content == "likes coffee", conflict
    assert client.update(conflict.memory, content="likes water").memory.content == "likes water"
    # By its id, the client knows what it was last shown.
    by_id = client.update(memory.id, entities=[{"id": "e", "name": "tea"}], relationships=[{"id": "r"}])
    assert not by_id.assumed and by_id.memory.entities[0]["id"] == "e", by_id
    expiring = client.update(by_id.memory, expires_at="2100-01-01T00:00:00Z").memory
    assert expiring.expires_at == "2100-01-01T00:00:00Z", expiring
    by_id = client.update(expiring, expires_at=None)
    assert by_id.memory.expires_at is None, by_id
    replaced = client.replace(by_id.memory, content="replaced")
    assert (replaced.memory.tags, replaced.memory.user_id) == ([], "u-1"), replaced
    assert fails(Conflict, lambda: client.create(memory_id=memory.id, content="x")).memory.content == "replaced"
    first = client.create(user_id="u-1", content="once", idempotency_key="k")
    again = client.create(user_id="u-1", content="once", idempotency_key="k")
    assert again.repeated and again.memory.id == first.memory.id, again
    merged = client.merge(replaced.memory, [first.memory])
    assert merged.memory.raw["merged_from"] == [first.memory.id], merged
    stale_merge(client)
    events = client.events(memory).events
    assert [event.event_type for event in events][0] == "memory.created" and len(events) == 9, events
    found = client.search("replaced", user_id="u-1", session_id=None, top_k=5)
    assert [hit.id for hit in found.memories] == [memory.id] and found.scores[0] > 0 and not found.truncated, found
    for n in range(205):
        client.create(user_id="u-2", content=str(n), session_id="even" if n % 2 == 0 else "odd")
    assert sorted(int(one.content) for one in client.list(user_id="u-2")) == list(range(205))
    assert len(list(client.list(session_id="odd"))) == 102
    page = client.page(user_id="u-2", limit=3)
    assert len(page.memories) == 3 and page.next, page
    deleted = client.delete(merged.memory)
    assert deleted.memory.status == "deleted", deleted
    assert fails(NotFound, lambda: client.read(memory.id)).memory.status == "deleted"
    assert memory.id in [one.id for one in client.list(user_id="u-1", include_inactive=True)]
    assert client.force_sync("u-1").user_id == "u-1"
    assert fails(Problem, lambda: client.restore([])).code == "HS8091"
    assert client.status().memories >= 207 and "/v1/memories" in client.openapi()["paths"]


def stale_merge(client):
    """A merge by a client that has not seen the latest write to a memory that it lets absorb."""
    keeps = client.create(user_id="u-12", content="keeps").memory
    absorbed = client.create(user_id="u-12", content="absorbed").memory
    client_of(A).update(absorbed.id, content="written by somebody else")
    # By what this client was last shown, and by a memory that the caller has kept.
    for other in (absorbed.id, absorbed):
        conflict = fails(Conflict, lambda: client.merge(keeps.id, [other]))
        assert conflict.code == "HS8068", conflict
    assert client.read(absorbed.id).status == "active" and "merged_from" not in client.read(keeps.id).raw
    assert client.merge(keeps.id, [absorbed.id]).memory.raw["merged_from"] == [absorbed.id]


def two_nodes(a, b):
    mine = Client(A, token=os.environ["TOKEN"], wait_for_kafka=True).create(memory_id="across", user_id="u-3", content="by a")
    assert mine.event.state in ("published", "pending"), mine

    def shown(client, holds):
        try:
            memory = client.read("across")
        except NotFound:
            return None
        return memory if not memory.pending and holds(memory) else None

    one = eventually("a shows it resolved", lambda: shown(a, lambda _: True))
    other = eventually("b shows it", lambda: shown(b, lambda _: True))
    a.update(one, content="by a, again")
    b.update(other, content="by b", tags=["of b"])
    conflicted = lambda memory: memory.conflicted_fields == ["content"] and memory.tags == ["of b"]
    one = eventually("a shows the conflict", lambda: shown(a, conflicted))
    other = eventually("b shows the conflict", lambda: shown(b, conflicted))
    assert one.raw == other.raw, (one, other)
    # A token of one node is known to the other.
    a.update(other, content="settled")
    eventually("b shows it settled", lambda: shown(b, lambda memory: memory.content == "settled" and not memory.conflicted_fields))


    settled(a, b)


def settled(a, b):
    """A conflict that is settled by what the list of conflicts has shown."""
    a.update("across", importance=0.1)
    other = eventually("b shows the importance", lambda: next((one for one in b.list(user_id="u-3") if one.importance == 0.1), None))
    a.update("across", content="once more by a")
    b.update(other, content="once more by b")
    one = eventually("a lists the conflict", lambda: next(a.conflicts(user_id="u-3"), None))
    assert one.id == "across" and one.conflicted_fields == ["content"], one
    a.update(one, content="settled again")
    eventually("neither lists a conflict", lambda: not list(a.conflicts(user_id="u-3")) and not list(b.conflicts()))


def parts(client):
    memory = client.create(user_id="u-8", content="parts").memory
    put = client.put_entity(memory, "a/b", {"name": "tea"})
    assert not put.assumed and put.memory.entities == [{"id": "a/b", "name": "tea"}], put
    fails(Conflict, lambda: client.put_relationship(memory, "r", {"from_entity": "x"}))
    client.put_relationship(memory.id, "r", {"from_entity": "a/b", "to_entity": "c"})
    relationships = client.relationships(memory)
    assert [one["to_entity"] for one in relationships.objects] == ["c"] and relationships.clock, relationships
    assert [one["id"] for one in client.entities(memory).objects] == ["a/b"]
    assert client.delete_relationship(memory.id, "r").memory.relationships == []


def near(client):
    for memory_id, embedding in {"near": [1, 0.1], "far": [-1, 0], "other": [1, 2, 3]}.items():
        client.create(memory_id=memory_id, user_id="u-10", content=memory_id, embedding=embedding, metadata={"helixagent.type": "t"})
    hits = client.search(embedding=[1, 0], user_id="u-10", type="t", min_score=0.0)
    assert [hit.id for hit in hits.memories] == ["near"] and hits.scores[0] > 0.9, hits
    assert (hits.compared, hits.skipped) == (2, 1), hits
    assert client.search("far", embedding=[1, 0], weight=0.0, user_id="u-10", top_k=1).memories[0].id == "far"
    fails(Problem, lambda: client.search(embedding=[0, 0]))


def followed(a, b):
    last = None
    for change in a.follow(user_id="u-6"):
        match change:
            case Opened(_, resumed):
                assert not resumed, change
                a.create(memory_id="followed", user_id="u-6", content="one")
            case Changed(last, memory):
                assert memory.content == "one", memory
                if not memory.pending:
                    break
            case _:
                raise AssertionError(change)
    memory = eventually("b shows the memory", lambda: next(b.list(user_id="u-6"), None))
    b.update(memory, user_id="u-7")
    changes = a.follow(user_id="u-6", last_event_id=last)
    opened, left = next(changes), next(changes)
    assert isinstance(opened, Opened) and opened.resumed, opened
    assert isinstance(left, Left) and left.memory_id == "followed", left
    changes.close()
    reset = next(a.follow(last_event_id="1.no-id-of-this-node"))
    assert isinstance(reset, Reset) and "list the memories anew" in reset.reason, reset


def remembered(a, b):
    written = a.create(user_id="u-11", content="first")
    memory = written.memory
    in_state = lambda: (found := a.history(memory)).events[0].in_state and found
    history = eventually("the history has the event", in_state)
    state = history.states[0]
    assert history.complete and state.number == history.events[0].in_state and state.source == "stream", history
    assert state.event_ids == [written.event.event_id] and ("content", "first") in [(one.path, one.value) for one in state.changed], state
    snapshot = a.snapshot("u-11")
    assert snapshot["user_id"] == "u-11" and [one["content"] for one in snapshot["memories"]] == ["first"], snapshot
    restored = b.restore(snapshot)
    assert (restored.user_id, restored.memories) == ("u-11", 1), restored
    assert b.read(memory.id).content == "first"


def registered(client):
    nodes = eventually("both nodes are listed", lambda: (found := client.nodes()).complete and len(found.nodes) == 2 and found)
    for node in nodes.nodes:
        assert node.status == "active" and node.counter > 0 and node.joined_at and node.software_version, node
    status = eventually("the other node is a peer", lambda: (shown := client.status()).peers and shown)
    assert status.node_id not in [peer.node_id for peer in status.peers] and status.positions, status


def tokens():
    os.environ["WRONG"] = "hs_no-token-of-this-node"
    fails(Unauthorized, client_of(A, "WRONG").status)
    fails(Unauthorized, lambda: next(client_of(A, "WRONG").follow()))
    ann = client_of(A, "TOKEN_OF_ANN")
    fails(NotFound, lambda: ann.read("across"))
    fails(Forbidden, lambda: ann.create(memory_id="chosen", content="x"))
    assert ann.create(content="of ann").memory.user_id == "u-ann"
    assert [memory.content for memory in ann.list()] == ["of ann"]
    fails(Forbidden, ann.nodes)


every_call(client_of(A))
two_nodes(client_of(A), client_of(B))
parts(client_of(A))
near(client_of(A))
followed(client_of(A), client_of(B))
remembered(client_of(A), client_of(B))
registered(client_of(A))
tokens()
print("every call was answered")
