"""Journals whose records have the right checksums and the wrong content: another version's, or nobody's."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from common.errors import RecordDamaged
from common.messages import Intent
from common.trading.books_of_record import BooksOfRecord
from common.trading.memory import Memory
from common.trading.order_keeper import OrderKeeper
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target
from tests.fuzz.traffic import play
from tests.processes import coordinator_stage
from tests.processes.execution_stage import ExecutionStage, fill


def _attempts(records: list[bytes], restore: Callable[[tuple[bytes, ...]], Any]) -> Attempt:
    """Change one record: the owner refuses it by its place, or takes back something that it could have written."""

    def attempt(random: Random) -> str:
        changed = list(records)
        at = random.randrange(len(changed))
        changed[at] = mutate_json(random, json.loads(changed[at]))
        try:
            restore(tuple(changed))
        except RecordDamaged as error:
            assert at <= error.place < len(changed)
            assert len(str(error)) < 500
            return REFUSED
        return TAKEN

    return attempt


def _execution() -> Attempt:
    stage = ExecutionStage()
    stage.open_with_group()
    order = stage.rest_one(qty_e2=300)
    stage.give(fill(order, 100))
    stage.cancel()
    return _attempts(stage.journal, OrderKeeper)


def _tracking() -> Attempt:
    return _attempts(play().tracking.journal, BooksOfRecord)


def _coordinator() -> Attempt:
    stage = coordinator_stage.Stage().ready()
    return _attempts(stage.journal, lambda records: Memory("j", Intent.RUN, records))


TARGETS = (
    Target("execution's journal", _execution, 100),
    Target("tracking's journal", _tracking, 100),
    Target("coordinator's journal", _coordinator, 100),
)
