"""What can go wrong. No text of an error has the token."""

from ._model import Memory


class NodeError(Exception):
    """Any error of this client."""


class InvalidRequest(NodeError, ValueError):
    """What the caller wants to send cannot be sent. This attempt has sent nothing."""


class Unanswered(NodeError):
    """No answer of the node has arrived that says what has become of the request. A write may have
    been accepted: the same write with the same `idempotency_key` is accepted once. `__cause__` is a
    `Problem` where the last attempt was refused, and an earlier one was not answered."""

    def __init__(self, method: str, attempts: int, idempotency_key: str | None, why: str) -> None:
        text = f"the node has not answered {method}, after {attempts} attempts: {why}"
        if idempotency_key is not None:
            text += "; the write may have been accepted: repeat it with the same idempotency key"
        super().__init__(text)
        self.attempts = attempts
        self.idempotency_key = idempotency_key


class Problem(NodeError):
    """An error that the node has answered. `code` is that of `helixstream explain CODE`; it is empty
    where a proxy has answered instead. `memory` is the memory as the node shows it now, where the
    answer encloses it."""

    def __init__(self, status: int, code: str = "", title: str = "", detail: str = "", memory: Memory | None = None) -> None:
        named = f" ({code})" if code else ""
        super().__init__(": ".join(part for part in (f"the node answers with status {status}{named}", title, detail) if part))
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.memory = memory
        self.retry_after = 0.0
        """How many seconds the node asks to wait."""

    def may_pass(self) -> bool:
        """Whether the same request may succeed later. A 502 with a code is the node's own: the event
        has failed for ever."""
        return self.status in (429, 503, 504) or (self.status == 502 and not self.code)

    def is_of_proxy(self) -> bool:
        """Whether a proxy has answered that it has no answer of the node."""
        return self.status in (502, 504) and not self.code

    def knows_key(self) -> bool:
        """Whether the node has looked for the idempotency key of the request before it answered: then
        no earlier attempt was accepted."""
        return self.status in (404, 409, 410, 422) and bool(self.code)


class Unauthorized(Problem):
    """401: no valid token."""


class Forbidden(Problem):
    """403: the token lacks a right, or is bound to other users."""


class NotFound(Problem):
    """404 and 410: there is no such memory that the token may see, or it was deleted or merged."""


class Conflict(Problem):
    """409: the caller has not seen the latest write of this node to the memory, or creates a memory
    that is there. `memory` is what the node shows now."""


KINDS: dict[int, type[Problem]] = {401: Unauthorized, 403: Forbidden, 404: NotFound, 409: Conflict, 410: NotFound}
