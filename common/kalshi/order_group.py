"""Our order group on each shard: the exchange's own brake, which works although we are dead. Pure.

One group per shard is made when it is first needed and kept in the journal. When it triggers, the exchange cancels its
orders and takes no new ones until it is reset; only the coordinator asks for that. It hears of triggers from here: the
private stream names no shard, tells of everybody's groups, and may be down when ours triggers. A group that the
exchange does not know any more, or that has another limit than the settings, is replaced by a new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.clock import NS_PER_S
from common.effects import Answer, Effect, Publish
from common.kalshi import calls
from common.kalshi import outcomes as told
from common.messages import Brake, Done, OrderGroup
from common.trading.order_keeper import GroupNoted
from common.units import QTY_ONE_E2

if TYPE_CHECKING:
    from common.kalshi.order_writes import OrderWrites

TRY_AGAIN_NS = 2 * NS_PER_S
GROUP_GONE, GROUP_TRIGGERED = "order_group_not_found", "order_group_triggered"
NOT_FOUND = 404


class Making(msgspec.Struct, frozen=True):
    """A group is being made."""

    shard: int


class Resetting(msgspec.Struct, frozen=True):
    """A triggered group is being reset, for everybody who asked."""

    shard: int
    tokens: tuple[str, ...]


Grouping = Making | Resetting


class GroupDesk:
    """Makes, remembers and resets the groups."""

    def __init__(self, writes: OrderWrites) -> None:
        self.writes = writes
        self._wanted: dict[int, int] = {}  # shards without a group -> when to try (again)
        self._resets: dict[int, tuple[str, ...]] = {}  # shards to reset -> who asked
        self._under_way: dict[int, None] = {}  # shards
        self._told: dict[int, Brake] = {}

    @property
    def limit(self) -> int:
        """The contracts that a group may fill within 15 s."""
        return self.writes.executor.settings.limits.group_qty_e2 // QTY_ONE_E2

    def _group(self, shard: int) -> GroupNoted:
        return self.writes.executor.keeper.groups.get(shard) or GroupNoted(shard=shard, group_id="")

    def group_id(self, shard: int) -> str:
        """Return our group on a shard, or '' while there is none."""
        return self._group(shard).group_id

    def refusal(self, shard: int) -> str:
        """Return why no order may join the group now, or ''; a missing group is made on the way."""
        group = self._group(shard)
        if group.triggered:
            return "our order group is triggered"
        if not group.group_id or group.limit != self.limit:
            self._wanted.setdefault(shard, 0)
            return "our order group is not made yet"
        return ""

    def note_rejection(self, shard: int, code: str) -> list[Effect]:
        """Learn from a rejected order what became of its group."""
        group = self._group(shard)
        if code == GROUP_GONE:
            return self._note_gone(shard)
        if code == GROUP_TRIGGERED and group.group_id:
            return self._note_triggered(group)
        return []

    def _note_triggered(self, group: GroupNoted) -> list[Effect]:
        triggers = group.triggers + (not group.triggered)
        return self._note(msgspec.structs.replace(group, triggered=True, triggers=triggers))

    def _note_gone(self, shard: int) -> list[Effect]:
        self._wanted.setdefault(shard, 0)
        return self._note(msgspec.structs.replace(self._group(shard), group_id="", triggered=False))

    def _note(self, group: GroupNoted) -> list[Effect]:
        return self.writes.executor.keeper.note_group(group)

    def on_event(self, event: OrderGroup) -> list[Effect]:
        """Take the private stream's word about a group."""
        groups = self.writes.executor.keeper.groups
        ours = next((group for group in groups.values() if group.group_id == event.group_id), None)
        if ours is None or event.number <= ours.number:
            return []
        heard = msgspec.structs.replace(ours, number=event.number)
        match event.event_type:
            case "triggered":
                return self._note_triggered(heard)
            case "reset":
                return self._note(msgspec.structs.replace(heard, triggered=False))
            case "deleted":
                return self._note(msgspec.structs.replace(heard, group_id="", triggered=False))
        return []

    def reset(self, shard: int, token: str) -> list[Effect]:
        """Reset a triggered group, for the coordinator; it is answered when the exchange has answered."""
        if not self.group_id(shard):
            return [Answer(token=token, reply=Done(success=False, code="no_group", detail="no order group yet"))]
        self._resets[shard] = (*self._resets.get(shard, ()), token)
        return []

    def tell(self) -> list[Effect]:
        """Publish what became of our groups, if it is news."""
        effects: list[Effect] = []
        for shard, group in self.writes.executor.keeper.groups.items():
            brake = Brake(
                shard=shard, group_id=group.group_id, limit=group.limit, triggered=group.triggered,
                triggers=group.triggers,
            )  # fmt: skip
            if self._told.get(shard) != brake:
                self._told[shard] = brake
                effects.append(Publish(topic="brake", key=str(shard), message=brake))
        return effects

    @property
    def is_waiting(self) -> bool:
        """Say whether something is wanted that could not be sent yet."""
        return bool(self._resets or self._wanted)

    def tend(self) -> list[Effect]:
        """Send what is wanted, as far as the budget allows: what has no token waits for the next turn."""
        writes, subaccount = self.writes, self.writes.subaccount
        effects: list[Effect] = []
        for shard, tokens in list(self._resets.items()):
            reset = calls.change_group(self.group_id(shard), "reset", subaccount, shard)
            if shard not in self._under_way and writes.pay(reset):
                del self._resets[shard]
                self._under_way[shard] = None
                effects.append(writes.caller.send(reset, Resetting(shard, tokens)))
        for shard, at_ns in self._wanted.items() if writes.executor.around.is_trading else ():
            create = calls.create_group(self.limit, subaccount, shard)
            if shard not in self._under_way and writes.executor.now.mono_ns >= at_ns and writes.pay(create):
                self._under_way[shard] = None
                effects.append(writes.caller.send(create, Making(shard)))
        return effects

    def answered(self, context: Grouping, outcome: told.WriteOutcome[object]) -> list[Effect]:
        """Take the answer to a create or a reset."""
        shard = context.shard
        self._under_way.pop(shard, None)
        if isinstance(context, Resetting):
            return self._reset_answered(context, outcome)
        if not isinstance(outcome, told.Ok):
            self._wanted[shard] = self.writes.executor.now.mono_ns + TRY_AGAIN_NS
            return []
        self._wanted.pop(shard, None)
        made = msgspec.structs.replace(
            self._group(shard), group_id=str(outcome.value), limit=self.limit, triggered=False
        )
        return self._note(made)

    def _reset_answered(self, context: Resetting, outcome: told.WriteOutcome[object]) -> list[Effect]:
        if isinstance(outcome, told.Ok):
            effects = self._note(msgspec.structs.replace(self._group(context.shard), triggered=False))
            done = Done(success=True, detail="reset")
        elif isinstance(outcome, told.DefiniteReject) and outcome.status == NOT_FOUND:
            effects = self._note_gone(context.shard)
            done = Done(success=True, detail="the exchange does not know the group any more; a new one is made")
        else:
            effects = []
            done = Done(success=False, code="exchange", detail=str(outcome))
        return effects + [Answer(token=token, reply=done) for token in context.tokens]
