"""What real processes do about journals that cannot be believed, disks that are full, and assertions that are off."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common.bus.journal import KIND, Journal
from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.errors import ExitCode, Failure
from common.log.files import read
from common.log.format import HEADER_BYTES, encode_header, encode_record
from common.registry import PROCESSES
from tests.bus.processes import ROOT, Group, ToyProcess, group

JOURNALED = [row.name for row in PROCESSES.values() if row.journal]
RECORD = encode_record(b'{"type":"Counted","count":1}')


def write_journal(run_dir: RunDir, process: str, data: bytes) -> Path:
    """Put a journal there before the process has ever lived."""
    run_dir.prepare()
    run_dir.journal_id()
    path = run_dir.journal(process)
    path.write_bytes(data)
    return path


def assert_refused(run_dir: RunDir, path: Path, data: bytes, said: str, *words: str) -> None:
    """Assert that a refusal names file and place, says what can be done, and did nothing else."""
    for word in (str(path), "offset", "trader halt", "trader doctor", "trader paper reset", *words):
        assert word in said
    assert "Traceback" not in said
    assert path.read_bytes() == data
    assert Latch(run_dir).reason() == ""
    assert list(run_dir.crashes.glob("*.[0-9]*")) == list(run_dir.crashes.glob("*.json")) == []


def flipped(data: bytes, at: int) -> bytes:
    """Return the data with one bit turned."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def replaced(data: bytes) -> dict[str, tuple[bytes, str]]:
    """Return what can be wrong with a journal of three records, and the words that must say so."""
    return {
        "a bit in a body": (flipped(data, HEADER_BYTES + 20), "checksum of a record"),
        "a bit in a length": (flipped(data, HEADER_BYTES), "length and its checksum"),
        "a bit in the header": (flipped(data, 9), "header's checksum"),
        "a log of another kind": (encode_header("tape") + data[HEADER_BYTES:], "a log of kind 'tape'"),
        "no log at all": (b"x" * 100, "not a log file"),
    }


@pytest.mark.parametrize("damage", replaced(b"x" * 200))
def test_damaged_journal_is_refused_with_78_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    data, words = replaced(encode_header(KIND) + 3 * RECORD)[damage]
    with group(tmp_path) as toys:
        path = write_journal(toys.run_dir, "execution", data)
        for _ in range(2):
            toy = toys.start("execution")
            assert toy.wait() == ExitCode.CONFIGURATION
            assert_refused(toys.run_dir, path, data, toy.log.read_text(), words)


@pytest.mark.parametrize("process", JOURNALED)
@pytest.mark.parametrize("record", [b"no JSON", b'{"type":"Happened"}', b'{"type":"Nothing"}', b"\xff", b""])
def test_record_that_its_owner_cannot_take_back_is_refused_with_78(
    tmp_path_factory: pytest.TempPathFactory, process: str, record: bytes
) -> None:
    run_dir = RunDir(tmp_path_factory.mktemp("d") / "r")  # a unix socket's path is short
    data = encode_header(KIND) + encode_record(record)
    path = write_journal(run_dir, process, data)
    command = [sys.executable, "-P", "-m", f"processes.{process}", "--run-dir", str(run_dir.root)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == ExitCode.CONFIGURATION, done.stderr
    assert_refused(run_dir, path, data, done.stderr, f"offset {HEADER_BYTES}: record 0: ")


def test_offset_of_an_unreadable_record_is_where_it_begins(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        data = encode_header(KIND) + 2 * RECORD + encode_record(b"[]") + RECORD
        write_journal(toys.run_dir, "execution", data)
        toy = toys.start("execution")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert f"offset {HEADER_BYTES + 2 * len(RECORD)}: record 2: ValidationError" in toy.log.read_text()


def test_journal_that_is_gone_is_not_begun_anew_beside_the_others(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toys.start("execution").ready().stop()
        path = toys.run_dir.journal("execution")
        path.unlink()
        toy = toys.start("execution")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert f"{path}: is missing" in toy.log.read_text()
        assert not path.exists()
        for kept in toys.run_dir.journals.iterdir():
            kept.unlink()
        toys.start("execution").ready()


def test_journals_without_their_id_are_refused(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toys.start("execution").ready().stop()
        made = toys.run_dir.journals / "id"
        made.unlink()
        toy = toys.start("execution")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert f"{made}: is missing" in toy.log.read_text()
        assert not made.exists()


def test_torn_tail_is_cut_and_its_bytes_are_told(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        write_journal(toys.run_dir, "execution", encode_header(KIND) + RECORD + RECORD[:-7])
        toy = toys.start("execution").ready()
        (told,) = toy.lines("journal_torn")
        assert (told["level"], told["cut_bytes"], told["records"]) == ("warning", len(RECORD) - 7, 1)
        assert toy.count() == 2
        toy.stop()
        assert len(read(toys.run_dir.journal("execution"), KIND).records) == 2


def test_unfinished_checkpoint_of_a_killed_life_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "j.log"
    journal = Journal(path)
    journal.persist(b"one")
    journal.close()
    left = path.with_name("j.log.new")
    left.write_bytes(encode_header(KIND) + b"half a checkpoint")
    again = Journal(path)
    assert again.restored == (b"one",)
    assert not left.exists()
    again.close()


def fill_disk_of(toy: ToyProcess, room_bytes: int) -> None:
    """Let no file of a running process grow beyond this, as on a full disk."""
    limits = resource.prlimit(toy.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(toy.process.pid, resource.RLIMIT_FSIZE, (room_bytes, limits[1]))


def counted(toys: Group) -> int:
    """Let execution count once, where that is possible, and return what it counted before."""
    toy = toys.start("execution").ready()
    restored = toy.lines("counting")[0]["count"]
    assert isinstance(restored, int)
    fill_disk_of(toy, toys.run_dir.journal("execution").stat().st_size)
    with pytest.raises(Failure, match="execution"):  # it was not acknowledged, so it did not happen
        toy.count()
    assert toy.wait() == ExitCode.FAILED
    return restored


def test_full_disk_ends_a_life_before_anything_is_acknowledged_and_halts_the_third_time(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        first = toys.start("execution").ready()
        for _ in range(150):  # the journal must be longer than what the toy logs of its end
            first.count()
        first.kill()
        for _ in range(2):
            assert counted(toys) == 150
            assert Latch(toys.run_dir).reason() == ""
        assert counted(toys) == 150
        assert "execution: crashed 3 times within a minute" in Latch(toys.run_dir).reason()
        after = toys.start("execution").ready()  # there is room again
        assert after.lines("counting")[0]["latched"]
        assert after.count() == 151


def without_room() -> None:
    """Run in a child before its program: no file can grow. What it says goes through a pipe."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_disk_that_is_full_from_the_start_counts_as_crashes_and_ends_by_itself(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toys.start("execution").ready().kill()
        environment = {**os.environ, "TRADER_RUN_DIR": str(toys.path), "PYTHONDONTWRITEBYTECODE": "1"}
        for _ in range(3):
            assert Latch(toys.run_dir).reason() == ""
            done = subprocess.run(
                [sys.executable, "-m", "tests.bus.toy", "execution"], cwd=ROOT, env=environment,
                preexec_fn=without_room, capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == ExitCode.FAILED
            assert '"event":"crashed"' in done.stderr.replace(" ", "")
        assert Latch(toys.run_dir).reason() != ""
        assert toys.start("execution").ready().count() == 1


def test_broken_assertion_shows_all_that_the_core_held(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        assert [toy.count(), toy.count()] == [1, 2]
        toy.tell("assert")
        assert toy.wait() == ExitCode.FAILED
        [dump] = toys.run_dir.crashes.glob("execution-*.json")
        assert json.loads(dump.read_bytes())["core"]["count"] == 2


def test_nothing_runs_with_assertions_switched_off(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution", PYTHONOPTIMIZE="1")
        assert toy.wait() == ExitCode.CONFIGURATION
        assert "assertions are switched off" in toy.log.read_text()
