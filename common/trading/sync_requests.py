"""What tracking asks of sync: fills that it may have missed, and a round sooner than the next periodic one. Pure."""

from __future__ import annotations

from collections.abc import Callable

from common.clock import NS_PER_S, Now
from common.effects import Ask, Effect
from common.messages import Backfill, BackfillReply, ReadFill, SyncNow

BACKFILL_OVERLAP_NS = 60 * NS_PER_S
BACKFILL_TIMEOUT_NS = 20 * NS_PER_S
BACKFILL_PAUSE_NS = NS_PER_S  # after one that failed
ROUND_TIMEOUT_NS = 40 * NS_PER_S
ROUND_PAUSE_NS = 5 * NS_PER_S  # between two rounds asked for
ROUND_PATIENCE_NS = NS_PER_S  # a calibration that begins meanwhile has its own round; two cost it a second


class Backfills:
    """From when on fills must be read again: one request at a time, and none is forgotten before it is answered."""

    def __init__(self) -> None:
        self.asked = 0
        self._since_wall_ns: int | None = None  # wanted and not asked for yet
        self._asking_since_ns: int | None = None
        self.request_id = ""  # of the one under way
        self._not_before_ns = 0

    @property
    def under_way(self) -> bool:
        """Say whether an answer is awaited."""
        return self.request_id != ""

    def want(self, since_wall_ns: int) -> None:
        """Want the fills since then, with an overlap."""
        since_ns = since_wall_ns - BACKFILL_OVERLAP_NS
        self._since_wall_ns = since_ns if self._since_wall_ns is None else min(self._since_wall_ns, since_ns)

    def ask(self, new_id: Callable[[], str], now: Now) -> list[Effect]:
        """Return the request, if one is wanted and none is under way."""
        if self._since_wall_ns is None or self.under_way or now.mono_ns < self._not_before_ns:
            return []
        self.request_id, self._asking_since_ns, self._since_wall_ns = new_id(), self._since_wall_ns, None
        self.asked += 1
        request = Backfill(since_wall_ns=self._asking_since_ns, reason="fills that may have been missed")
        return [Ask(request_id=self.request_id, owner="sync", request=request, timeout_ns=BACKFILL_TIMEOUT_NS)]

    def take(self, request_id: str, reply: BackfillReply | None, now: Now) -> tuple[ReadFill, ...]:
        """Return the fills read; without a good answer the same is wanted again."""
        if request_id != self.request_id:
            return ()
        asked_since_ns, self.request_id, self._asking_since_ns = self._asking_since_ns, "", None
        if reply is not None and not reply.error:
            return reply.fills
        assert asked_since_ns is not None
        self.want(asked_since_ns + BACKFILL_OVERLAP_NS)
        self._not_before_ns = now.mono_ns + BACKFILL_PAUSE_NS
        return ()


class Rounds:
    """Rounds of reconciliation that are wanted sooner than the next periodic one."""

    def __init__(self) -> None:
        self.asked = 0
        self._reason = ""
        self._patient_since_ns: int | None = None  # a round that begins after this will do as well
        self._request_id = ""
        self._not_before_ns = 0

    def want(self, reason: str) -> None:
        """Want a round; it will begin after now."""
        self._reason, self._patient_since_ns = reason, None

    def want_unless_one_comes(self, reason: str, now: Now) -> None:
        """Want a round that begins after now; it is only asked for if nobody else's comes soon."""
        if not self._reason:
            self._reason, self._patient_since_ns = reason, now.mono_ns

    def note_round(self, sent_mono_ns: int) -> None:
        """Take note of a complete round, whoever asked for it."""
        if self._patient_since_ns is not None and sent_mono_ns >= self._patient_since_ns:
            self._reason, self._patient_since_ns = "", None

    def ask(self, new_id: Callable[[], str], now: Now) -> list[Effect]:
        """Return the request, if a round is wanted, none is under way and the last one is not too near."""
        if not self._reason or not self.may_ask(now):
            return []
        if self._patient_since_ns is not None and now.mono_ns < self._patient_since_ns + ROUND_PATIENCE_NS:
            return []
        self._request_id, reason, self._reason, self._patient_since_ns = new_id(), self._reason, "", None
        self._not_before_ns = now.mono_ns + ROUND_PAUSE_NS
        self.asked += 1
        request = SyncNow(reason=reason)
        return [Ask(request_id=self._request_id, owner="sync", request=request, timeout_ns=ROUND_TIMEOUT_NS)]

    def may_ask(self, now: Now) -> bool:
        """Say whether a round that is wanted now would be asked for now."""
        return not self._request_id and now.mono_ns >= self._not_before_ns

    def answered(self, request_id: str) -> None:
        """Take note that the request is over, however it ended: its result is published to everybody."""
        if request_id == self._request_id:
            self._request_id = ""
