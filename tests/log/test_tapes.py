"""Tapes: what was written comes back in order, tapes follow one another, and their sum stays bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.clock import Now
from common.log import tapes
from common.log.tapes import Record, Tapes


def record(number: int, body_bytes: int = 100) -> Record:
    return Record(Now(number, 1_000 + number), b"book/T/", b'{"seq":%d}' % number, b"x" * body_bytes)


def test_records_come_back_in_order_over_several_tapes(tmp_path: Path) -> None:
    writer = Tapes(tmp_path / "tapes", tape_bytes_max=1_000, all_bytes_max=100_000)
    for number in range(50):
        writer.append([record(number)], Now(number, number))
    writer.close()
    assert writer.count > 3
    assert list(tapes.read(tmp_path / "tapes")) == [record(number) for number in range(50)]


def test_oldest_tapes_go_when_the_sum_is_reached(tmp_path: Path) -> None:
    writer = Tapes(tmp_path / "tapes", tape_bytes_max=1_000, all_bytes_max=5_000)
    for number in range(500):
        writer.append([record(number)], Now(number, number))
    writer.close()
    kept = list(tapes.read(tmp_path / "tapes"))
    assert sum(path.stat().st_size for path in (tmp_path / "tapes").iterdir()) <= 5_000 + 200
    assert kept == [record(number) for number in range(500 - len(kept), 500)]


def test_next_life_adds_a_tape_and_counts_those_before(tmp_path: Path) -> None:
    for life in (1, 2):
        writer = Tapes(tmp_path / "tapes", tape_bytes_max=1_000, all_bytes_max=10_000)
        writer.append([record(life)], Now(life, life))
        writer.close()
    assert writer.count == 2
    assert writer.bytes == sum(path.stat().st_size for path in (tmp_path / "tapes").iterdir())


def test_disk_that_refuses_raises_and_the_next_append_tries_anew(tmp_path: Path) -> None:
    (tmp_path / "tapes").write_text("a file where the directory should be")
    writer = Tapes(tmp_path / "tapes", tape_bytes_max=1_000, all_bytes_max=10_000)
    with pytest.raises(OSError, match="exists"):
        writer.append([record(1)], Now(1, 1))
    (tmp_path / "tapes").unlink()
    writer.append([record(2)], Now(2, 2))
    writer.close()
    assert list(tapes.read(tmp_path / "tapes")) == [record(2)]
