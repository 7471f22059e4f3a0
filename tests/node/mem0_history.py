"""Mem0's own client for Python against two nodes: each shows the changes of the other in a history.

Arguments: the hosts of the client for the nodes a and b. The environment has the token TOKEN.
"""

import os
import sys
import time

from mem0 import MemoryClient
from mem0.exceptions import MemoryNotFoundError


def eventually(what, holds):
    """Polls until something holds, and returns it."""
    end = time.monotonic() + 120
    while not (held := holds()):
        assert time.monotonic() < end, f"this did not come: {what}"
        time.sleep(0.02)
    return held


def text(client, memory):
    """The text of a memory, if the node shows it."""
    try:
        return client.get(memory)["memory"]
    except MemoryNotFoundError:
        return None


def changes(client, memory):
    """What a history says, without the ids and the times."""
    names = ("event", "old_memory", "new_memory", "user_id")
    return [tuple(entry[name] for name in names) + (entry["actor_id"].split(".")[0],) for entry in client.history(memory)]


a, b = (MemoryClient(api_key=os.environ["TOKEN"], host=host) for host in sys.argv[1:])
(added,) = a.add("Ann likes green tea", user_id="u-ann")["results"]
memory = added["id"]
eventually("b shows the memory", lambda: text(b, memory) == "Ann likes green tea")
b.update(memory, text="Ann likes black tea")
eventually("a shows the text of b", lambda: text(a, memory) == "Ann likes black tea")
a.delete(memory)
eventually("b shows no memory", lambda: text(b, memory) is None)

expected = [
    ("ADD", None, "Ann likes green tea", "u-ann", "a"),
    ("UPDATE", "Ann likes green tea", "Ann likes black tea", "u-ann", "b"),
    ("DELETE", "Ann likes black tea", None, "u-ann", "a"),
]
for client in (a, b):
    assert changes(client, memory) == expected, client.history(memory)
eventually("both say the same", lambda: a.history(memory) == b.history(memory))
for entry in a.history(memory):
    assert entry["memory_id"] == memory and entry["created_at"] == entry["updated_at"] > "2026", entry
print("both nodes tell the same history")
