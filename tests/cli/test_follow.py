"""Following logs: only what is new, over rotations, in whole lines."""

from __future__ import annotations

from pathlib import Path

from common.cli.follow import LogFollower, for_a_person

LINE = '{"ts":"2026-11-22T10:30:15.000250Z","level":"info","process":"exchange","event":"listening","port":5}'


def test_only_what_is_added_after_the_start_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "exchange.log"
    log.write_text("old\n")
    follower = LogFollower(tmp_path)
    assert follower.lines() == []
    with log.open("a") as file:
        file.write(f"{LINE}\nhalf a li")
        file.flush()
        assert follower.lines() == ["10:30:15.000 exchange    listening port=5"]
        file.write("ne\n")
    assert [line.strip() for line in follower.lines()] == ["exchange half a line"]


def test_rotated_and_new_logs_are_read_from_their_beginning(tmp_path: Path) -> None:
    log = tmp_path / "exchange.log"
    log.write_text("old\n" * 100)
    follower = LogFollower(tmp_path)
    log.rename(tmp_path / "exchange.log.1")
    log.write_text("new\n")
    (tmp_path / "feed.log").write_text("hello\n")
    assert [line.strip() for line in follower.lines()] == ["exchange new", "feed hello"]


def test_line_that_is_no_record_is_kept_as_it_is() -> None:
    assert for_a_person("Traceback (most recent call last):", "feed").strip().startswith("feed Traceback")
    assert for_a_person('{"nested": {}}', "feed").endswith('{"nested": {}}')
