"""The same path over small recordings made up here: what the real sessions show, on any machine."""

from __future__ import annotations

import json
from typing import Any

from common.kalshi.subscriptions import USE_YES_PRICE
from tests.replay.recordings import Session

TICKER = "KXTEST-26NOV22-T1"
SECOND = "2026-05-13T15:30:"


class Recording:
    """Frames of one connection, numbered as the exchange does."""

    def __init__(self) -> None:
        self.frames: list[bytes | None] = []
        self._seq = 0

    def connect(self) -> None:
        self._seq = 0
        self.frames.append(None)

    def sequenced(self, kind: str, lost: bool = False, **msg: Any) -> None:
        self._seq += 1
        frame = {"type": kind, "sid": 2, "seq": self._seq, "msg": {"market_ticker": TICKER, **msg}}
        if not lost:
            self.frames.append(json.dumps(frame).encode())

    def snapshot(self, **sides: list[list[str]]) -> None:
        self.sequenced("orderbook_snapshot", **sides)

    def delta(self, side: str, price: str, delta: str, at: str, lost: bool = False) -> None:
        self.sequenced("orderbook_delta", lost, side=side, price_dollars=price, delta_fp=delta, ts=f"{SECOND}{at}Z")

    def quote(self, bid: tuple[str, str], ask: tuple[str, str], at: str) -> None:
        msg = {
            "market_ticker": TICKER, "price_dollars": "0.4700", "volume_fp": "1.00", "open_interest_fp": "1.00",
            "yes_bid_dollars": bid[0], "yes_bid_size_fp": bid[1], "yes_ask_dollars": ask[0], "yes_ask_size_fp": ask[1],
            "time": f"{SECOND}{at}Z",
        }  # fmt: skip
        self.frames.append(json.dumps({"type": "ticker", "sid": 1, "msg": msg}).encode())

    def play(self) -> Session:
        return Session(USE_YES_PRICE).play(self.frames)


def opened() -> Recording:
    """Return a recording whose book is 10 at 0.46 bid, 20 at 0.48 asked."""
    recording = Recording()
    recording.connect()
    recording.snapshot(yes_dollars_fp=[["0.4600", "10.00"]], no_dollars_fp=[["0.4800", "20.00"]])
    return recording


def test_a_ticker_is_compared_as_of_its_time_whenever_it_arrives() -> None:
    recording = opened()
    recording.quote(("0.4700", "5.00"), ("0.4800", "20.00"), at="01.000002")  # overtakes its own delta
    recording.delta("yes", "0.4700", "5.00", at="01.000002")
    recording.delta("yes", "0.4700", "1.00", at="01.000003")
    recording.quote(("0.4600", "10.00"), ("0.4800", "20.00"), at="00.9")  # late
    played = recording.play()
    assert (played.compared, played.differing) == (2, [])


def test_a_wrong_ticker_is_found() -> None:
    recording = opened()
    recording.quote(("0.4600", "10.00"), ("0.4800", "21.00"), at="01")
    assert len(recording.play().differing) == 1


def test_a_ticker_shows_the_book_after_the_whole_group_of_its_time() -> None:
    recording = opened()
    recording.delta("yes", "0.4800", "5.00", at="01.5")  # crosses: the other half of an amend
    recording.delta("no", "0.4800", "-20.00", at="01.5")
    recording.delta("no", "0.4900", "20.00", at="01.5")
    recording.quote(("0.4800", "5.00"), ("0.4900", "20.00"), at="01.5")
    played = recording.play()
    assert (played.compared, played.differing) == (1, [])
    assert (played.crossed_groups, played.largest_group) == (0, 3)


def test_a_close_empties_the_book_by_a_burst_and_an_empty_snapshot() -> None:
    recording = opened()
    for _ in range(200):
        recording.delta("yes", "0.4600", "0.50", at="00.5")
    for _ in range(200):
        recording.delta("yes", "0.4600", "-0.50", at="59.9")
    recording.delta("yes", "0.4600", "-10.00", at="59.9")
    recording.delta("no", "0.4800", "-20.00", at="59.9")
    recording.snapshot()
    recording.quote(("0.0000", "0.00"), ("1.0000", "0.00"), at="59.95")
    played = recording.play()
    assert (played.emptied, played.largest_group) == ([TICKER], 202)
    assert (played.keeper.gaps, played.keeper.bad_levels, played.differing) == (0, 0, [])


def test_numbers_start_again_with_a_new_connection_without_a_false_gap() -> None:
    recording = opened()
    recording.delta("yes", "0.4600", "1.00", at="01")
    recording.connect()
    recording.snapshot(yes_dollars_fp=[["0.4600", "11.00"]])
    recording.delta("no", "0.4900", "1.00", at="02")
    played = recording.play()
    assert (played.keeper.gaps, played.deltas) == (0, 2)


def test_a_lost_delta_is_a_gap_and_makes_the_book_stale_until_a_snapshot() -> None:
    recording = opened()
    recording.delta("yes", "0.4600", "1.00", at="01", lost=True)
    recording.delta("yes", "0.4600", "1.00", at="02")
    recording.quote(("0.4600", "12.00"), ("0.4800", "20.00"), at="03")
    played = recording.play()
    assert played.keeper.gaps == 1
    assert len(played.differing) == 1
    recording.snapshot(yes_dollars_fp=[["0.4600", "12.00"]], no_dollars_fp=[["0.4800", "20.00"]])
    assert recording.play().differing == []
