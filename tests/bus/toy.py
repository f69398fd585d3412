"""Toy processes: small cores under the real runner, one role each, told by the environment what to do.

TOY=<behaviour> python -P -m tests.bus.toy ROLE   (the run directory comes from TRADER_RUN_DIR)
"""

from __future__ import annotations

import os
import random
import sys

import msgspec

from common import effects
from common.bus.runner import run
from common.clock import NS_PER_MS, Now
from common.effects import Answer, Asked, Core, Delivered, Effect, Log, Persist, Publish, Start, Wake, WakeAt
from common.errors import BrokenInvariant
from common.messages import Activity, Book, Done, GroupReset, Halt
from common.trading.restoring import take_back
from tests.bus.toy_events import FillOwner, FillReader


class Counted(msgspec.Struct, tag=True):
    """The toy's journal record."""

    count: int


class Toy:
    """Counts, journals what it counted, and misbehaves when told to."""

    def __init__(self, behaviour: str) -> None:
        self.behaviour = behaviour
        self.count = 0
        self.random = random.Random(0)
        self.process = ""

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        match message:
            case Start():
                return self._start(message, now)
            case Wake():
                return self._tick(now)
            case Asked(request=GroupReset()):
                return self._count(message.token)
            case Asked(request=Halt()):
                return self._misbehave(message)
            case effects.PeerUp() | effects.PeerGone() | effects.Latched() | effects.Unanswered() | effects.Answered():
                return [Log(level="info", event=type(message).__name__, fields={"what": str(message)})]
        return []

    def _start(self, start: Start, now: Now) -> list[Effect]:
        self.random = random.Random(start.entropy)
        take_back(start.restored, self._take_back)
        said = {"count": self.count, "latched": start.latched, "journal_id": start.journal_id}
        first: list[Effect] = [Log(level="info", event="counting", fields=dict(said)), WakeAt(mono_ns=now.mono_ns)]
        if self.behaviour == "crash":
            raise KeyError("told to crash")
        return first

    def _take_back(self, record: bytes) -> None:
        self.count = msgspec.json.decode(record, type=Counted).count

    def _tick(self, now: Now) -> list[Effect]:
        """Publish something that depends on everything a core is given."""
        draw = self.random.randrange(1_000)
        if self.behaviour == "feed":
            said = Book(ticker="T", fresh=True, updates=draw, received_mono_ns=now.mono_ns)
            return [Publish(topic="book", key="T", message=said), WakeAt(mono_ns=now.mono_ns + 20 * NS_PER_MS)]
        activity = Activity(process="toy", kind="tick", detail=str(draw), at_wall_ns=now.wall_ns)
        return [Publish(topic="activity", message=activity), WakeAt(mono_ns=now.mono_ns + 20 * NS_PER_MS)]

    def _count(self, token: str) -> list[Effect]:
        self.count += 1
        record = msgspec.json.encode(Counted(self.count))
        return [
            Persist(record=record, sync=True),
            Answer(token=token, reply=Done(success=True, detail=str(self.count))),
        ]

    def _misbehave(self, asked: Asked) -> list[Effect]:
        assert isinstance(asked.request, Halt)
        match asked.request.reason:
            case "die":
                return [effects.Die(reason="told to die", dump=b'{"what":"shows it"}')]
            case "assert":
                raise AssertionError("told to fail")
            case "broken":
                raise BrokenInvariant("told to break")
            case "crash":
                raise KeyError("told to crash")
            case "latch":
                return [effects.Latch(halted=True, reason="told to latch"), self._done(asked)]
            case "clear":
                return [effects.Latch(halted=False, reason="told to clear"), self._done(asked)]
        return [self._done(asked)]

    @staticmethod
    def _done(asked: Asked) -> Effect:
        return Answer(token=asked.token, reply=Done(success=True))

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return f"counted {self.count}", True

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {"count": self.count}


def build() -> Core:
    """Return the core that the environment asks for."""
    behaviour = os.environ.get("TOY", "")
    if behaviour == "owns fills":
        return FillOwner()
    return FillReader() if behaviour == "reads fills" else Toy(behaviour)


if __name__ == "__main__":
    role = sys.argv.pop(1)
    run(role, build)
