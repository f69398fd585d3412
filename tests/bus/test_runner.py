"""The runner, with real processes: every way in which a life begins and ends."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from common.bus.input_log import read_life, verify
from common.bus.latch import Latch
from common.bus.tap import Tap
from common.effects import Asked, Start, Wake
from common.errors import ExitCode, Failure
from common.log.files import read
from common.messages import Activity, GroupReset
from tests.bus.processes import ROOT, Group, group
from tests.bus.toy import Toy
from tests.waiting import freeze, wait_for


def test_asked_to_stop_it_exits_with_zero_and_leaves_no_mark(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        for role in ("inference", "feed"):  # one on each loop
            assert toys.start(role).ready().stop() == ExitCode.OK
        assert not list(toys.run_dir.crashes.glob("*.[0-9]*"))
        assert Latch(toys.run_dir).reason() == ""


def test_request_is_answered_and_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        first = toys.start("execution").ready()
        assert [first.count() for _ in range(3)] == [1, 2, 3]
        first.kill()
        second = toys.start("execution").ready()
        assert second.lines("counting")[0]["count"] == 3
        assert second.count() == 4


def test_second_instance_exits_with_one_and_the_first_is_unharmed(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        first = toys.start("execution").ready()
        second = toys.start("execution")
        assert second.wait() == ExitCode.FAILED
        assert f"execution already runs here (process {first.process.pid}" in second.log.read_text()
        assert first.count() == 1
        assert not list(toys.run_dir.crashes.glob("*.[0-9]*"))


def test_wrong_configuration_exits_with_78_and_names_the_key(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("inference", TRADER_LIMITS_ORDER_QTY="many")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert "limits.order_qty" in toy.log.read_text()


def test_missing_key_exits_with_78_where_the_exchange_is_not_paper(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("feed", TRADER_EXCHANGE_ENVIRONMENT="demo")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert "keys.trade_key_id is missing" in toy.log.read_text()


def test_unknown_argument_is_wrong_usage(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bus.toy", "inference", "--nonsense"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == ExitCode.USAGE


@pytest.mark.parametrize(("reason", "said"), [("die", "told to die"), ("assert", "told to fail"), ("broken", "break")])
def test_broken_invariant_latches_halted_and_leaves_a_dump(tmp_path: Path, reason: str, said: str) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        toy.count()
        toy.tell(reason)
        assert toy.wait() == ExitCode.FAILED
        assert said in Latch(toys.run_dir).reason()
        [dump] = toys.run_dir.crashes.glob("execution-*.json")
        shown = json.loads(dump.read_bytes())
        assert said in shown["error"]
        if reason == "die":
            assert shown["state"] == '{"what":"shows it"}'
        steps = list(read_life(dump.with_suffix(".inputs")))
        assert isinstance(steps[-1].message, Asked)  # what it died of
        assert said in toys.start("execution").wait_line("counting")["latched"]


def test_three_crashes_within_a_minute_latch_and_the_heartbeat_counts_them(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        for crashes in range(3):
            assert Latch(toys.run_dir).reason() == ""
            toy = toys.start("execution").ready()
            assert toy.lines("started")[0]["crashes"] == crashes
            toy.tell("crash")
            assert toy.wait() == ExitCode.FAILED
        assert "crashed 3 times within a minute" in Latch(toys.run_dir).reason()
        assert "KeyError" in toy.log.read_text()


def test_kill_and_clean_stop_leave_no_crash_mark(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        for _ in range(2):
            toys.start("execution").ready().kill()
        assert toys.start("execution").wait_line("started")["crashes"] == 0
        assert Latch(toys.run_dir).reason() == ""


def test_crash_in_the_first_input_ends_it_too(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        for role in ("inference", "feed"):
            assert toys.start(role, "crash").wait() == ExitCode.FAILED
        assert len(list(toys.run_dir.crashes.glob("*.json"))) == 2


def test_core_latches_and_clears_and_others_are_told(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        coordinator, other = toys.start("coordinator").ready(), toys.start("inference").ready()
        coordinator.tell("latch")
        assert Latch(toys.run_dir).reason() == "told to latch"
        other.wait_line("Latched", what="told to latch")
        assert coordinator.lines("Latched") == []
        coordinator.tell("clear")
        assert Latch(toys.run_dir).reason() == ""
        assert (toys.path / "halt.armed").exists()


def test_peers_are_told_of_each_other_and_of_a_death_at_once(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        watcher, feed = toys.start("inference").ready(), toys.start("feed", "feed").ready()
        watcher.wait_line("PeerUp", what="process='feed'")
        feed.kill()
        assert "connection closed" in watcher.wait_line("PeerGone", what="process='feed'")["what"]
        toys.start("feed", "feed")
        wait_for(lambda: len([line for line in watcher.lines("PeerUp") if "feed" in line["what"]]) == 2)


def test_stopped_process_is_silent_and_comes_back(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        watcher, feed = toys.start("inference").ready(), toys.start("feed", "feed").ready()
        watcher.wait_line("PeerUp", what="process='feed'")
        freeze(feed.process.pid)
        assert "no heartbeat" in watcher.wait_line("PeerGone", what="process='feed'")["what"]
        feed.process.send_signal(signal.SIGCONT)
        wait_for(lambda: len([line for line in watcher.lines("PeerUp") if "feed" in line["what"]]) == 2)


@pytest.mark.parametrize(("role", "behaviour"), [("inference", ""), ("feed", "feed"), ("execution", "")])
def test_recorded_life_replays_byte_for_byte(tmp_path: Path, role: str, behaviour: str) -> None:
    with group(tmp_path) as toys:
        toys.start("coordinator").ready()
        toy = toys.start(role, behaviour).ready()
        if role == "execution":
            assert toy.count() == 1
        wait_for(lambda: toy.log.read_text().count("PeerUp") and _steps(toys, role) > 20)
        assert toy.stop() == ExitCode.OK
        path = toys.run_dir.input_log(role)
        steps = list(read_life(path))
        assert isinstance(steps[0].message, Start)
        assert Wake in {type(step.message) for step in steps}
        assert verify(Toy(behaviour), steps) is None
        other = [step._replace(now=step.now._replace(wall_ns=0, mono_ns=0)) for step in steps]
        assert verify(Toy(behaviour), other) is not None  # the comparison can fail


def _steps(toys: Group, role: str) -> int:
    return len(list(read_life(toys.run_dir.input_log(role))))


def test_requests_are_echoed_for_who_only_listens(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        with Tap(toys.run_dir, ["request/", "heartbeat/"]) as tap:
            wait_for(tap.receive)  # connected
            toy.tell("nothing")
            heard = wait_for(lambda: [row.frame for row in tap.receive() if row.frame.topic == "request"])
            assert (heard[0].key, heard[0].header.publisher) == ("Halt", "execution")


def test_sockets_and_files_are_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        before = os.umask(0)
        try:
            toys.start("execution").ready()
        finally:
            os.umask(before)
        places = [toys.path, *toys.path.rglob("*")]
        assert any(stat.S_ISSOCK(place.stat().st_mode) for place in places)
        assert [place for place in places if place.stat().st_mode & 0o077] == []


def test_asking_who_does_not_run_says_so(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        toy.kill()
        with pytest.raises(Failure, match="does not run") as failure:
            toy.ask(GroupReset())
        assert failure.value.code == ExitCode.NOT_RUNNING


def test_asking_who_is_there_and_takes_no_requests_says_that(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        freeze(toy.process.pid)
        try:
            with pytest.raises(Failure, match=f"process {toy.process.pid}. is there") as failure:
                toy.ask(GroupReset())
        finally:
            os.kill(toy.process.pid, signal.SIGCONT)
        assert failure.value.code == ExitCode.NOT_RUNNING


def test_child_of_supervisord_dies_with_it(tmp_path: Path) -> None:
    """A shell named like supervisord starts the toy and is killed."""
    with group(tmp_path) as toys:
        toys.run_dir.root.mkdir()
        starter = tmp_path / "supervisord"
        command = f"{sys.executable} -m tests.bus.toy execution & echo $!; wait"
        starter.write_text(f"#!/bin/sh\n{command}\n")
        starter.chmod(0o700)
        parent = subprocess.Popen(
            [str(starter)],
            cwd=ROOT,
            env={**os.environ, "TRADER_RUN_DIR": str(toys.path), "SUPERVISOR_ENABLED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(lambda: toys.run_dir.socket("execution", "pub").exists())
        parent.kill()
        parent.wait()
        parent.stdout.close()
        wait_for(lambda: not Path(f"/proc/{child}/stat").exists() or _is_zombie(child))


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_orphan_of_a_supervisord_that_died_first_does_not_start(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution", SUPERVISOR_ENABLED="1")  # its parent is this test, no supervisord
        assert toy.wait() == ExitCode.FAILED
        assert "supervisord died" in toy.log.read_text()


def test_volatile_events_reach_a_reader_that_was_there_before(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        status = toys.start("status").ready()
        feed = toys.start("feed").ready()
        wait_for(lambda: len(_activities(toys, "status")) > 5)
        feed.stop()
        status.stop()
        heard = [int(activity.at_wall_ns) for activity in _activities(toys, "status")]
        sent = [
            step.now.wall_ns for step in read_life(toys.run_dir.input_log("feed")) if isinstance(step.message, Wake)
        ]
        assert heard == sent[: len(heard)]  # from the very first, although the connection was made later


def _activities(toys: Group, role: str) -> list[Activity]:
    return [step.message for step in read_life(toys.run_dir.input_log(role)) if isinstance(step.message, Activity)]


def test_durable_events_are_heard_once_and_in_order_whoever_is_killed(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        journal = toys.run_dir.journal("coordinator")

        def heard() -> list[bytes]:
            return read(journal, "journal").records if journal.exists() else []

        owner, reader = toys.start("tracking", "owns fills"), toys.start("coordinator", "reads fills")
        for victim in ("reader", "owner", "reader", "both"):
            before = len(heard())
            wait_for(lambda before=before: len(heard()) > before + 20)
            if victim in ("reader", "both"):
                reader.kill()
            if victim in ("owner", "both"):
                owner.kill()
                owner = toys.start("tracking", "owns fills")
            if victim in ("reader", "both"):
                reader = toys.start("coordinator", "reads fills")
        before = len(heard())
        wait_for(lambda: len(heard()) > before + 20)
        assert owner.stop() == reader.stop() == ExitCode.OK
        numbers = [int(number) for number in heard()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert Latch(toys.run_dir).reason() == ""
