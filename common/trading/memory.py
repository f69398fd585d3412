"""What the coordinator remembers on disk. Pure: it makes the records, the shell writes them.

The whole is small, so every record is all of it and the last one counts.
"""

from __future__ import annotations

import msgspec

from common.effects import Checkpoint, Effect, Persist
from common.messages import Intent
from common.trading.day import Day
from common.trading.restoring import take_back

NUMBERS_AHEAD = 1_000  # action numbers reserved at a time, so that none is ever used twice, whatever is lost
RECORDS_MAX = 2_000  # then the journal is replaced by its last record


class Remembered(msgspec.Struct, kw_only=True):
    """Everything that must survive."""

    intent: Intent
    intent_reason: str = ""
    tries: int = 0
    numbers_reserved: int = 0
    unexplained_usd_e6: int = 0  # a cash difference that waits for the operator
    drift_wall_ns: list[int] = []  # confirmed position drifts of the last hour
    drifts_standing_e2: dict[str, int] = {}  # ticker -> confirmed and counted, and nobody corrects it
    group_trip_wall_ns: list[int] = []  # triggers of our order group in the last hour
    group_resets_wall_ns: dict[int, int] = {}  # shard -> when to reset its triggered order group
    triggers_heard: dict[int, int] = {}  # shard -> triggers of our order group that were acted on
    day: Day = msgspec.field(default_factory=Day)


class Memory:
    """The remembered facts, and their journal."""

    def __init__(self, journal_id: str, first_intent: Intent, records: tuple[bytes, ...]) -> None:
        self.journal_id = journal_id
        self.facts = Remembered(intent=first_intent)
        take_back(records, self._take_back)
        self._records = len(records)
        self._last_number = self.facts.numbers_reserved  # those of an earlier life are never used again

    def _take_back(self, record: bytes) -> None:
        self.facts = msgspec.json.decode(record, type=Remembered)

    def keep(self, sync: bool = True) -> Effect:
        """Return the effect that puts the facts, as they are now, on disk."""
        record = msgspec.json.encode(self.facts)
        self._records += 1
        if self._records >= RECORDS_MAX:
            self._records = 1
            return Checkpoint(record=record)
        return Persist(record=record, sync=sync)

    def reserve(self) -> list[Effect]:
        """Reserve more action numbers when they run low."""
        if self.facts.numbers_reserved - self._last_number > NUMBERS_AHEAD // 10:
            return []
        self.facts.numbers_reserved += NUMBERS_AHEAD
        return [self.keep()]

    def mint(self) -> str:
        """Return a new action id: the client order id, used for ever."""
        assert self._last_number < self.facts.numbers_reserved
        self._last_number += 1
        return f"t2-{self.journal_id}-{self._last_number}"
