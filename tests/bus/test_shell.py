"""The shell, turn by turn: what a core is given, in which order, and that its effects are carried out in order."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common import clock
from common.bus.doors import Doors
from common.bus.frames import decode_message
from common.bus.heartbeat import Pulse
from common.bus.input_log import InputLog
from common.bus.journal import Journal
from common.bus.latch import Latch
from common.bus.requester import Requester
from common.bus.run_dir import RunDir
from common.bus.shell import CoreDied, Shell
from common.bus.sockets import Context
from common.bus.tap import Tap
from common.clock import NS_PER_MS, NS_PER_S, Now
from common.effects import (
    Ask,
    Asked,
    Checkpoint,
    Delivered,
    Die,
    Drained,
    Effect,
    Input,
    Persist,
    Publish,
    RestCall,
    Start,
    Unanswered,
    Wake,
    WakeAt,
)
from common.effects import (
    Log as LogEffect,
)
from common.logs import Log
from common.messages import Cancel, GroupReset, Heartbeat, SyncNow
from tests.bus.support import activity, full_disk, identity, mono_ns, trader_state
from tests.waiting import wait_for

Script = Callable[[Delivered, Now], list[Effect]]


class Scripted:
    """A core that does what the test says and remembers what it was given."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.given: list[Delivered] = []

    def update(self, message: Delivered, now: Now) -> list[Effect]:
        """Take one input."""
        self.given.append(message)
        return self.script(message, now)

    def summary(self, now: Now) -> tuple[str, bool]:
        """Return the heartbeat's line."""
        return "scripted", False

    def counters(self) -> dict[str, int]:
        """Return the heartbeat's counters."""
        return {"given": len(self.given)}


class Stage:
    """A shell of one role around a scripted core."""

    def __init__(self, root: Path, role: str, script: Script, said: io.StringIO) -> None:
        self.run_dir = RunDir(root / "r")
        self.run_dir.prepare()
        self.core = Scripted(script)
        life, now, log = identity(role), clock.read(), Log(role, sink=said)
        self.journal = Journal(self.run_dir.journal(role))
        self.latch = Latch(self.run_dir)
        self.latch.arm()
        self.doors = Doors(self.run_dir, life, now, log)
        inputs = InputLog(self.run_dir.input_log(role), log)
        self.shell = Shell(self.core, self.doors, Pulse(life, now, 0), self.latch, inputs, log, self.journal)

    def start(self) -> None:
        """Give the core its first input."""
        self.shell.start(Start(session="1-session", entropy=1, epoch=1, config=b"{}"))

    def turn(self) -> list[Delivered]:
        """Turn once; return what the core was given."""
        before = len(self.core.given)
        self.shell.turn(self.shell.wait(0))
        return self.core.given[before:]

    def until(self, kind: type[Input]) -> list[Delivered]:
        """Turn until the core was given an input of this kind; return what it was given in that turn."""
        return wait_for(
            lambda: next((given for given in [self.turn()] if any(isinstance(item, kind) for item in given)), None)
        )


@contextmanager
def stage(root: Path, script: Script, role: str = "execution", said: io.StringIO | None = None) -> Iterator[Stage]:
    """Yield a stage, and close it."""
    found = Stage(root, role, script, said or io.StringIO())
    try:
        yield found
    finally:
        found.shell.close()


@contextmanager
def asking(found: Stage) -> Iterator[Requester]:
    """Yield the coordinator's requester to the stage."""
    context: Context = Context()
    doors = [("execution", "main"), ("execution", "control")]
    requester = Requester(context, identity("coordinator"), doors, found.run_dir.endpoint, Log("x", sink=io.StringIO()))
    try:
        yield requester
    finally:
        requester.close()
        context.term()


def question(number: int, control: bool = False) -> Ask:
    """Return a request of the coordinator to execution."""
    return Ask(
        request_id=f"{'c' if control else 'm'}{number}", owner="execution", timeout_ns=30 * NS_PER_S,
        request=Cancel(reason="now") if control else GroupReset(), door="control" if control else "main",
    )  # fmt: skip


def nothing(_: Delivered, __: Now) -> list[Effect]:
    """Do nothing."""
    return []


def test_start_is_first_and_a_turn_without_news_gives_the_core_nothing(tmp_path: Path) -> None:
    with stage(tmp_path, nothing) as found:
        found.start()
        assert [type(item) for item in found.core.given] == [Start]
        assert found.turn() == []


def test_burst_ends_with_drained_and_control_goes_before_main(tmp_path: Path) -> None:
    with stage(tmp_path, nothing) as found, asking(found) as requester:
        found.start()
        for number in range(5):
            wait_for(lambda number=number: requester.ask(question(number), mono_ns()) is None)
        wait_for(lambda: requester.ask(question(9, control=True), mono_ns()) is None)
        wait_for(lambda: len(found.shell.wait(0)) >= 2)
        given = found.until(Asked)
        doors = [item.door for item in given if isinstance(item, Asked)]
        assert doors[0] == "control"
        assert isinstance(given[-1], Drained)
        assert sum(isinstance(item, Drained) for item in given) == 1


def test_control_does_not_wait_for_a_long_burst_at_the_main_door(tmp_path: Path) -> None:
    steps: list[Callable[[], None]] = []

    def slow(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Asked) and message.door == "main" and steps:
            steps.pop()()
        return []

    with stage(tmp_path, slow) as found, asking(found) as requester:
        found.start()
        for number in range(50):
            wait_for(lambda number=number: requester.ask(question(number), mono_ns()) is None)

        def cancel_while_the_core_takes_its_time() -> None:
            assert requester.ask(question(1, control=True), mono_ns()) is None
            wait_for(lambda: found.doors.responder.doors["control"].poll(0))
            started_ns = mono_ns()
            wait_for(lambda: mono_ns() - started_ns > 2 * NS_PER_MS)

        steps.append(cancel_while_the_core_takes_its_time)
        doors: list[str] = []
        while len(doors) < 51:  # the burst may still be on its way when the first turn begins
            doors += [item.door for item in found.until(Asked) if isinstance(item, Asked)]
        assert doors == ["main", "control", *["main"] * 49]


def test_record_is_on_disk_before_the_effects_after_it(tmp_path: Path) -> None:
    on_disk: list[int] = []

    class Sink(io.StringIO):
        def write(self, line: str) -> int:
            on_disk.append((tmp_path / "r/journals/execution.log").read_bytes().count(b"record"))
            return super().write(line)

    def persist_then_log(message: Delivered, _: Now) -> list[Effect]:
        return [Persist(record=b"record", sync=True), LogEffect(level="info", event="after")]

    with stage(tmp_path, persist_then_log, said=Sink()) as found:
        found.start()
    assert on_disk == [1]


def test_nothing_leaves_before_the_disk_has_what_it_follows_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def persist_then_publish(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Wake):
            return [Persist(record=b"record", sync=True), Publish(topic="activity", message=activity(1))]
        return [WakeAt(mono_ns=0)] if isinstance(message, Start) else []

    with stage(tmp_path, persist_then_publish) as found:
        found.start()
        sent = found.doors.publisher.sent
        sent_when_synced: list[int] = []
        monkeypatch.setattr(os, "fdatasync", lambda _: sent_when_synced.append(found.doors.publisher.sent))
        found.turn()
        assert sent_when_synced == [sent]
        assert found.doors.publisher.sent > sent


def test_failed_commit_ends_the_life_before_anything_after_it_happens(tmp_path: Path) -> None:
    def persist_then_publish(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Wake):
            return [Persist(record=b"x" * 100), Publish(topic="activity", message=activity(1))]
        return [WakeAt(mono_ns=0)] if isinstance(message, Start) else []

    with stage(tmp_path, persist_then_publish) as found:
        found.start()
        sent = found.doors.publisher.sent
        with full_disk(), pytest.raises(OSError, match="too large"):
            found.turn()
        assert found.doors.publisher.sent == sent


def test_checkpoint_replaces_the_journal(tmp_path: Path) -> None:
    def checkpoint(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Start):
            return [Persist(record=b"one"), Persist(record=b"two"), Checkpoint(record=b"all")]
        return []

    with stage(tmp_path, checkpoint) as found:
        found.start()
    assert Journal(found.run_dir.journal("execution")).restored == (b"all",)


def test_earliest_wake_counts_and_is_spent(tmp_path: Path) -> None:
    def wake(message: Delivered, now: Now) -> list[Effect]:
        if isinstance(message, Start):
            return [WakeAt(mono_ns=now.mono_ns + NS_PER_S * 3_600), WakeAt(mono_ns=now.mono_ns)]
        return []

    with stage(tmp_path, wake) as found:
        found.start()
        assert found.shell.idle_ms() == 0
        assert [type(item) for item in found.turn()] == [Wake]
        assert found.turn() == []


def test_request_without_a_connection_is_unanswered_in_the_next_turn(tmp_path: Path) -> None:
    def ask(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Start):
            return [Ask(request_id="r", owner="sync", request=SyncNow(reason="x"), timeout_ns=NS_PER_S)]
        return []

    with stage(tmp_path, ask, role="coordinator") as found:
        found.start()
        assert [type(item) for item in found.core.given] == [Start]  # never inside of the update that asked
        assert found.shell.idle_ms() == 0
        given = found.turn()
        assert isinstance(given[0], Unanswered)
        assert not given[0].maybe_delivered
        assert found.turn() == []


def test_core_that_dies_ends_the_life_with_its_dump(tmp_path: Path) -> None:
    with stage(tmp_path, lambda *_: [Die(reason="cash differs", dump=b"42")]) as found:
        with pytest.raises(CoreDied, match="cash differs") as died:
            found.start()
        assert died.value.dump == b"42"


def test_process_without_a_link_or_a_journal_cannot_pretend(tmp_path: Path) -> None:
    call = RestCall(call_id="c", method="GET", path="/x")
    with (
        stage(tmp_path, lambda *_: [call], role="coordinator") as found,
        pytest.raises(AssertionError, match="no link"),
    ):
        found.start()


def test_heartbeat_tells_progress_counters_queues_and_the_last_error(tmp_path: Path) -> None:
    def fail_once(message: Delivered, _: Now) -> list[Effect]:
        if isinstance(message, Start):
            return [
                LogEffect(level="error", event="refused", fields={"code": 7}),
                Publish(topic="activity", message=activity(1)),
                Publish(topic="trader_state", message=trader_state()),
            ]
        return []

    with stage(tmp_path, fail_once, role="coordinator") as found, Tap(found.run_dir, ["heartbeat/"]) as tap:
        found.start()

        def beat() -> Heartbeat | None:
            found.turn()
            beats = [decode_message("heartbeat", row.frame.body) for row in tap.receive()]
            return next((item for item in beats if isinstance(item, Heartbeat) and item.progress_age_ms), None)

        heartbeat = wait_for(beat)
        assert heartbeat.last_error == "refused code=7"
        assert heartbeat.last_numbers == {"activity": 1}
        assert heartbeat.counters["given"] >= 1
        assert {"asked", "to_answer"} <= set(heartbeat.queued)
        assert heartbeat.progress_age_ms["main"] < 5_000
        assert (heartbeat.summary, heartbeat.healthy) == ("scripted", False)
