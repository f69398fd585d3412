"""Between a core and its `RestCall` effects: sends calls out under an id and finds them again when the answer comes.

Pure. A core hands in a `Call` with whatever it wants to remember about it, and gets both back with the answer; what
that answer proves is for `outcomes` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from common.effects import RestCall, RestFailure, RestReply
from common.kalshi.calls import Call
from common.kalshi.outcomes import Answer, NoAnswer

Context = TypeVar("Context")


class Caller(Generic[Context]):
    """The calls of one core that are under way."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._number = 0
        self._under_way: dict[str, tuple[Call[Any], Context]] = {}

    def __len__(self) -> int:
        return len(self._under_way)

    def contexts(self) -> Iterator[Context]:
        """Yield what is remembered of the calls under way."""
        return (context for _, context in self._under_way.values())

    def send(
        self, call: Call[Any], context: Context, timeout_ns: int | None = None, leave_by_mono_ns: int | None = None
    ) -> RestCall:
        """Return the effect that sends a call; its answer comes back with `context`."""
        self._number += 1
        call_id = f"{self._session}-{self._number}"
        self._under_way[call_id] = (call, context)
        return RestCall(
            call_id=call_id, method=call.method, path=call.path, query=call.query, body=call.body, write=call.write,
            timeout_ns=timeout_ns, leave_by_mono_ns=leave_by_mono_ns,
        )  # fmt: skip

    def take(self, message: RestReply | RestFailure) -> tuple[Call[Any], Context, Answer | NoAnswer] | None:
        """Return the call, its context and the answer; None for a call of an earlier life."""
        known = self._under_way.pop(message.call_id, None)
        if known is None:
            return None
        call, context = known
        if isinstance(message, RestFailure):
            failure = NoAnswer(
                maybe_sent=message.maybe_sent, reason=message.reason, signed_wall_ns=message.signed_wall_ns
            )
            return call, context, failure
        answer = Answer(
            status=message.status,
            body=message.body,
            sent_mono_ns=message.sent_mono_ns,
            received_mono_ns=message.received_mono_ns,
            signed_wall_ns=message.signed_wall_ns,
            date_wall_ns=message.date_wall_ns,
        )
        return call, context, answer
