"""The client against a server that answers what a test says."""

import contextlib
import json
import threading
import unittest
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

from helixstream_client import (
    Client,
    Conflict,
    Forbidden,
    InvalidRequest,
    NodeError,
    NotFound,
    Problem,
    Unanswered,
    Unauthorized,
)

TOKEN = "hs_secret-of-the-test"

Answer = Callable[[BaseHTTPRequestHandler], tuple[int, str, str] | None]


def memory(clock: str, memory_id: str = "m") -> str:
    """The answer to a write of a memory."""
    fields = {"memory_id": memory_id, "content": "tea", "status": "active", "version": 1, "vector_clock": {"n": 1}}
    times = {"created_at": "2026-11-28T03:30:00.123456789Z", "updated_at": "2026-11-28T03:30:00Z"}
    event = {"event_id": "e", "node_id": "n", "counter": 1, "version": 1, "timestamp": times["created_at"], "state": "pending"}
    return json.dumps({"clock": clock, "pending": False, "memory": fields | times, "event": event, "assumed": False})


@contextlib.contextmanager
def server(answer: Answer, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """A server, whose connection breaks where there is no answer. Each answer has these headers."""

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answered = answer(self)
            if answered is None:
                self.close_connection = True
                return
            status, kind, body = answered
            self.send_response(status)
            self.send_header("Content-Type", kind)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body.encode())))
            if status == 307:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = respond

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{serving.server_address[1]}"
        finally:
            serving.shutdown()
            thread.join()


class TheClient(unittest.TestCase):
    def test_a_write_is_repeated_with_its_key_and_its_clock_until_it_is_answered(self) -> None:
        seen: list[tuple[str | None, str | None]] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str] | None:
            if request.command == "GET":
                return 200, "application/json", memory("t1")
            seen.append((request.headers["Idempotency-Key"], request.headers["If-Match"]))
            if len(seen) == 1:
                return None
            if len(seen) == 2:
                return 503, "application/problem+json", '{"code": "HS8076"}'
            return 200, "application/json", memory(f"t{len(seen)}")

        with server(answer) as address:
            client = Client(address)
            first = client.read("m")
            self.assertEqual(client.update("m", content="tea").memory.clock, "t3")
            self.assertEqual({key for key, _ in seen[:3]}, {seen[0][0]})
            self.assertEqual([clock for _, clock in seen], ['"t1"'] * 3)
            client.update("m", content="tea")
            client.update(first, content="tea", idempotency_key="mine")
            client.delete(first)
            client.update("m", content="tea")
        self.assertEqual([clock for _, clock in seen[3:]], ['"t3"', '"t1"', '"t1"', None])
        self.assertEqual(seen[4][0], "mine")
        self.assertEqual(len({key for key, _ in seen}), 5)

    def test_no_error_has_the_token(self) -> None:
        def quotes(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            said = request.headers["Authorization"]
            return 403, "application/problem+json", json.dumps({"code": "HS6512", "title": said, "detail": said})

        def errors() -> Iterator[NodeError]:
            with server(quotes) as address:
                for token in (TOKEN, TOKEN + "\n"):
                    with self.assertRaises(NodeError) as caught:
                        Client(address, token=token).read("m")
                    yield caught.exception
            with server(lambda _: None) as address, self.assertRaises(Unanswered) as broken:
                Client(address, token=TOKEN, attempts=1).read("m")
            yield broken.exception
            for address in (f"http://user:{TOKEN}@127.0.0.1:1", f"http://user:{TOKEN}@127.0.0.1:port"):
                with self.assertRaises(InvalidRequest) as refused:
                    Client(address)
                yield refused.exception

        for error in errors():
            self.assertNotIn(TOKEN, f"{error} {error!r} {error.__cause__!r}")
        self.assertNotIn(TOKEN, repr(Client(token=TOKEN)))

    def test_a_token_follows_no_redirect(self) -> None:
        paths: list[str] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            paths.append(request.path)
            return 307, "text/plain", "elsewhere"

        with server(answer) as address, self.assertRaises(Problem) as caught:
            Client(address, token=TOKEN).read("m")
        self.assertEqual((caught.exception.status, paths), (307, ["/v1/memories/m"]))

    def test_an_attempt_ends(self) -> None:
        ends = threading.Event()

        def answer(_: BaseHTTPRequestHandler) -> None:
            ends.wait()

        with server(answer) as address:
            try:
                with self.assertRaises(Unanswered) as caught:
                    Client(address, timeout=0.01, attempts=2).update("m", content="tea")
            finally:
                ends.set()
        self.assertEqual(caught.exception.attempts, 2)
        self.assertIsNotNone(caught.exception.idempotency_key)
        with self.assertRaises(Unanswered) as refused:
            Client("http://127.0.0.1:1", attempts=1).status()
        self.assertIsNone(refused.exception.idempotency_key)

    def test_a_refusal_does_not_hide_an_earlier_attempt_without_an_answer(self) -> None:
        for status, code, is_open in (
            (503, "HS8076", True),
            (401, "HS6511", True),
            (504, "", True),
            (409, "HS8068", False),
            (422, "HS8070", False),
        ):
            answers: list[tuple[int, str, str] | None] = [None, (status, "application/problem+json", json.dumps({"code": code}))]
            with server(lambda _: answers.pop(0)) as address, self.assertRaises(NodeError) as caught:
                Client(address, attempts=2).update("m", content="tea")
            error = caught.exception
            self.assertEqual(isinstance(error, Unanswered), is_open, status)
            problem = error.__cause__ if isinstance(error, Unanswered) else error
            assert isinstance(problem, Problem)
            self.assertEqual(problem.status, status)
        body = json.dumps({"code": "HS8076"})
        with server(lambda _: (503, "application/problem+json", body)) as address, self.assertRaises(Problem):
            Client(address, attempts=2).update("m", content="tea")

    def test_a_problem_is_of_a_kind_and_encloses_the_memory(self) -> None:
        kinds = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 410: NotFound, 422: Problem}
        for status, kind in kinds.items():
            document = json.dumps({"code": "HS8068", "title": "t", "detail": "d"} | json.loads(memory("now")))
            with server(lambda _: (status, "application/problem+json", document)) as address:
                with self.assertRaises(Problem) as caught:
                    Client(address).update("m", content="tea")
            enclosed = caught.exception.memory
            self.assertIs(type(caught.exception), kind)
            self.assertEqual((caught.exception.code, enclosed and enclosed.clock), ("HS8068", "now"))
        with server(lambda _: (500, "text/html", "<p>")) as address, self.assertRaises(Problem) as proxy:
            Client(address).read("m")
        self.assertEqual(str(proxy.exception), "the node answers with status 500")

    def test_ids_and_texts_arrive_as_they_are(self) -> None:
        paths: list[str] = []

        def answer(request: BaseHTTPRequestHandler) -> tuple[int, str, str]:
            paths.append(request.path)
            return 200, "application/json", memory("t")

        with server(answer) as address:
            client = Client(address)
            for memory_id in ("search", "a/b?c#d", "ü %"):
                client.read(memory_id)
            for memory_id in ("", ".", "..", "\ud800"):
                with self.assertRaises(InvalidRequest):
                    client.read(memory_id)
            with self.assertRaises(InvalidRequest):
                client.update("m", content="\ud800")
            with self.assertRaises(InvalidRequest):
                client.update("m", importance=float("nan"))
            with self.assertRaises(InvalidRequest):
                client.update("m", content="tea", idempotency_key="a\nb")
        self.assertEqual(paths, ["/v1/memories/%73earch", "/v1/memories/a%2Fb%3Fc%23d", "/v1/memories/%C3%BC%20%25"])

    def test_what_is_no_node_is_an_error(self) -> None:
        for body in ("[]", "{}", "<p>", '{"clock": "t", "pending": false, "memory": {}}'):
            with server(lambda _: (200, "application/json", body)) as address, self.assertRaises(NodeError):
                Client(address).read("m")


if __name__ == "__main__":
    unittest.main()
