"""One process of a simulation: its core in this life, its disk over all lives, and what its shell remembers."""

from __future__ import annotations

from collections.abc import Callable

from common.effects import Core, Delivered
from common.messages import Message
from common.paper.sessions import Session
from processes.coordinator import Coordinator
from processes.execution import Execution
from processes.feed import Feed
from processes.inference import Inference
from processes.status import Status
from processes.sync import Sync
from processes.tracking import Tracking

CORES: dict[str, Callable[[], Core]] = {
    "sync": Sync,
    "tracking": Tracking,
    "feed": Feed,
    "execution": Execution,
    "coordinator": Coordinator,
    "inference": Inference,
    "status": Status,
}


class Node:
    """A process. Without a core it is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.core: Core | None = None
        self.life = 0
        self.journal: list[bytes] = []
        self.fuse: int | None = None  # effects that are still carried out before it is killed
        # the shell
        self.inbox: list[Delivered] = []
        self.is_turn_due = False
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
        self.fuse = None
        self.inbox, self.is_turn_due, self.next_turn_ns, self.wake_ns = [], False, now_ns, None
        self.retained, self.heard, self.positions, self.numbers, self.waiting = {}, {}, {}, {}, {}
        self.started_wall_ns = wall_ns
        self.core = CORES[self.name]()
        return self.core
