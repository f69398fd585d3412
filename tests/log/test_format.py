"""The log format: what is written comes back, what was torn is cut, what was changed is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import LogDamaged
from common.log.format import HEADER_BYTES, SECTOR_BYTES, encode_header, encode_record, encode_records, scan

RECORDS = [b"first", b"", b"\0\0\0\0", b"a longer fourth record " * 20, b"last"]


def log_of(records: list[bytes]) -> bytes:
    return encode_header("test") + encode_records(records)


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_records_come_back_as_written(records: list[bytes]) -> None:
    data = log_of(records)
    assert scan(data, "test", "x.log") == (records, len(data), 0)


def test_every_flipped_byte_is_noticed() -> None:
    data = log_of(RECORDS)
    for offset in range(len(data)):
        for bit in (0x01, 0x80):
            changed = bytearray(data)
            changed[offset] ^= bit
            with pytest.raises(LogDamaged, match=r"x\.log: offset \d+: "):
                scan(bytes(changed), "test", "x.log")


def test_every_cut_keeps_the_whole_records_before_it() -> None:
    data = log_of(RECORDS)
    ends = [HEADER_BYTES]
    for record in RECORDS:
        ends.append(ends[-1] + len(encode_record(record)))
    for length in range(HEADER_BYTES, len(data)):
        found = scan(data[:length], "test", "x.log")
        whole = sum(1 for end in ends[1:] if end <= length)
        assert found == (RECORDS[:whole], ends[whole], length - ends[whole])


def test_file_killed_while_its_header_was_written_is_empty() -> None:
    for length in range(HEADER_BYTES):
        assert scan(encode_header("test")[:length], "test", "x.log") == ([], 0, length)


def test_trailing_zeros_are_cut() -> None:
    data = log_of(RECORDS)
    for zeros in (1, 11, 12, 13, 5000):
        assert scan(data + bytes(zeros), "test", "x.log") == (RECORDS, len(data), zeros)


def test_last_record_whose_sectors_never_reached_the_disk_is_cut() -> None:
    data = log_of([b"kept", b"x" * 3 * SECTOR_BYTES])
    end = HEADER_BYTES + len(encode_record(b"kept"))
    for lost_from in range(SECTOR_BYTES, len(data), SECTOR_BYTES):
        torn = data[:lost_from] + bytes(len(data) - lost_from)
        assert scan(torn, "test", "x.log") == ([b"kept"], end, len(data) - end)


def test_zeros_before_a_later_record_are_damage() -> None:
    data = log_of([b"x" * 3 * SECTOR_BYTES, b"later"])
    holed = data[:SECTOR_BYTES] + bytes(SECTOR_BYTES) + data[2 * SECTOR_BYTES :]
    with pytest.raises(LogDamaged, match="offset 44: the checksum"):
        scan(holed, "test", "x.log")


def test_other_kinds_versions_and_files_are_refused() -> None:
    with pytest.raises(LogDamaged, match="a log of kind 'test', expected 'tape'"):
        scan(log_of([]), "tape", "x.log")
    with pytest.raises(LogDamaged, match="not a log file"):
        scan(b'{"type":"ok"}' * 10, "test", "x.log")
