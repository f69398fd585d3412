"""Our order group on each shard: the exchange's own brake, which works although we are dead. Pure.

One group per shard is made when it is first needed and kept in the journal. When it triggers, the exchange cancels its
orders and takes no new ones until it is reset; only the coordinator asks for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.clock import NS_PER_S
from common.effects import Answer, Effect
from common.kalshi import calls
from common.kalshi import outcomes as told
from common.messages import Done, OrderGroup
from common.trading.order_keeper import GroupNoted
from common.units import QTY_ONE_E2

if TYPE_CHECKING:
    from common.kalshi.order_writes import OrderWrites

TRY_AGAIN_NS = 2 * NS_PER_S
GROUP_CODES = frozenset({"order_group_not_found"})


class Grouping(msgspec.Struct, frozen=True):
    """Something about our order group is under way."""

    shard: int
    what: str
    token: str


class GroupDesk:
    """Makes, remembers and resets the groups."""

    def __init__(self, writes: OrderWrites) -> None:
        self.writes = writes
        self._wanted: dict[int, int] = {}  # shard -> when to try (again)
        self._under_way: set[int] = set()

    def group_id(self, shard: int) -> str:
        """Return our group on a shard, or '' while there is none."""
        group = self.writes.executor.keeper.groups.get(shard)
        return group.group_id if group is not None else ""

    def refusal(self, shard: int) -> str:
        """Return why no order may join the group now, or ''; a missing group is made on the way."""
        group = self.writes.executor.keeper.groups.get(shard)
        if group is None or not group.group_id:
            self._wanted.setdefault(shard, 0)
            return "our order group is not made yet"
        return "our order group is triggered" if group.triggered else ""

    def note_rejection(self, shard: int, code: str) -> None:
        """Learn from a rejection that the group is gone, so that a new one is made."""
        if code in GROUP_CODES:
            self.writes.executor.keeper.groups.pop(shard, None)
            self._wanted.setdefault(shard, 0)

    def on_event(self, event: OrderGroup) -> list[Effect]:
        """Take the private stream's word about a group."""
        keeper = self.writes.executor.keeper
        ours = next((group for group in keeper.groups.values() if group.group_id == event.group_id), None)
        if ours is None or event.event_type not in ("triggered", "reset") or event.number <= ours.number:
            return []
        triggered = event.event_type == "triggered"
        return keeper.note_group(msgspec.structs.replace(ours, triggered=triggered, number=event.number))

    def tend(self) -> list[Effect]:
        """Make the groups that are wanted."""
        now_ns = self.writes.executor.now.mono_ns
        effects: list[Effect] = []
        for shard, at_ns in list(self._wanted.items()):
            if shard in self._under_way or now_ns < at_ns:
                continue
            limit = self.writes.executor.settings.limits.group_qty_e2 // QTY_ONE_E2
            call = calls.create_group(limit, self.writes.subaccount, shard)
            effects += self._send(call, shard, "create", "")
        return effects

    def reset(self, shard: int, token: str) -> list[Effect]:
        """Reset a triggered group, for the coordinator."""
        group_id = self.group_id(shard)
        if not group_id:
            return [Answer(token=token, reply=Done(success=False, code="no_group", detail="no order group yet"))]
        call = calls.change_group(group_id, "reset", self.writes.subaccount, shard)
        return self._send(call, shard, "reset", token)

    def _send(self, call: calls.Call[object], shard: int, what: str, token: str) -> list[Effect]:
        if not self.writes.order_budget.take(call.method, call.path, self.writes.executor.now.mono_ns):
            self._wanted[shard] = self.writes.executor.now.mono_ns + TRY_AGAIN_NS
            return []
        self._under_way.add(shard)
        return [self.writes.caller.send(call, Grouping(shard, what, token))]

    def answered(self, context: Grouping, outcome: told.WriteOutcome[object]) -> list[Effect]:
        """Take the answer to a create or a reset."""
        self._under_way.discard(context.shard)
        keeper = self.writes.executor.keeper
        if isinstance(outcome, told.Ok):
            self._wanted.pop(context.shard, None)
            before = keeper.groups.get(context.shard, GroupNoted(shard=context.shard, group_id=""))
            group_id = str(outcome.value) if context.what == "create" else before.group_id
            effects = keeper.note_group(msgspec.structs.replace(before, group_id=group_id, triggered=False))
            return effects + self._done(context.token, Done(success=True, detail=f"{context.what} done"))
        if context.what == "create":
            self._wanted[context.shard] = self.writes.executor.now.mono_ns + TRY_AGAIN_NS
        return self._done(context.token, Done(success=False, code="exchange", detail=str(outcome)))

    def _done(self, token: str, done: Done) -> list[Effect]:
        return [Answer(token=token, reply=done)] if token else []
