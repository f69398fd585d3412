"""One process of a simulation: its core in this life, its disk over all lives, and what its shell remembers."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from common.cli.replay_inputs import CORES
from common.effects import Core, Delivered, Effect
from common.messages import Message
from common.paper.sessions import Session


class DiskFull(OSError):
    """The simulated disk takes no more."""


class Disk:
    """A journal on a disk: what was written outlives its process, what was synced outlives the machine."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.is_full = False
        self._synced = 0  # records that the machine's death cannot take away

    def append(self, record: bytes, sync: bool) -> None:
        """Write a record; raise `DiskFull`."""
        if self.is_full:
            raise DiskFull("no space left on the simulated disk")
        self.records.append(record)
        if sync:
            self._synced = len(self.records)

    def replace(self, record: bytes) -> None:
        """Put one record in the place of all; raise `DiskFull`."""
        if self.is_full:
            raise DiskFull("no space left on the simulated disk")
        self.records, self._synced = [record], 1

    def lose_unsynced(self, random: Random) -> int:
        """Lose what was not synced, or the last part of it; return how many records that were."""
        kept = random.randint(self._synced, len(self.records))
        lost = len(self.records) - kept
        del self.records[kept:]
        return lost


class Node:
    """A process. Without a core it is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.core: Core | None = None
        self.life = 0
        self.disk = Disk()
        self.crashes_ns: list[int] = []  # when it crashed lately
        self.trip: Callable[[Effect], bool] | None = None  # it is killed instead of an effect of which this is true
        self.trip_back_ns = 0  # and comes back after this time
        # stopped by a signal
        self.is_stalled = False
        self.is_missed = False  # the others have noticed
        self.deferred: list[Callable[[], None]] = []  # what its kernel keeps for it meanwhile
        # the shell
        self.inbox: list[Delivered] = []
        self.is_turn_due = False
        self.is_woken = False  # the time it asked for has come
        self.next_turn_ns = 0
        self.wake_ns: int | None = None
        self.started_wall_ns = 0
        # the bus
        self.retained: dict[tuple[str, str], Message] = {}  # its own states
        self.heard: dict[tuple[str, str], str] = {}  # states of others -> the session that told
        self.positions: dict[str, int] = {}  # durable topics -> number of the last event delivered
        self.numbers: dict[str, int] = {}  # its own durable topics -> number of the last event published
        self.waiting: dict[str, str] = {}  # request id -> owner
        # the link
        self.sessions: dict[str, tuple[int, Session]] = {}  # stream -> connection, session

    @property
    def session(self) -> str:
        """The id of this life."""
        return f"{self.name}-{self.life}"

    def begin_life(self, now_ns: int, wall_ns: int) -> Core:
        """Forget everything but the disk, and return the new core."""
        self.life += 1
        self.trip = None
        self.is_stalled = self.is_missed = False
        self.deferred = []
        self.inbox, self.is_turn_due, self.is_woken, self.next_turn_ns, self.wake_ns = [], False, False, now_ns, None
        self.retained, self.heard, self.positions, self.numbers, self.waiting = {}, {}, {}, {}, {}
        self.started_wall_ns = wall_ns
        self.core = CORES[self.name]()
        return self.core

    def when_awake(self, life: int, act: Callable[[], None]) -> None:
        """Do something with this life as soon as it runs; nothing if it is over."""
        if self.life != life or self.core is None:
            return
        if self.is_stalled:
            self.deferred.append(act)
        else:
            act()
