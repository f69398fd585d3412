"""Recording: drives the shell of the recorder and, beside it, writes what a tap of the whole bus hears to tapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common import clock
from common.bus.frames import REPLY_ECHO, REQUEST_ECHO, encode_json, encode_subject
from common.bus.poll_loop import stopped_by_signals
from common.bus.runner import Role
from common.bus.shell import Shell
from common.bus.tap import Heard, Tap
from common.clock import NS_PER_S, Now
from common.effects import Start
from common.log.tapes import Record, Tapes
from common.registry import TOPICS

_QUEUE_MAX = 50_000  # messages that wait while the disk is slow
_RETRY_NS = 10 * NS_PER_S  # after the disk refused


class Recording(Protocol):
    """Whom the loop tells what it did."""

    failure: str
    counts: Callable[[], dict[str, int]]


def recorded_prefixes() -> list[str]:
    """Return what a tap must subscribe to so that it hears everything that is recorded."""
    topics = [topic.name for topic in TOPICS.values() if topic.recorded]
    return [f"{name}/" for name in (*topics, REQUEST_ECHO, REPLY_ECHO)]


def record(recording: Recording, role: Role, shell: Shell, start: Start) -> None:
    """Run the shell and fill the tapes until a signal asks to stop."""
    settings = role.config.settings.recorder
    tapes = Tapes(role.run_dir.tapes, settings.tape_mb << 20, settings.all_tapes_mb << 20)
    with Tap(role.run_dir, recorded_prefixes(), _QUEUE_MAX) as tap, stopped_by_signals(shell) as stop:
        recorder = _Recorder(recording, tapes, tap, role)
        recording.counts = recorder.counters
        shell.watch(tap.socket)
        shell.start(start)
        while not stop.is_set:
            shell.turn(shell.wait(shell.idle_ms()))
            recorder.turn()
        recorder.turn()
        tapes.close()


class _Recorder:
    """Moves what the tap hears to the tapes; a disk that refuses is asked again after a while."""

    def __init__(self, recording: Recording, tapes: Tapes, tap: Tap, role: Role) -> None:
        self._recording = recording
        self._tapes = tapes
        self._tap = tap
        self._log = role.log
        self._recorded = 0
        self._unrecorded = 0
        self._retry_ns = 0

    def turn(self) -> None:
        """Write what is new."""
        now = clock.read()
        heard = self._tap.receive(_QUEUE_MAX)
        if not heard:
            return
        if now.mono_ns < self._retry_ns:
            self._unrecorded += len(heard)
            return
        try:
            self._tapes.append([_record_of(one, now) for one in heard], now)
        except OSError as error:
            self._give_up_for_a_while(error, len(heard), now)
            return
        self._recorded += len(heard)
        self._recording.failure = ""

    def counters(self) -> dict[str, int]:
        """Return what was written and what was not."""
        return {
            "recorded": self._recorded,
            "unrecorded": self._unrecorded + self._tap.lost,
            "tape_bytes": self._tapes.bytes,
            "tapes": self._tapes.count,
        }

    def _give_up_for_a_while(self, error: OSError, lost: int, now: Now) -> None:
        self._unrecorded += lost
        self._retry_ns = now.mono_ns + _RETRY_NS
        self._recording.failure = str(error)
        self._log.error("not_recording", error=str(error))
        self._tapes.close()


def _record_of(heard: Heard, now: Now) -> Record:
    topic, key, header, body = heard.frame
    return Record(now, encode_subject(topic, key), encode_json(header), body)
