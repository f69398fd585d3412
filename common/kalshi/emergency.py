"""The emergency stop by our own hand: cancel everything on the account and prove it, without any process. Pure.

Proven is: after the exchange acknowledged a cancel of everything, its list of resting orders was empty twice, and
before each of the two readings it said that its account data were younger than that acknowledgement, by its own clock.
What still rests is cancelled again. An answer that tells nothing (none, 429, 5xx, one that cannot be read) is asked for
again until the time is up; a key that is refused is not.

The conversation is a generator: it yields a call and receives what came of it, or yields a pause. It spends only the
part of the rate budget that no process of the group uses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Literal, NamedTuple

from common.clock import NS_PER_MS, NS_PER_S, Now
from common.errors import Expected, WireError
from common.kalshi import calls
from common.kalshi.budget import Budget
from common.kalshi.calls import Call
from common.kalshi.order_writes import CANCEL_PERCENT, ORDER_PERCENT
from common.kalshi.outcomes import Answer, DefiniteReject, NoAnswer, Ok, read_outcome, write_outcome
from common.kalshi.paging import Pager
from common.kalshi.reading import Pause
from common.kalshi.types import OrderReport

READINGS_NEEDED = 2
WRITE_PERCENT = 100 - ORDER_PERCENT - CANCEL_PERCENT
READ_PERCENT = 10  # what the registry leaves of the reads
BETWEEN_READINGS_NS = 500 * NS_PER_MS
AGAIN_NS, AGAIN_MAX_NS = 250 * NS_PER_MS, 4 * NS_PER_S
REFUSALS_MAX = 3  # of the key, in a row

_KEY_REFUSED = frozenset({401, 403})

Step = Call[Any] | Pause
Steps = Generator[Step, Any, Any]
Code = Literal["proven", "unproven", "unauthorised", "refused"]


class Verdict(NamedTuple):
    """What came of it."""

    code: Code
    detail: str


class _Ended(Expected):
    """It cannot go on."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.verdict = Verdict(code, detail)


class EmergencyStop:
    """One emergency stop of a subaccount; `say` is told what it does, `may_cancel` is False in observe mode."""

    def __init__(
        self,
        subaccount: int,
        clock: Callable[[], Now],
        say: Callable[[str], None],
        patience_ns: int,
        may_cancel: bool = True,
    ) -> None:
        self._subaccount = subaccount
        self._clock = clock
        self._say = say
        self._may_cancel = may_cancel
        now_ns = clock().mono_ns
        self._until_ns = now_ns + patience_ns
        self._budget = Budget(now_ns, read_percent=READ_PERCENT, write_percent=WRITE_PERCENT)
        self._last_trouble = ""

    def talk(self) -> Generator[Step, Answer | NoAnswer | None, Verdict]:
        """Cancel and read until it is proven that nothing rests, or cannot be."""
        try:
            while True:
                since_ns = yield from self._cancel_all() if self._may_cancel else self._present_time()
                resting = yield from self._read_twice(since_ns)
                if not resting:
                    after = "after the cancel of everything" if self._may_cancel else "with nothing sent"
                    return Verdict("proven", f"nothing rests: read twice {after}")
                if not self._may_cancel:
                    return Verdict("refused", f"{resting} resting on the account, and mode observe cancels nothing")
                self._say(f"{resting} still resting: cancelling everything again")
                self._last_trouble = f"{resting} resting when the orders were last read"
        except _Ended as ended:
            return ended.verdict

    # --- steps ---

    def _cancel_all(self) -> Steps:
        """Cancel everything; return the exchange's time by which that was done."""
        self._say("cancelling everything on the account")
        _, answer = yield from self._ask(calls.cancel_all(self._subaccount))
        return self._time_of(answer)

    def _present_time(self) -> Steps:
        _, answer = yield from self._ask(calls.user_data_timestamp())
        return self._time_of(answer)

    def _time_of(self, answer: Answer) -> int:
        """Return a time that is surely not before an answer, by the exchange's clock where it told it."""
        if answer.date_wall_ns is not None:
            return answer.date_wall_ns + NS_PER_S  # its stamp has whole seconds
        return self._clock().wall_ns

    def _read_twice(self, since_ns: int) -> Steps:
        """Return how many orders rest: 0 only if two readings, both of later than this, show none."""
        for reading in range(1, READINGS_NEEDED + 1):
            yield from self._wait_for_data(since_ns)
            resting = yield from self._resting()
            if resting:
                return resting
            self._say(f"nothing rests ({reading} of {READINGS_NEEDED} readings)")
            if reading < READINGS_NEEDED:
                yield Pause(BETWEEN_READINGS_NS)
        return 0

    def _wait_for_data(self, since_ns: int) -> Steps:
        while True:
            as_of_ns, _ = yield from self._ask(calls.user_data_timestamp())
            if as_of_ns > since_ns:
                return
            self._last_trouble = "the exchange's account data stay older than the cancel"
            yield Pause(AGAIN_NS)

    def _resting(self) -> Steps:
        """Return how many orders rest, after reading the whole list."""
        while True:
            pager: Pager[OrderReport] = Pager(lambda row: row.order_id)
            cursor = ""
            try:
                while True:
                    call = calls.orders(status="resting", subaccount=self._subaccount, cursor=cursor)
                    page, _ = yield from self._ask(call)
                    cursor = pager.add(page)
                    if not cursor:
                        return len(pager.items)
            except WireError as error:
                yield from self._trouble(f"the list of orders: {error}", AGAIN_NS)

    # --- one call ---

    def _ask(self, call: Call[Any]) -> Steps:
        """Send until there is a usable answer; return its value and itself."""
        refusals, again_ns = 0, AGAIN_NS
        while True:
            yield from self._pay(call)
            answer = yield call
            outcome = write_outcome(answer, call.parse) if call.write else read_outcome(answer, call.parse)
            if isinstance(outcome, Ok):
                return outcome.value, answer
            words = f"{call.method} {call.path}: {_why(outcome)}"
            is_refused = isinstance(outcome, DefiniteReject) and outcome.status in _KEY_REFUSED
            refusals = refusals + 1 if is_refused else 0
            if refusals == REFUSALS_MAX:
                raise _Ended("unauthorised", words)
            if getattr(outcome, "rate_limited", False):
                self._budget.refused(call.method, call.path, self._clock().mono_ns)
            yield from self._trouble(words, again_ns)
            again_ns = min(AGAIN_MAX_NS, 2 * again_ns)

    def _pay(self, call: Call[Any]) -> Steps:
        """Wait for the tokens that a call costs; one that our part could never pay is sent all the same."""
        self._check_time()
        now_ns = self._clock().mono_ns
        wait_ns = self._budget.wait_ns(call.method, call.path, now_ns)
        if wait_ns:
            yield Pause(wait_ns)
            self._check_time()
        self._budget.take(call.method, call.path, self._clock().mono_ns)

    def _trouble(self, words: str, again_ns: int) -> Steps:
        self._last_trouble = words
        self._say(f"{words}; asking again")
        yield Pause(again_ns)

    def _check_time(self) -> None:
        if self._clock().mono_ns >= self._until_ns:
            raise _Ended("unproven", f"it is not proven that nothing rests: {self._last_trouble or 'no time was left'}")


def _why(outcome: object) -> str:
    if isinstance(outcome, DefiniteReject):
        return f"HTTP {outcome.status} {outcome.code} {outcome.message}".strip() if outcome.status else outcome.message
    return str(getattr(outcome, "reason", outcome))
