"""Mem0's own client for Python against a node: every call that the node has, and some that it has not.

Argument: the host of the client. The environment has two tokens: TOKEN is bound to no users,
TOKEN_OF_ANN to u-ann.
"""

import asyncio
import os
import sys

from mem0 import AsyncMemoryClient, MemoryClient
from mem0.client.types import AddMemoryOptions, GetAllMemoryOptions, SearchMemoryOptions, UpdateMemoryOptions
from mem0.exceptions import AuthenticationError, MemoryError, MemoryNotFoundError, ValidationError

(HOST,) = sys.argv[1:]
TOKEN, TOKEN_OF_ANN = os.environ["TOKEN"], os.environ["TOKEN_OF_ANN"]


def fails(kind, call, text=""):
    """The error of a call, which is of exactly this kind."""
    try:
        call()
    except Exception as error:
        assert type(error) is kind and text in str(error), (kind, text, type(error), error)
        return error
    raise AssertionError(f"the call should fail with {kind}")


def added(answer, event="ADD"):
    """The id of the one memory of an add."""
    assert answer["status"] == "SUCCEEDED", answer
    (one,) = answer["results"]
    assert one["event"] == event, answer
    return one["id"]


def texts(answer):
    """The texts of an answer with results, sorted."""
    return sorted(memory["memory"] for memory in answer["results"])


def one_memory(client):
    tea = added(client.add("Ann likes green tea", user_id="u-ann", metadata={"category": "drinks", "n": 1}))
    assert added(client.add("Ann likes green tea", user_id="u-ann", metadata={"category": "drinks", "n": 1}), "NONE") == tea
    memory = client.get(tea)
    assert (memory["id"], memory["memory"], memory["user_id"]) == (tea, "Ann likes green tea", "u-ann"), memory
    assert memory["metadata"] == {"category": "drinks", "n": 1}, memory

    updated = client.update(tea, text="Ann likes black tea", metadata={"n": 2})
    assert updated["memory"] == "Ann likes black tea", updated
    updated = client.update(tea, options=UpdateMemoryOptions(metadata={"mood": "calm"}))
    assert updated["metadata"] == {"category": "drinks", "n": 2, "mood": "calm"}, updated
    changes = [(entry["event"], entry["old_memory"], entry["new_memory"]) for entry in client.history(tea)]
    assert changes[0] == ("ADD", None, "Ann likes green tea"), changes
    assert changes[1] == ("UPDATE", "Ann likes green tea", "Ann likes black tea"), changes

    # The text was changed, so the same add makes another memory.
    other = added(client.add("Ann likes green tea", user_id="u-ann", metadata={"category": "drinks"}))
    assert other != tea
    client.delete(other)
    fails(MemoryNotFoundError, lambda: client.get(other))
    fails(MemoryNotFoundError, lambda: client.delete(other))
    assert added(client.add("Ann likes green tea", user_id="u-ann", metadata={"category": "drinks"})) == other
    client.delete(other, delete_linked=True)
    return tea


def many_memories(client, tea):
    messages = [{"role": "user", "content": "I run every day"}, {"role": "assistant", "content": "Tea helps after a run"}]
    results = client.add(messages, user_id="u-bob", agent_id="coach", run_id="r-1")["results"]
    assert [one["memory"] for one in results] == [message["content"] for message in messages], results
    options = AddMemoryOptions(filters={"user_id": "u-bob", "app_id": "phone"}, infer=False)
    phone = added(client.add({"role": "user", "content": "tea at five"}, options=options))

    assert texts(client.search("tea", filters={"user_id": "u-ann"})) == ["Ann likes black tea"]
    found = client.search("  tea  ", options=SearchMemoryOptions(filters={"user_id": "u-bob"}, top_k=1, rerank=True))
    assert len(found["results"]) == 1 and 0 <= found["results"][0]["score"] <= 1, found
    filters = {"AND": [{"user_id": "*"}, {"OR": [{"agent_id": "coach"}, {"app_id": "phone"}]}]}
    assert texts(client.search("tea run", filters=filters, threshold=0.0)) == [
        "I run every day", "Tea helps after a run", "tea at five",
    ]
    page = client.get_all(filters={"user_id": "u-bob"}, page=2, page_size=2)
    assert page["count"] == 3 and len(page["results"]) == 1 and page["next"] is None, page
    assert len(client.get_all(options=GetAllMemoryOptions(filters={"created_at": {"gte": "2026-01-01"}}))["results"]) == 4
    assert client.get_all()["count"] == 4

    client.batch_update([{"memory_id": phone, "text": "tea at six"}, {"memory_id": tea, "metadata": {"n": 3}}])
    assert (client.get(phone)["memory"], client.get(tea)["metadata"]["n"]) == ("tea at six", 3)
    entities = {(entity["type"], entity["name"]) for entity in client.users()["results"]}
    assert entities == {
        ("user", "u-ann"), ("user", "u-bob"), ("agent", "coach"), ("app", "phone"), ("run", "r-1"),
    }, entities
    client.batch_delete([{"memory_id": phone}])
    fails(MemoryNotFoundError, lambda: client.get(phone))


def tenants(client, tea):
    ann = MemoryClient(api_key=TOKEN_OF_ANN, host=HOST)
    assert texts(ann.get_all()) == texts(ann.search("tea run")) == ["Ann likes black tea"]
    own = added(ann.add("a secret of Ann"))
    assert client.get(own)["user_id"] == "u-ann"
    bobs = client.get_all(filters={"user_id": "u-bob"})["results"][0]["id"]
    fails(MemoryNotFoundError, lambda: ann.get(bobs))
    fails(MemoryNotFoundError, lambda: ann.update(bobs, text="x"))
    fails(AuthenticationError, lambda: ann.add("x", user_id="u-bob"))
    fails(AuthenticationError, lambda: ann.delete_all(user_id="u-bob"))
    ann.delete_all(user_id="*")
    assert ann.get_all()["count"] == 0 and client.get_all()["count"] == 2
    fails(MemoryNotFoundError, lambda: client.get(tea))
    # The client says of a wrong key that it is a wrong value.
    fails(ValueError, lambda: MemoryClient(api_key="wrong", host=HOST))


def expiring(client):
    lisbon = added(client.add("is in Lisbon", user_id="u-exp", expiration_date="2040-02-29"))
    assert client.get(lisbon)["expiration_date"] == "2040-02-29"
    assert client.update(lisbon, expiration_date="2041-01-01")["expiration_date"] == "2041-01-01"
    assert client.update(lisbon, expiration_date=None)["expiration_date"] is None
    options = AddMemoryOptions(filters={"user_id": "u-exp"}, expiration_date="2020-01-01")
    added(client.add("was in Lisbon", options=options))
    filters = {"user_id": "u-exp"}
    assert texts(client.get_all(filters=filters)) == texts(client.search("Lisbon", filters=filters)) == ["is in Lisbon"]
    assert texts(client.get_all(filters=filters, show_expired=True)) == ["is in Lisbon", "was in Lisbon"]
    assert len(client.search("Lisbon", filters=filters, show_expired=True)["results"]) == 2
    fails(ValidationError, lambda: client.update(lisbon, expiration_date="2041-02-30"), "HS8081")
    client.delete_all(user_id="u-exp")


def refused(client):
    for call in [
        lambda: client.create_memory_export(schema="{}"),
        lambda: client.get_memory_export(user_id="u"),
        lambda: client.get_summary(),
        lambda: client.feedback("m", feedback="POSITIVE"),
        lambda: client.get_webhooks("p"),
        lambda: client.add("x", user_id="u-bob", timestamp=1),
    ]:
        fails(MemoryError, call, "HS8080")
    fails(ValidationError, lambda: client.add("x", userid="u-bob"), "HS8081")
    fails(ValidationError, lambda: client.get_all(filters={"bogus": "x"}), "HS8081")
    fails(ValidationError, lambda: client.delete_all(), "HS8082")
    # The client writes a dictionary into the query as Python shows it, which is no JSON.
    fails(ValidationError, lambda: client.delete_all(filters={"user_id": "u-bob"}), "HS8081")
    fails(MemoryError, lambda: client.project.get(), "HS8080")


async def at_a_time():
    async with AsyncMemoryClient(api_key=TOKEN, host=HOST) as client:
        answers = await asyncio.gather(*(client.add(f"fact {n % 5}", user_id="u-all") for n in range(20)))
        ids = {answer["results"][0]["id"] for answer in answers}
        found = await client.search("fact", filters={"user_id": "u-all"})
        assert len(ids) == 5 and {memory["id"] for memory in found["results"]} == ids, (ids, found)


client = MemoryClient(api_key=TOKEN, host=HOST)
tea = one_memory(client)
many_memories(client, tea)
tenants(client, tea)
expiring(client)
refused(client)
asyncio.run(at_a_time())
client.delete_users(agent_id="coach")
assert {entity["name"] for entity in client.users()["results"]} == {"u-all"}
client.reset()
assert client.get_all()["count"] == 0
print("every call was answered")
