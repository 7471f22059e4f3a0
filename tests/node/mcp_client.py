"""Asks a node with the official MCP client. tests/node/mcp.rs starts the nodes and this program.

    mcp_client.py tools BINARY URL
    mcp_client.py conflict BINARY URL_A URL_B

The variable TOKENS has the tokens: {"alice": "...", "bob": "...", "reader": "..."}
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

LIMIT = 120
VERSIONS = {"legacy": "2025-11-25", "auto": "2026-07-28"}


@asynccontextmanager
async def over_http(url, mode, token=None, session=None):
    headers = {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if session:
        headers["X-Session-Id"] = session
    async with httpx2.AsyncClient(headers=headers, timeout=LIMIT) as http:
        async with Client(streamable_http_client(f"{url}/mcp", http_client=http), mode=mode) as client:
            assert client.session.protocol_version == VERSIONS[mode], client.session.protocol_version
            yield client


@asynccontextmanager
async def over_stdio(binary, url, mode, token=None):
    env = {"HELIXSTREAM_NODE_TOKEN": token} if token else None
    server = StdioServerParameters(command=binary, args=["mcp", "--node-url", url], env=env)
    async with Client(server, mode=mode) as client:
        assert client.session.protocol_version == VERSIONS[mode], client.session.protocol_version
        yield client


async def call(client, tool, **arguments):
    """The answer of a tool, which succeeds. The client checks it against the tool's schema."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, (tool, arguments, result)
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refused(client, code, tool, **arguments):
    """The text of a tool's error, which has this code."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, (tool, arguments, result)
    text = result.content[0].text
    assert code in text, text
    return text


async def check_schemas(client):
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert sorted(tools) == ["forget", "recall", "remember", "resolve_conflict"], tools
    required = {name: tool.input_schema.get("required", []) for name, tool in tools.items()}
    assert required == {
        "forget": ["memory_id"],
        "recall": [],
        "remember": [],
        "resolve_conflict": ["memory_id", "values"],
    }, required
    for tool in tools.values():
        assert tool.description and tool.output_schema["type"] == "object", tool
        assert tool.input_schema["type"] == "object", tool
        assert tool.input_schema["additionalProperties"] is False, tool
        assert all(described.get("description") for described in tool.input_schema["properties"].values()), tool
    assert tools["recall"].annotations.read_only_hint and tools["forget"].annotations.destructive_hint


async def check_session(one, other):
    """Two sessions of one node, which keep their clock tokens themselves."""
    memory = (await call(one, "remember", content="likes green tea", tags=["drink"], importance=0.5))["memory"]
    assert "clock" not in memory and memory["user_id"] == "alice" and memory["pending"], memory
    memory_id = memory["memory_id"]
    await refused(other, "HS8103", "remember", memory_id=memory_id, content="not seen")
    await refused(other, "HS8103", "forget", memory_id=memory_id)
    found = (await call(other, "recall", query="TEA", user_id="alice", limit=100))["memories"]
    assert memory_id in [memory["memory_id"] for memory in found], found
    # Each changes what both have seen. The second one is shown the first one's write, and has seen
    # it then.
    await call(one, "remember", memory_id=memory_id, content="likes black tea")
    text = await refused(other, "HS8068", "remember", memory_id=memory_id, content="likes coffee")
    assert "likes black tea" in text and "has changed since" in text, text
    await refused(other, "HS8106", "resolve_conflict", memory_id=memory_id, values={"content": "both"})
    after = (await call(other, "remember", memory_id=memory_id, content="likes both", metadata={"mood": "calm"}))["memory"]
    assert (after["content"], after["tags"], after["metadata"]) == ("likes both", ["drink"], {"mood": "calm"}), after
    expires = (await call(other, "remember", memory_id=memory_id, expires_at="2100-01-01T00:00:00Z"))["memory"]
    assert expires["metadata"]["helixagent.expires_at"] == "2100-01-01T00:00:00Z", expires
    never = {"helixagent.expires_at": None}
    after = (await call(other, "remember", memory_id=memory_id, metadata=never))["memory"]
    assert after["metadata"] == {"mood": "calm"}, after
    await refused(one, "HS8068", "forget", memory_id=memory_id)
    assert (await call(one, "forget", memory_id=memory_id))["memory"]["status"] == "deleted"
    await refused(one, "HS8067", "recall", memory_id=memory_id)
    await refused(other, "HS8067", "remember", memory_id=memory_id, content="back again")


async def check_errors(client):
    await refused(client, "content", "remember", tags=["x"])
    await refused(client, "HS8102", "remember", memory_id="m", content="x", user_id="alice")
    await refused(client, "HS8102", "remember", content="x", importance=2)
    await refused(client, "HS8102", "recall", memory_id="m", query="x")
    await refused(client, "HS8066", "recall", memory_id="no such memory/../search")
    await refused(client, "HS8060", "recall", limit=1000)
    await refused(client, "unknown field `queri`", "recall", queri="tea")
    await refused(client, "missing field `values`", "resolve_conflict", memory_id="m")


async def check_without_session(client):
    """A client of the newest protocol has no session: it carries the clock tokens itself."""
    memory = (await call(client, "remember", content="carried"))["memory"]
    memory_id, clock = memory["memory_id"], memory["clock"]
    text = await refused(client, "HS8103", "remember", memory_id=memory_id, content="x")
    assert "`clock`" in text, text
    later = (await call(client, "remember", memory_id=memory_id, content="carried on", clock=clock))["memory"]
    assert later["clock"] != clock
    await refused(client, "HS8068", "forget", memory_id=memory_id, clock=clock)
    await refused(client, "HS8069", "forget", memory_id=memory_id, clock="nonsense")
    await refused(client, "HS8102", "forget", memory_id=memory_id, clock='quoted"; x')
    pages, cursor = [], {}
    while True:
        page = await call(client, "recall", limit=1, **cursor)
        pages += [memory["memory_id"] for memory in page["memories"]]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert memory_id in pages and len(pages) == len(set(pages)), pages


async def check_scopes(alice, bob, reader):
    mine = (await call(alice, "remember", content="of alice alone"))["memory"]
    assert (await call(bob, "recall", query="alice"))["memories"] == []
    await refused(bob, "HS8066", "recall", memory_id=mine["memory_id"])
    await refused(bob, "HS8073", "recall", query="alice", user_id="alice")
    await refused(bob, "HS8073", "remember", content="x", user_id="alice")
    found = await call(reader, "recall", memory_id=mine["memory_id"])
    assert found["memories"][0]["content"] == "of alice alone"
    await refused(reader, "HS6512", "remember", memory_id=mine["memory_id"], content="x")


async def check_http(url, token, writer):
    """The transport itself."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream"}
    with_token = {"Authorization": f"Bearer {token}", **accept}
    async with httpx2.AsyncClient(timeout=LIMIT) as http:
        for origin in ["https://evil.example", "null", url]:
            answer = await http.post(f"{url}/mcp", json=body, headers={**with_token, "Origin": origin})
            assert (answer.status_code, answer.json()["code"]) == (403, "HS8100"), answer.text
        answer = await http.post(f"{url}/mcp", json=body, headers=accept)
        assert (answer.status_code, answer.json()["code"]) == (401, "HS6511"), answer.text
        answer = await http.post(f"{url}/mcp", json=body, headers=with_token)
        assert answer.status_code == 200 and len(answer.json()["result"]["tools"]) == 4, answer.text
        answer = await http.post(f"{url}/mcp", json=body, headers={"Authorization": f"Bearer {writer}", **accept})
        assert (answer.status_code, answer.json()["code"]) == (403, "HS6512"), answer.text
        answer = await http.get(f"{url}/mcp", headers=with_token)
        assert answer.status_code == 405, answer.text


async def tools(binary, url):
    tokens = json.loads(os.environ["TOKENS"])
    alice = tokens["alice"]
    for mode in VERSIONS:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            stdio = await enter(over_stdio(binary, url, mode, alice))
            named = await enter(over_http(url, mode, alice, session="agent-1"))
            for client in [stdio, named]:
                await check_schemas(client)
                await check_errors(client)
            await check_session(stdio, named)
            await check_session(named, stdio)
            if mode == "legacy":
                # The server names the session.
                await check_session(await enter(over_http(url, mode, alice)), stdio)
            else:
                await check_without_session(await enter(over_http(url, mode, alice)))
            bob = await enter(over_stdio(binary, url, mode, tokens["bob"]))
            reader = await enter(over_stdio(binary, url, mode, tokens["reader"]))
            await check_scopes(named, bob, reader)
            wrong = await enter(over_stdio(binary, url, mode, "wrong"))
            await refused(wrong, "HS6511", "recall")
            # Nobody listens at this port.
            gone = await enter(over_stdio(binary, "http://127.0.0.1:1", mode))
            await refused(gone, "HS8105", "recall")
    await check_http(url, alice, tokens["writer"])


async def eventually(what, condition):
    deadline = time.monotonic() + LIMIT
    while True:
        found = await condition()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"still waiting for {what}"
        await asyncio.sleep(0.05)


async def recalled(client, memory_id, condition):
    """The memory, once it meets a condition."""

    async def look():
        result = await client.call_tool("recall", {"memory_id": memory_id})
        memory = None if result.is_error else result.structured_content["memories"][0]
        return memory if memory and not memory["pending"] and condition(memory) else None

    return await eventually(f"the memory {memory_id}", look)


async def conflict(binary, url_a, url_b):
    """Two agents at two nodes change a memory that both have seen, and one of them settles it."""
    async with over_stdio(binary, url_a, "auto") as a, over_http(url_b, "legacy") as b:
        memory_id = (await call(a, "remember", content="likes tea", user_id="u"))["memory"]["memory_id"]
        await recalled(a, memory_id, lambda memory: True)
        await recalled(b, memory_id, lambda memory: True)
        await call(a, "remember", memory_id=memory_id, content="likes green tea")
        await call(b, "remember", memory_id=memory_id, content="likes black tea", tags=["drink"])
        in_conflict = lambda memory: memory["conflicted_fields"] == ["content"]
        await recalled(a, memory_id, in_conflict)
        await recalled(b, memory_id, in_conflict)
        wrong = {"tags": ["x"]}
        await refused(b, "HS8107", "resolve_conflict", memory_id=memory_id, values=wrong)
        await refused(b, "HS8102", "resolve_conflict", memory_id=memory_id, values={})
        chosen = "likes green and black tea"
        written = await call(b, "resolve_conflict", memory_id=memory_id, values={"content": chosen})
        assert written["memory"]["conflicted_fields"] == [], written
        settled = lambda memory: memory["conflicted_fields"] == [] and memory["content"] == chosen
        for client in [a, b]:
            memory = await recalled(client, memory_id, settled)
            assert memory["tags"] == ["drink"], memory
        await refused(a, "HS8106", "resolve_conflict", memory_id=memory_id, values={"content": "x"})


command, *arguments = sys.argv[1:]
asyncio.run({"tools": tools, "conflict": conflict}[command](*arguments))
