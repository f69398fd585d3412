"""What a process keeps on disk: role locks, the latch, crash marks, journals, input logs, and the run directory."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import msgspec
import pytest
import zmq

from common.bus.input_log import InputLog, check, decode_delivered, old_path, read_life
from common.bus.journal import Journal
from common.bus.latch import CRASH_WINDOW_NS, CrashMarks, Latch
from common.bus.lock import RoleLock
from common.bus.run_dir import RunDir
from common.clock import Now
from common.effects import Answered, Asked, Drained, Publish, Start, StreamFrame
from common.errors import ConfigError, Failure, LogDamaged
from common.logs import Log
from common.messages import Done, Place, Pricing, Purpose, State
from tests.bus.support import SILENT, activity, fill, full_disk


def prepared(root: Path) -> RunDir:
    """Return a run directory that is ready."""
    run_dir = RunDir(root / "r")
    run_dir.prepare()
    return run_dir


def test_each_owner_of_a_role_has_a_higher_epoch(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        lock = RoleLock(tmp_path, "execution")
        epochs.append(lock.epoch)
        lock.release()
    assert epochs == [1, 2, 3]


def test_role_that_is_held_is_refused_and_names_its_holder(tmp_path: Path) -> None:
    held = RoleLock(tmp_path, "execution")
    with pytest.raises(Failure, match=f"already runs here .process {os.getpid()}"):
        RoleLock(tmp_path, "execution")
    other = RoleLock(tmp_path, "coordinator")
    other.release()
    held.release()


@pytest.mark.parametrize("text", ["seven", "", "-3", "1.5", "9" * 30])
def test_epoch_that_cannot_be_read_is_not_guessed(tmp_path: Path, text: str) -> None:
    (tmp_path / "execution.epoch").write_text(text)
    with pytest.raises(ConfigError, match=r"execution\.epoch: does not hold an epoch"):
        RoleLock(tmp_path, "execution")


def test_second_bind_on_a_live_path_steals_it_which_is_why_the_lock_comes_first(tmp_path: Path) -> None:
    """The trap itself, so that we notice should ZeroMQ ever close it."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    first, second = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
    endpoint = prepared(tmp_path).endpoint("execution", "main")
    first.bind(endpoint)
    second.bind(endpoint)  # no error
    dealer = context.socket(zmq.DEALER)
    dealer.connect(endpoint)
    dealer.send(b"order")
    assert second.poll(5_000)
    assert not first.poll(0)
    context.destroy(linger=0)


def test_conflate_cuts_multipart_which_is_why_it_is_never_set(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publisher, reader = context.socket(zmq.PUB), context.socket(zmq.SUB)
    reader.set(zmq.CONFLATE, 1)
    reader.subscribe(b"")
    endpoint = prepared(tmp_path).endpoint("feed", "pub")
    publisher.bind(endpoint)
    reader.connect(endpoint)
    while not reader.poll(20):
        publisher.send_multipart([b"book/A/", b"header", b"body"])
    assert reader.recv_multipart() != [b"book/A/", b"header", b"body"]
    context.destroy(linger=0)
    source = Path(__file__).parents[2] / "common"
    used = [path.name for path in source.rglob("*.py") if "zmq.CONFLATE" in path.read_text()]
    assert used == []


def test_run_directory_too_long_for_a_socket_is_refused_clearly(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / ("d" * 90))
    with pytest.raises(ConfigError, match="allowed are 107"):
        run_dir.endpoint("coordinator", "control")


def test_longest_socket_path_that_is_allowed_can_be_bound(tmp_path: Path) -> None:
    used = len(os.fsencode(tmp_path)) + len("//sockets/execution.control")
    if used >= 107:
        pytest.skip("the temporary directory's own path is too long")
    run_dir = RunDir(tmp_path / ("d" * (107 - used)))
    run_dir.prepare()
    endpoint = run_dir.endpoint("execution", "control")
    assert len(endpoint.removeprefix("ipc://")) == 107
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind(endpoint)
    run_dir.check_socket("execution", "control")
    socket.close()
    context.term()


def test_socket_that_others_could_use_is_not_accepted(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.bind(run_dir.endpoint("execution", "main"))
    run_dir.socket("execution", "main").chmod(0o755)
    with pytest.raises(AssertionError):
        run_dir.check_socket("execution", "main")
    socket.close()
    context.term()


def test_journal_id_is_made_once(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    made = run_dir.journal_id()
    assert len(made) == 8
    assert run_dir.journal_id() == RunDir(run_dir.root).journal_id() == made
    assert [path.name for path in run_dir.journals.iterdir()] == ["id"]


def test_journal_that_another_process_begins_between_two_looks_is_not_one_without_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, looked = prepared(tmp_path), Path.exists

    def look(path: Path) -> bool:
        found = looked(path)
        if path.name == "id":
            monkeypatch.undo()
            other = RunDir(run_dir.root)
            other.journal_id()
            Journal(other.journal("tracking")).close()
        return found

    monkeypatch.setattr(Path, "exists", look)
    assert run_dir.journal_id() == RunDir(run_dir.root).journal_id()


def test_latch_keeps_the_first_reason_until_it_is_cleared(tmp_path: Path) -> None:
    latch = Latch(prepared(tmp_path))
    latch.arm()
    assert latch.reason() == ""
    latch.halt("loss limit")
    latch.halt("something later")
    assert Latch(RunDir(tmp_path / "r")).reason() == "loss limit"
    latch.clear()
    assert latch.reason() == ""
    latch.halt("again")
    assert latch.reason() == "again"


def test_latch_works_without_its_armed_file_and_twice_at_a_time(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    first, second = Latch(run_dir), Latch(run_dir)
    first.arm()
    first.halt("first")
    second.halt("second")
    assert second.reason() == "first"
    (run_dir.root / "halted").unlink()
    first.halt("third")
    assert second.reason() == "third"


def test_latch_and_crash_mark_work_when_nothing_can_be_written(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    latch, marks = Latch(run_dir), CrashMarks(run_dir, "execution")
    latch.arm()
    marks.prepare(0)
    with full_disk():
        latch.halt("the disk is full")
        assert marks.leave(1) == 1
    assert latch.reason() != ""


def test_crash_marks_older_than_a_minute_or_of_another_boot_do_not_count(tmp_path: Path) -> None:
    marks = CrashMarks(prepared(tmp_path), "execution")
    other = CrashMarks(RunDir(tmp_path / "r"), "feed")
    start_ns = 10 * CRASH_WINDOW_NS
    marks.prepare(start_ns)
    other.prepare(start_ns)
    other.leave(start_ns)
    assert [marks.leave(start_ns), marks.leave(start_ns + 1)] == [1, 2]
    assert marks.prepare(start_ns + CRASH_WINDOW_NS + 1) == 1
    assert marks.prepare(5) == 0


def test_journal_returns_what_it_took_and_only_the_last_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "j.log"
    journal = Journal(path)
    journal.persist(b"one")
    journal.checkpoint(b"all")
    journal.persist(b"two")
    journal.sync()
    assert journal.records == 2
    journal.close()
    again = Journal(path)
    assert again.restored == (b"all", b"two")
    again.close()


def test_journal_with_a_torn_tail_is_cut_and_with_damage_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.log"
    journal = Journal(path)
    for record in (b"one" * 20, b"two" * 20):
        journal.persist(record)
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    torn = Journal(path)
    assert (torn.restored, torn.torn_bytes > 0) == ((b"one" * 20,), True)
    torn.close()
    path.write_bytes(whole[:50] + b"x" + whole[51:])
    with pytest.raises(LogDamaged):
        Journal(path)


START = Start(session="1-s", entropy=1, epoch=1, config=b"{}")


def test_input_log_is_bounded_and_says_when_a_beginning_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "i.log"
    log = InputLog(path, SILENT, bytes_max=2_000)
    log.delivered(START, None, Now(1, 1))
    sizes = []
    for number in range(300):
        log.delivered(activity(number), None, Now(number, number))
        log.flush()
        sizes.append(path.stat().st_size + (old_path(path).stat().st_size if old_path(path).exists() else 0))
    log.close()
    assert max(sizes) < 2 * 2_000 + 1_000
    with pytest.raises(Failure, match="no longer there"):
        list(read_life(path))


def test_life_that_spans_both_files_is_read_whole_and_a_new_life_alone(tmp_path: Path) -> None:
    path = tmp_path / "i.log"
    log = InputLog(path, SILENT, bytes_max=2_000)
    log.delivered(START, None, Now(1, 1))
    number = 0
    while not old_path(path).exists():
        number += 1
        log.delivered(activity(number), None, Now(number, number))
        log.flush()
    log.delivered(Drained(), None, Now(9, 9))
    log.close()
    assert [step.message for step in read_life(path)][1:] == [*(activity(n) for n in range(1, number + 1)), Drained()]
    again = InputLog(path, SILENT)
    again.delivered(START, None, Now(2, 2))
    again.close()
    assert [step.message for step in read_life(path)] == [START]


def test_input_log_that_cannot_be_written_ends_and_the_process_goes_on(tmp_path: Path) -> None:
    lines = io.StringIO()
    log = InputLog(tmp_path / "i.log", Log("toy", sink=lines))
    with full_disk():
        log.delivered(START, None, Now(1, 1))
        log.flush()
    log.delivered(START, None, Now(1, 1))
    log.close()
    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["input_log_ended"]


def test_every_kind_of_input_can_be_read_back() -> None:
    place = Place(
        client_order_id="c", ticker="T", side="bid", qty_e2=100, pricing=Pricing.MID, purpose=Purpose.OPEN, epoch=1,
        state=State.READY, decided_mono_ns=1,
    )  # fmt: skip
    for message in (
        START,
        fill(3),
        Asked(token="t", sender="s", door="main", request=place, expires_mono_ns=5),
        Answered(request_id="r", reply=Done(success=True)),
        StreamFrame(stream="market", connection=1, data=b"\x00\xff{}", received_mono_ns=1, received_wall_ns=2),
    ):
        assert decode_delivered(msgspec.json.encode(message)) == message


def test_effects_have_one_checksum_each_that_tells_them_apart() -> None:
    one, two = ([Publish(topic="fill", key="T", message=fill(number))] for number in (1, 2))
    assert check(one) == check(list(one)) != check(two)
