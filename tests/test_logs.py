"""Logs: what a line looks like, and that no secret is ever in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from common import logs
from common.clock import NS_PER_S, Now
from common.logs import LibraryHandler, Log

KEY_ID = "6c1b2a9e-0000-4000-8000-00000000c0de"
SIGNATURE = "Zm9v" * 86 + "=="
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"


class Time:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.mono_ns = 5 * NS_PER_S

    def read(self) -> Now:
        return Now(self.mono_ns, 1_795_000_000 * NS_PER_S + self.mono_ns)


@pytest.fixture
def sink() -> io.StringIO:
    return io.StringIO()


def lines(sink: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_line_is_json_with_stamp_level_process_event_and_fields(sink: io.StringIO) -> None:
    Log("feed", sink=sink, clock=Time().read).bind(ticker="KXBTC").info("gap_found", missing=3)
    assert lines(sink) == [
        {
            "ts": "2026-11-18T11:06:45.000000Z",
            "level": "info",
            "process": "feed",
            "event": "gap_found",
            "ticker": "KXBTC",
            "missing": 3,
        }
    ]


def test_line_on_a_terminal_is_plain_text(sink: io.StringIO) -> None:
    Log("feed", sink=sink, is_terminal=True, clock=Time().read).warning("gap_found", missing=3)
    assert sink.getvalue() == "11:06:45.000 feed        WARNING gap_found missing=3\n"


def test_bound_context_does_not_leak_into_the_parent(sink: io.StringIO) -> None:
    log = Log("feed", sink=sink)
    log.bind(ticker="KXBTC").info("first")
    log.info("second")
    assert [line.get("ticker") for line in lines(sink)] == ["KXBTC", None]


def test_lines_below_the_level_are_not_written(sink: io.StringIO) -> None:
    log = Log("feed", sink=sink, level="warning")
    log.info("quiet")
    log.debug("quieter")
    log.error("loud")
    assert [line["event"] for line in lines(sink)] == ["loud"]


def test_repeats_are_counted_and_reported_once_the_period_is_over(sink: io.StringIO) -> None:
    time = Time()
    log = Log("feed", sink=sink, clock=time.read)
    for _ in range(logs.REPEATS + 7):
        log.warning("reconnect_failed")
    assert len(lines(sink)) == logs.REPEATS
    time.mono_ns += logs.PERIOD_NS
    log.warning("reconnect_failed")
    assert lines(sink)[-1]["left_out"] == 7


def test_repeats_in_another_context_are_counted_apart(sink: io.StringIO) -> None:
    log = Log("feed", sink=sink, clock=Time().read)
    for number in range(logs.REPEATS + 7):
        log.bind(ticker=number).warning("market_off")
    assert len(lines(sink)) == logs.REPEATS + 7


def test_very_long_text_is_cut(sink: io.StringIO) -> None:
    Log("feed", sink=sink).info("body", text="x" * 1_000_000)
    assert len(sink.getvalue()) < 5_000
    assert "1000000 characters" in sink.getvalue()


def _leaks(log: Log) -> Iterator[Callable[[], None]]:
    """Yield the ways in which a secret could be written by mistake."""
    headers = {"KALSHI-ACCESS-KEY": KEY_ID, "KALSHI-ACCESS-SIGNATURE": SIGNATURE}
    yield lambda: log.info("sent", headers=str(headers))
    yield lambda: log.info("sent", key_id=KEY_ID, signature="short", control_token="t0ken", Authorization="Bearer x")
    yield lambda: log.info("loaded", text=PEM)
    yield lambda: log.info("loaded", text=PEM[:60])
    yield lambda: log.bind(text=repr(PEM)).info("loaded")
    yield lambda: log.info("signed", text=f"signature {SIGNATURE} of POST")
    yield lambda: log.crash("failed", ValueError(f"{headers} {PEM}"))
    record = logging.makeLogRecord({"levelno": logging.INFO, "msg": "%s", "args": (str(headers),)})
    yield lambda: LibraryHandler(log).handle(record)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_no_secret_is_ever_written(sink: io.StringIO, is_terminal: bool) -> None:
    log = Log("execution", sink=sink, secrets=[KEY_ID], is_terminal=is_terminal)
    for leak in _leaks(log):
        leak()
    text = sink.getvalue()
    assert text.count(logs.HIDDEN) >= 10
    for secret in (KEY_ID, SIGNATURE, SIGNATURE[:40], "MIIEvQIBADANBgkq", "short", "t0ken", "Bearer"):
        assert secret not in text


def test_hidden_secret_leaves_the_line_readable_json(sink: io.StringIO) -> None:
    Log("feed", sink=sink).info("loaded", text=PEM[:60], after="kept")
    assert lines(sink)[0]["after"] == "kept"


def test_library_records_keep_their_level(sink: io.StringIO) -> None:
    handler = LibraryHandler(Log("feed", sink=sink))
    handler.handle(logging.makeLogRecord({"name": "aiohttp", "levelno": logging.ERROR, "msg": "broken"}))
    assert [(line["level"], line["library"], line["message"]) for line in lines(sink)] == [
        ("error", "aiohttp", "broken")
    ]
