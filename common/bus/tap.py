"""Tap: listens to anything on the bus without being noticed.

Its queue is small on purpose: when it cannot keep up, its own messages are dropped and counted, and no publisher waits.
Bodies stay as they came. State that is only sent again is left out; what is retained comes first.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import zmq

from common.bus.frames import Frame, decode_frame
from common.bus.run_dir import RunDir
from common.bus.sockets import Context, open_socket, receive_all
from common.errors import FrameError
from common.registry import PROCESSES

QUEUE_MAX = 1_000


class Heard(NamedTuple):
    """One message, and how many of its subject never came since the one before."""

    frame: Frame
    lost: int


class Tap:
    """A listener to all publishers of a group; use it as a context manager."""

    def __init__(self, run_dir: RunDir, prefixes: Iterable[str], queue_max: int = QUEUE_MAX) -> None:
        self.lost = 0
        self.bad_frames = 0
        self._last: dict[tuple[str, str, str], tuple[int, str, int]] = {}  # subject -> epoch, session, seq
        self._context: Context = zmq.Context()
        self.socket = open_socket(self._context, zmq.SUB, queue_max)
        for process in PROCESSES.values():
            if process.on_bus:
                self.socket.connect(run_dir.endpoint(process.name, "pub"))
        for prefix in prefixes:
            self.socket.subscribe(prefix.encode())

    def __enter__(self) -> Tap:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait(self, timeout_ms: int) -> bool:
        """Say whether something has come, as soon as it has or when time is up."""
        return bool(self.socket.poll(timeout_ms))

    def receive(self, limit: int = QUEUE_MAX) -> list[Heard]:
        """Return what is new."""
        heard = []
        for message in receive_all(self.socket, limit):
            try:
                frame = decode_frame(message)
            except FrameError:
                self.bad_frames += 1
                continue
            lost = self._missing_before(frame)
            if lost is not None:
                self.lost += lost
                heard.append(Heard(frame, lost))
        return heard

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()
        self._context.term()

    def _missing_before(self, frame: Frame) -> int | None:
        """Return how many messages of the subject are missing before this one; None for an old one."""
        header = frame.header
        subject = (header.publisher, frame.topic, frame.key)
        epoch, session, seq = self._last.get(subject, (0, "", 0))
        if header.epoch < epoch or (header.session == session and header.seq <= seq):
            return None
        self._last[subject] = (header.epoch, header.session, header.seq)
        return header.seq - seq - 1 if header.session == session else 0
