"""`zmq`: what a person and a program see of a running group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.bus.frames import Frame, Header
from common.bus.tap import Heard
from common.cli import zmq_tap
from common.clock import Now
from common.errors import ExitCode
from common.registry import PROCESSES, REQUESTS, TOPICS
from tests.bus.processes import group

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0


def command(run_dir: Path, *arguments: str) -> list[str]:
    """Return the command line of a `zmq` call."""
    return [sys.executable, "-P", "-m", "common.cli.zmq", "--run-dir", str(run_dir), *arguments]


def zmq(run_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `zmq` and return how it ended."""
    return subprocess.run(
        command(run_dir, *arguments), cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in text.splitlines()]


def test_tap_prints_books_for_a_person_and_envelopes_for_a_program(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toys.start("feed", "feed").ready()
        shown = zmq(toys.path, "tap", "book/", "-n", "3", "--timeout", "20")
        assert shown.returncode == ExitCode.OK
        lines = shown.stdout.splitlines()
        assert len(lines) == 3
        assert all(" book/T " in line and " | " in line and "ms " in line for line in lines)
        found = zmq(toys.path, "tap", "--json", "book", "-n", "3", "--timeout", "20")
        envelopes = json_lines(found.stdout)
        assert set(envelopes[0]) == {
            "topic", "key", "seq", "number", "publisher", "session", "sent_ns", "age_us", "lost", "body",
        }  # fmt: skip
        assert [row["seq"] - envelopes[0]["seq"] for row in envelopes] == [0, 1, 2]
        assert {(row["topic"], row["key"], row["lost"], row["body"]["type"]) for row in envelopes} == {
            ("book", "T", 0, "Book")
        }


def test_tap_without_patterns_shows_everything_and_ends_with_its_time(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toys.start("feed", "feed").ready()
        toys.start("inference").ready()
        shown = zmq(toys.path, "tap", "--json", "--timeout", "6")
        assert shown.returncode == ExitCode.OK
        assert {row["topic"] for row in json_lines(shown.stdout)} == {"book", "heartbeat", "activity"}


def test_tap_of_a_topic_does_not_show_topics_whose_names_begin_alike(tmp_path: Path) -> None:
    shown = zmq(tmp_path, "tap", "order", "-n", "1", "--timeout", "0.2")
    assert shown.returncode == ExitCode.TIMED_OUT
    assert "0 of 1 messages" in shown.stderr
    assert f"nothing runs in {tmp_path} yet" in shown.stderr


def test_tap_of_an_unknown_topic_names_the_known_ones(tmp_path: Path) -> None:
    shown = zmq(tmp_path, "tap", "boook")
    assert shown.returncode == ExitCode.USAGE
    assert "order_group" in shown.stderr


@pytest.mark.parametrize("how", ["interrupt", "closed pipe"])
def test_tap_ends_quietly(tmp_path: Path, how: str) -> None:
    with group(tmp_path) as toys:
        toys.start("feed", "feed").ready()
        tap = subprocess.Popen(
            command(toys.path, "tap"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert tap.stdout is not None and tap.stderr is not None
        assert tap.stdout.readline()
        if how == "interrupt":
            tap.send_signal(signal.SIGINT)
        tap.stdout.close()
        tap.wait(TIMEOUT_S)
        assert tap.stderr.read() == ""
        tap.stderr.close()
        assert tap.returncode == (ExitCode.OK if how == "interrupt" else -signal.SIGPIPE)


def test_line_for_a_person_tells_of_a_loss_and_bounds_the_body() -> None:
    header = Header(publisher="feed", session="1-s", epoch=1, seq=9, sent_ns=5)
    body = b'{"type":"Error","process":"feed","error":"' + b"x" * 1_000 + b'"}'
    line = zmq_tap.line(Heard(Frame("error", "T", header, body), 3), Now(5_000_005, 10**18), 120)
    assert " error/T 5.0ms (lost 3) process=feed error=xxx" in line
    assert len(line) == 120
    assert line.endswith("…")


def test_body_that_is_no_json_is_shown_as_text() -> None:
    header = Header(publisher="feed", session="1-s", epoch=1, seq=9, sent_ns=5)
    heard = Heard(Frame("book", "T", header, b"\xffnot json"), 0)
    assert "not json" in zmq_tap.line(heard, Now(5, 5), 120)
    assert "not json" in json.loads(zmq_tap.json_line(heard, Now(5, 5)))["body"]


def test_list_shows_every_topic_with_its_owner(tmp_path: Path) -> None:
    rows = json_lines(zmq(tmp_path, "list", "--json").stdout)
    assert [row["topic"] for row in rows] == list(TOPICS)
    assert {row["topic"]: row["owners"] for row in rows}["fill"] == ["tracking"]
    table = zmq(tmp_path, "list").stdout
    assert all(topic in table for topic in TOPICS)
    assert all(request in table for request in REQUESTS)


def test_ps_shows_who_lives_and_who_is_missing(tmp_path: Path) -> None:
    with group(tmp_path) as toys:
        toy = toys.start("execution").ready()
        toy.count()
        shown = zmq(toys.path, "ps")
        assert shown.returncode == ExitCode.OK
        rows = {line.split()[0]: line for line in shown.stdout.splitlines() if line.strip()}
        assert str(toy.process.pid) in rows["execution"]
        assert "counted 1" in rows["execution"]
        assert "missing" in rows["feed"]
        assert {name for name, process in PROCESSES.items() if process.on_bus} <= set(rows)


def test_ps_of_a_group_that_does_not_run_says_so(tmp_path: Path) -> None:
    shown = zmq(tmp_path, "ps")
    assert shown.returncode == ExitCode.NOT_RUNNING
    assert "no process" in shown.stderr


@pytest.mark.parametrize("verb", ["tap", "list", "ps"])
def test_help_of_every_verb_has_an_example(tmp_path: Path, verb: str) -> None:
    shown = zmq(tmp_path, verb, "--help")
    assert shown.returncode == ExitCode.OK
    assert f"Example: zmq {verb}" in shown.stdout


def test_installed_program_is_called_zmq() -> None:
    program = Path(sys.executable).parent / "zmq"
    shown = subprocess.run([str(program), "--help"], capture_output=True, text=True, check=False, env=dict(os.environ))
    assert shown.returncode == ExitCode.OK
    assert shown.stdout.startswith("Usage: zmq")
