"""Whether the exchange answers, trades and lets us in, shard by shard, as the feed publishes it. Pure."""

from __future__ import annotations

import msgspec

from common.clock import NS_PER_S
from common.kalshi.clock_offset import ClockOffset
from common.kalshi.outcomes import Answer, DefiniteReject, NoAnswer, Ok, RetryableRead, status_outcome
from common.kalshi.types import ExchangeStatus, ShardStatus
from common.messages import Exchange

AUTH_STATUSES = (401, 403)
TOLD_EVERY_NS = 10 * NS_PER_S


class ExchangeWatch:
    """The last word of the status call, of the stream and of the reads."""

    def __init__(self) -> None:
        self.clock = ClockOffset()
        self.status: ExchangeStatus | None = None
        self.detail = "not asked yet"
        self.checked_wall_ns = 0
        self.stream_up = False
        self._refused: dict[str, str] = {}  # "stream" and "reads": why we are not let in
        self._published: dict[int, Exchange] = {}
        self._is_changed = True  # since `news` was last asked for
        self._told_offset_ms: float | None = None

    def note_status(self, answer: Answer | NoAnswer, wall_ns: int) -> None:
        """Take the answer of the status call. A refusal is an answer too: what was known of the exchange stays."""
        outcome = status_outcome(answer)
        self.checked_wall_ns = wall_ns
        self._is_changed = True
        match outcome:
            case Ok():
                self.status, self.detail = outcome.value, ""
            case DefiniteReject():
                self.detail = f"HTTP {outcome.status} {outcome.code}".rstrip()
            case RetryableRead(rate_limited=True):
                self.detail = outcome.reason
            case _:
                self.status, self.detail = None, outcome.reason

    def note_read(self, http_status: int) -> None:
        """Take the HTTP status of any read."""
        self._is_changed = True
        if http_status in AUTH_STATUSES:
            self._refused["reads"] = f"a read was refused with HTTP {http_status}"
        elif 200 <= http_status < 300:
            self._refused.pop("reads", None)

    def note_stream(self, is_up: bool, reason: str = "", http_status: int | None = None) -> None:
        """Take news of the market data stream."""
        self.stream_up = is_up
        self._is_changed = True
        if is_up:
            self._refused.pop("stream", None)
        elif http_status in AUTH_STATUSES:
            self._refused["stream"] = f"the market stream was refused: {reason}"

    @property
    def is_open(self) -> bool:
        """Say whether the exchange answers and any shard of it works."""
        return any(row.exchange_active for row in self._shards())

    @property
    def refusal(self) -> str:
        """Return why we are not let in, or ''."""
        return "; ".join(self._refused.values())

    def news(self) -> list[Exchange]:
        """Return the shards of which there is something new; nothing before anything is known.

        That nothing is new is told now and then.
        """
        if not self.checked_wall_ns and not self._refused:
            return []
        if not self._is_changed and self.clock.offset_ms() == self._told_offset_ms:
            return []
        self._is_changed, self._told_offset_ms = False, self.clock.offset_ms()
        found = [row for row in map(self._message, self._shards()) if self._is_news(row)]
        self._published.update({row.shard: row for row in found})
        return found

    def _is_news(self, row: Exchange) -> bool:
        before = self._published.get(row.shard)
        if before is None or row.checked_wall_ns - before.checked_wall_ns >= TOLD_EVERY_NS:
            return True
        return row != msgspec.structs.replace(before, checked_wall_ns=row.checked_wall_ns)

    def _shards(self) -> list[ShardStatus]:
        """Return every shard that was ever told of; what is not told of now does not work."""
        status = self.status
        told = {row.shard: row for row in status.shards} if status else {}
        if status is not None and not told:
            whole = ShardStatus(shard=0, exchange_active=status.exchange_active, trading_active=status.trading_active)
            told = {0: whole}
        known = sorted({*told, *self._published} or {0})
        silent = [ShardStatus(shard=shard, exchange_active=False, trading_active=False) for shard in known]
        return [told.get(row.shard, row) for row in silent]

    def _message(self, row: ShardStatus) -> Exchange:
        status = self.status
        return Exchange(
            shard=row.shard, reachable=status is not None, exchange_active=row.exchange_active,
            trading_active=row.trading_active, stream_up=self.stream_up, unauthorised=bool(self._refused),
            resume_wall_ns=(status.resume_ns or None) if status else None, clock_offset_ms=self.clock.offset_ms(),
            checked_wall_ns=self.checked_wall_ns, detail=self.refusal or self.detail,
        )  # fmt: skip
