"""Streams, single parts, searches and waits against a server that answers what a test says."""

import json
import unittest
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from unittest import mock

from helixstream_client import (
    Change,
    Changed,
    Client,
    Conflict,
    Interrupted,
    InvalidRequest,
    Left,
    NodeError,
    Opened,
    Problem,
    Reset,
    Unauthorized,
    Written,
)
from test_client import TOKEN, memory, server

def stream(request: BaseHTTPRequestHandler, events: str) -> None:
    """Answers with a stream that is cut behind these events."""
    request.send_response(200)
    request.send_header("Content-Type", "text/event-stream")
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    body = events.encode()
    request.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))


def changed(event_id: str, clock: str) -> str:
    """An event about a memory."""
    return f"event: memory\nid: {event_id}\ndata: {memory(clock)}\n\n"


def told(change: Change) -> tuple[object, ...]:
    """A change in short."""
    match change:
        case Opened(last, resumed):
            return "opened", last, resumed
        case Changed(last, shown):
            return "changed", last, shown.id, shown.clock
        case Left(last, memory_id):
            return "left", last, memory_id
        case Reset(last, reason):
            return "reset", last, reason
        case Interrupted(last, error):
            return "interrupted", last, isinstance(error, Problem)


class TheStream(unittest.TestCase):
    def test_one_that_is_cut_in_the_middle_of_an_event_goes_on_behind_the_last_whole_one(self) -> None:
        asked: list[tuple[str | None, str, str]] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str] | None:
            asked.append((request.headers["Last-Event-ID"], request.path, request.headers["Accept"]))
            match len(asked):
                case 1:
                    opened = ': hello\n\nevent: opened\nid: 1.a\ndata: {"resumed": false}\n\n'
                    stream(request, opened + changed("2.a", "t1") + 'event: memory\nid: 3.a\ndata: {"clock": "t2", "pend')
                case 2:
                    stream(request, "event: later\nid: 4.a\ndata: x\n\nid: 5.a\n\n")
                case 3:
                    return 503, "application/problem+json", '{"code": "HS8078"}'
                case 4:
                    reset = 'event:reset\r\nid:6.a\r\ndata:{"reason":\r\ndata:"old"}\r\n\r\n'
                    stream(request, reset + 'event: left\nid: 7.a\ndata: {"memory_id": "m"}\n\n')
                case _:
                    return 401, "application/problem+json", '{"code": "HS6511"}'
            return None

        heard: list[tuple[object, ...]] = []
        with server(answer, {"Retry-After": "2"}) as address, mock.patch("helixstream_client._http.sleep") as sleep:
            client = Client(address, token=TOKEN)
            with self.assertRaises(Unauthorized):
                for change in client.follow(user_id="u", session_id="s"):
                    heard.append(told(change))
        self.assertEqual(
            heard,
            [
                ("opened", "1.a", False),
                ("changed", "2.a", "m", "t1"),
                ("interrupted", "2.a", False),
                ("interrupted", "5.a", False),
                ("interrupted", "5.a", True),
                ("reset", "6.a", "old"),
                ("left", "7.a", "m"),
                ("interrupted", "7.a", False),
            ],
        )
        path = "/v1/events?user_id=u&session_id=s"
        self.assertEqual([one[0] for one in asked], [None, "2.a", "5.a", "5.a", "7.a"])
        self.assertEqual({one[1:] for one in asked}, {(path, "text/event-stream")})
        # The node has asked for 2 seconds in its answer 503.
        self.assertEqual([call.args[0] >= 2.0 for call in sleep.call_args_list], [False, False, True, False])

    def test_it_breaks_where_nothing_arrives_and_ends_at_what_is_no_node(self) -> None:
        with mock.patch("helixstream_client._http.sleep"):
            following = Client("http://127.0.0.1:1").follow(last_event_id="7.a")
            for _ in range(3):
                change = next(following)
                assert isinstance(change, Interrupted)
                self.assertEqual(change.last_event_id, "7.a")

        def silent(request: BaseHTTPRequestHandler) -> None:
            stream(request, 'event: opened\nid: 1.a\ndata: {"resumed": true}\n\n')
            request.rfile.read(1)

        with mock.patch("helixstream_client._stream.SILENCE", 0.05), server(silent) as address:
            following = Client(address).follow()
            self.assertEqual(told(next(following)), ("opened", "1.a", True))
            self.assertEqual(told(next(following)), ("interrupted", "1.a", False))
            following.close()
        for events in ("event: memory\ndata: x\n\n", "event: memory\ndata: {}\n\n", "event: left\ndata: []\n\n"):
            with server(lambda request: stream(request, events)) as address, self.assertRaises(NodeError):
                next(Client(address).follow())
        with server(lambda _: (200, "text/html", "<p>")) as address, self.assertRaises(NodeError):
            next(Client(address).follow())
        with self.assertRaises(InvalidRequest):
            Client().follow(last_event_id="a\nb")


class TheOtherCalls(unittest.TestCase):
    def test_the_node_is_given_the_time_that_it_asks_for(self) -> None:
        attempts = 0

        def answer(_: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            nonlocal attempts
            attempts += 1
            if attempts <= 2:
                return 429, "application/problem+json", '{"code": "HS8090"}'
            times = {"timestamp": "2026-11-28T03:31:00.123Z"}
            return 202, "application/json", json.dumps({"request_id": "r", "user_id": "u-1", "repeated": True} | times)

        with server(answer, {"Retry-After": "3"}) as address, mock.patch("helixstream_client._http.sleep") as sleep:
            requested = Client(address).force_sync("u-1")
            self.assertEqual((requested.request_id, requested.user_id, requested.repeated), ("r", "u-1", True))
            self.assertEqual([call.args[0] for call in sleep.call_args_list], [3.0, 3.0])
            attempts = 0
            with self.assertRaises(Problem) as caught:
                Client(address, attempts=1).force_sync()
            self.assertEqual((caught.exception.status, caught.exception.retry_after), (429, 3.0))

    def test_single_parts_are_written_under_their_ids_and_with_the_clock_of_their_memory(self) -> None:
        asked: list[tuple[str, str, str | None]] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            asked.append((request.command, request.path, request.headers["If-Match"]))
            if request.path == "/v1/memories/m":
                return 200, "application/json", memory("t")
            if request.command == "GET":
                parts = {"clock": "t", "pending": True, "entities": [{"id": "e"}], "relationships": []}
                return 200, "application/json", json.dumps(parts)
            return 409, "application/problem+json", json.dumps({"code": "HS8068"} | json.loads(memory("now")))

        with server(answer) as address:
            client = Client(address)
            entities = client.entities("m")
            self.assertEqual((entities.clock, entities.pending, entities.objects), ("t", True, [{"id": "e"}]))
            self.assertEqual(client.relationships("m").objects, [])
            shown = client.read("m")
            calls: list[Callable[[], Written]] = [
                lambda: client.put_entity(shown, "a/b", {"name": "tea"}),
                lambda: client.put_relationship("m", "r", {}),
                lambda: client.delete_relationship("unknown", "r"),
            ]
            for call in calls:
                with self.assertRaises(Conflict) as caught:
                    call()
                self.assertEqual(caught.exception.memory and caught.exception.memory.clock, "now")
            with self.assertRaises(InvalidRequest):
                client.put_entity("m", "..", {})
        self.assertEqual(
            asked[3:],
            [
                ("PUT", "/v1/memories/m/entities/a%2Fb", '"t"'),
                ("PUT", "/v1/memories/m/relationships/r", '"t"'),
                ("DELETE", "/v1/memories/unknown/relationships/r", None),
            ],
        )

    def test_a_search_by_an_embedding_is_a_post_and_one_by_words_a_get(self) -> None:
        asked: list[tuple[str, str]] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            asked.append((request.command, request.path))
            hit = json.loads(memory("t")) | {"score": 0.5}
            return 200, "application/json", json.dumps({"hits": [hit], "truncated": True, "compared": 3, "skipped": 2})

        with server(answer) as address:
            client = Client(address)
            client.search("green tea", type="semantic", created_from="2026-11-28T03:00:00Z", top_k=3)
            hits = client.search("tea", embedding=[0.5, -1], weight=0.25)
        self.assertEqual((hits.scores, hits.truncated, hits.compared, hits.skipped), ([0.5], True, 3, 2))
        words = "query=green+tea&type=semantic&created_from=2026-11-28T03%3A00%3A00Z&top_k=3"
        self.assertEqual(asked, [("GET", f"/v1/memories/search?{words}"), ("POST", "/v1/memories/search")])

    def test_a_history_and_a_snapshot_are_read(self) -> None:
        state = {"number": 2, "applied_at": "t", "source": "stream", "status": "active", "version": 7, "updated_at": "t"}
        state |= {"conflicted_fields": [], "changed": [{"path": "content", "removed": True}], "event_ids": ["e"]}
        event = json.loads(memory("t"))["event"] | {"event_type": "memory.created", "fields": ["content"], "supersedes": []}
        history = {"memory_id": "m", "states": [state], "events": [event | {"in_state": 2}], "complete": True, "truncated": False}
        asked: list[str] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            asked.append(request.path)
            if "/snapshot" in request.path:
                return 200, "application/json", json.dumps({"user_id": "u"} if "one" in request.path else [{"part": 1}, {"part": 2}])
            return 200, "application/json", json.dumps(history)

        with server(answer) as address:
            client = Client(address)
            read = client.history("m", limit=1, cursor="c")
            self.assertEqual((read.states[0].changed[0].removed, read.states[0].entered, read.states[0].follows), (True, None, None))
            self.assertEqual((read.events[0].in_state, read.events[0].seen_state, read.next), (2, None, None))
            self.assertEqual(client.snapshot("one"), {"user_id": "u"})
            self.assertEqual(client.snapshot("a/b"), [{"part": 1}, {"part": 2}])
        self.assertEqual(asked, ["/v1/memories/m/history?limit=1&cursor=c", "/v1/users/one/snapshot", "/v1/users/a%2Fb/snapshot"])


if __name__ == "__main__":
    unittest.main()
