"""Log files: torn tails, failed writes, replacement."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.errors import LogDamaged
from common.log.files import Writer, iterate_file, read, replace, write_file
from common.log.format import encode_record


def write_log(path: Path, *commits: list[bytes]) -> None:
    writer, _ = Writer.open(path, "test")
    for commit in commits:
        writer.append(commit, sync=True)
    writer.close()


def test_commits_are_found_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(path, [b"one", b"two"], [b"three"])
    writer, found = Writer.open(path, "test")
    writer.append([b"four"])
    writer.close()
    assert found.records == [b"one", b"two", b"three"]
    assert read(path, "test").records == [b"one", b"two", b"three", b"four"]
    assert list(iterate_file(path, "test")) == [b"one", b"two", b"three", b"four"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_commit_that_must_be_on_the_disk_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, _ = Writer.open(tmp_path / "a.log", "test")
    synced: list[int] = []

    def fdatasync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    writer.append([b"one"])
    assert synced == []
    writer.append([b"two"], sync=True)
    assert synced == [writer.size]
    writer.close()


def test_torn_tail_is_cut_before_the_next_commit(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(path, [b"one"])
    with path.open("ab") as file:
        file.write(encode_record(b"half of this")[:-3])
    writer, found = Writer.open(path, "test")
    assert found.torn_bytes == 21
    writer.append([b"two"])
    writer.close()
    assert read(path, "test") == ([b"one", b"two"], path.stat().st_size, 0)


def test_damage_names_the_file_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(path, [b"one", b"two"])
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogDamaged, match=r"a\.log: offset"):
        Writer.open(path, "test")
    assert path.read_bytes() == data


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let no file grow beyond a size: a write takes what fits, and the next one fails, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)


def test_failed_write_leaves_no_half_commit(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer, _ = Writer.open(path, "test")
    writer.append([b"one"])
    with files_up_to(writer.size + 500), pytest.raises(OSError):
        writer.append([b"x" * 1000])
    writer.append([b"two"])
    writer.close()
    assert read(path, "test").records == [b"one", b"two"]


def test_replace_begins_a_new_log_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(path, [b"old"] * 1000)
    writer = replace(path, "test", [b"checkpoint"])
    writer.append([b"after"])
    writer.close()
    assert read(path, "test").records == [b"checkpoint", b"after"]
    assert os.listdir(tmp_path) == ["a.log"]


def test_replacement_that_was_never_renamed_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write_log(path, [b"old"])
    (tmp_path / "a.log.new").write_bytes(b"half a checkp")
    assert read(path, "test").records == [b"old"]
    replace(path, "test", [b"checkpoint"]).close()
    assert read(path, "test").records == [b"checkpoint"]


def test_small_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_file(path, b"first")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600


def test_small_file_that_does_not_fit_leaves_the_old_one_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    write_file(path, b"first")
    with files_up_to(500), pytest.raises(OSError):
        write_file(path, b"x" * 1000)
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["token"]
