"""Replays: the recorded book verbatim, our orders filled conservatively, the ledger balanced.

The small recordings are made here; the real ones are looked for beside the repository.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.clock import NS_PER_MS, NS_PER_S, iso, parse_iso
from common.errors import ConfigError, Rejected
from common.paper.exchange import Exchange
from common.paper.keys import AccountBook
from common.paper.model import (
    Accepted,
    BookDelta,
    CancelOrder,
    CreateOrder,
    Event,
    FillMade,
    MarketAction,
    MarketStatus,
    Order,
    SetPause,
    Side,
    TimeInForce,
    TradeMade,
)
from common.paper.recording import BookFrame, DeltaFrame, load_recording, parse_recording
from common.paper.replay import Replay
from common.paper.scenario import parse_scenario
from common.paper.state import Options
from common.paper.venue import Venue
from common.units import format_price, format_qty

DATA = Path(__file__).parents[3] / "shared" / "data" / "btc15m"
TICKER = "KXBTC15M-26MAY131215-15"
RECORDED_NS = parse_iso("2026-05-13T12:05:00Z")
CLOSE_MS = 600_000
START_NS = 1_800_000_000 * NS_PER_S
NOBODY = parse_scenario("title = 'nobody'", "nobody")


class Tape:
    """A small recording in the making: prices in cents, counts in contracts, times in ms after its first frame."""

    def __init__(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        watched = {"close_time": iso(RECORDED_NS + CLOSE_MS * NS_PER_MS), "market_ticker": TICKER, "strike": 1.5}
        self.lines: list[dict[str, Any]] = [{"r": 0, "c": 0, "ctl": "watch_market", "d": watched}]
        self.reaches_close = True
        self.book(bids, asks)
        self.delta(0, "bid", 1, 1)  # snapshots have no stamp: this one dates it

    def frame(self, kind: str, message: dict[str, Any]) -> None:
        self.lines.append({"r": 0, "c": 1, "f": {"type": kind, "sid": 1, "msg": {"market_ticker": TICKER} | message}})

    def book(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        sides = {
            "yes_dollars_fp": [[cents(price), count(qty)] for price, qty in bids.items()],
            "no_dollars_fp": [[cents(100 - price), count(qty)] for price, qty in asks.items()],
        }
        self.frame("orderbook_snapshot", sides)

    def delta(self, ms: int, side: Side, price: int, qty: int) -> None:
        outcome, price = ("yes", price) if side == "bid" else ("no", 100 - price)
        message = {"side": outcome, "price_dollars": cents(price), "delta_fp": count(qty), "ts": stamp(ms)}
        self.frame("orderbook_delta", message)

    def ticker(self, ms: int, price: int, size: int, volume: int) -> None:
        message = {"price_dollars": cents(price), "last_trade_size_fp": count(size), "volume_fp": count(volume)}
        self.frame("ticker", message | {"time": stamp(ms)})

    def trade(self, ms: int, price: int, qty: int, taker: str) -> None:
        message = {"yes_price_dollars": cents(price), "count_fp": count(qty), "taker_side": taker, "ts": stamp(ms)}
        self.frame("trade", message)

    def write(self, path: Path) -> Path:
        if self.reaches_close:
            self.delta(CLOSE_MS + 600, "bid", 1, -1)
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        return path


def cents(price: int) -> str:
    return format_price(price * 100)


def count(qty: int) -> str:
    return format_qty(qty * 100)


def stamp(ms: int) -> str:
    return iso(RECORDED_NS + ms * NS_PER_MS)


class Screening:
    """A replay being watched, with an account that trades in it."""

    def __init__(self, path: Path, speed: float = 1.0) -> None:
        self.replay = Replay.open(path, NOBODY, seed=1, speed=speed)
        self.exchange = Exchange(Options(), self.replay.book_kinds)
        self.now_ns = START_NS
        self.step()

    @property
    def market(self) -> Any:
        return self.exchange.markets[TICKER]

    def step(self) -> list[Event]:
        self.replay.step(self.exchange, self.now_ns)
        self.exchange.advance(self.now_ns)
        return self.exchange.drain()

    def until(self, ms: int) -> list[Event]:
        self.now_ns = START_NS + ms * NS_PER_MS
        return self.step()

    def order(
        self, side: Side, price: int, qty: int, post_only: bool = True, tif: TimeInForce = "good_till_canceled"
    ) -> Order:
        command = CreateOrder(
            account="default",
            ticker=TICKER,
            side=side,
            qty_e2=qty * 100,
            price_e4=price * 100,
            time_in_force=tif,
            post_only=post_only,
        )
        answer = self.exchange.apply(command, self.now_ns)
        assert isinstance(answer, Accepted)
        return self.exchange.orders[answer.order.order_id]

    def ahead(self, order: Order) -> int:
        return self.exchange.queue_ahead_e2(order) // 100

    def shown(self, side: Side) -> list[tuple[int, int]]:
        return [(price_e4 // 100, qty_e2 // 100) for price_e4, qty_e2 in self.market.book.levels(side)]


@pytest.fixture
def tape() -> Tape:
    """Return a book of 44 to 46 cents."""
    return Tape({44: 100, 43: 50}, {46: 80, 47: 200})


def screen(tape: Tape, tmp_path: Path, speed: float = 1.0) -> Screening:
    return Screening(tape.write(tmp_path / "tape.jsonl"), speed)


# --- the public book ---


def test_without_orders_of_ours_the_book_is_the_recording(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "bid", 45, 30)
    tape.delta(200, "ask", 46, -80)
    show = screen(tape, tmp_path)
    assert show.shown("bid") == [(44, 100), (43, 50), (1, 1)]
    show.until(100)
    assert show.shown("bid")[0] == (45, 30)
    show.until(200)
    assert show.shown("ask") == [(47, 200)]


def test_our_orders_are_shown_on_top_of_the_recording(tape: Tape, tmp_path: Path) -> None:
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 10)
    show.order("bid", 45, 5)
    assert show.shown("bid")[:2] == [(45, 5), (44, 110)]
    show.exchange.apply(CancelOrder(account="default", order_id=order.order_id), show.now_ns)
    assert show.shown("bid")[:2] == [(45, 5), (44, 100)]


def test_published_changes_rebuild_the_shown_book_with_our_orders_in_it(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 45, 40)
    tape.delta(100, "bid", 44, -100)
    tape.delta(200, "ask", 45, -40)
    tape.delta(300, "ask", 44, 500)
    show = screen(tape, tmp_path)
    rebuilt = {side: dict(show.market.book.levels(side)) for side in ("bid", "ask")}
    show.order("bid", 45, 60)
    show.order("bid", 44, 7)
    show.order("ask", 46, 500)
    for ms in range(0, 500, 50):
        for event in show.until(ms):
            if isinstance(event, BookDelta):
                half = rebuilt[event.side]
                half[event.price_e4] = half.get(event.price_e4, 0) + event.delta_e2
                if not half[event.price_e4]:
                    del half[event.price_e4]
        for side in ("bid", "ask"):
            assert rebuilt[side] == dict(show.market.book.levels(side)), f"{side} at {ms} ms"
        book = show.market.book
        assert book.best_bid_e4 is None or book.best_ask_e4 is None or book.best_bid_e4 < book.best_ask_e4


# --- our orders take ---


def test_marketable_order_takes_displayed_size_once(tape: Tape, tmp_path: Path) -> None:
    show = screen(tape, tmp_path)
    assert show.order("bid", 46, 60, post_only=False, tif="immediate_or_cancel").filled_e2 == 60_00
    assert show.order("bid", 46, 60, post_only=False, tif="immediate_or_cancel").filled_e2 == 20_00
    assert show.order("bid", 46, 60, post_only=False, tif="immediate_or_cancel").filled_e2 == 0
    assert show.shown("ask")[0] == (46, 80), "the public book is the recording's"


def test_what_was_taken_stays_taken_until_the_level_falls(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 46, 30)
    tape.delta(200, "ask", 46, -100)
    tape.delta(300, "ask", 46, 90)
    show = screen(tape, tmp_path)
    show.order("bid", 46, 80, post_only=False, tif="immediate_or_cancel")
    show.until(100)
    assert show.order("bid", 46, 99, post_only=False, tif="immediate_or_cancel").filled_e2 == 30_00, "what came since"
    show.until(200)
    assert show.order("bid", 46, 99, post_only=False, tif="immediate_or_cancel").filled_e2 == 0
    show.until(300)
    assert show.order("bid", 46, 99, post_only=False, tif="immediate_or_cancel").filled_e2 == 90_00


def test_marketable_order_walks_the_recorded_levels_at_their_prices(tape: Tape, tmp_path: Path) -> None:
    show = screen(tape, tmp_path)
    order = show.order("bid", 47, 100, post_only=False, tif="fill_or_kill")
    assert order.taker_cost_e6 == (80 * 4_600 + 20 * 4_700) * 100


def test_crossing_post_only_order_is_rejected(tape: Tape, tmp_path: Path) -> None:
    show = screen(tape, tmp_path)
    with pytest.raises(Rejected, match="post only cross"):
        show.order("bid", 46, 1)


# --- our orders rest ---


def test_order_joins_behind_everything_displayed(tape: Tape, tmp_path: Path) -> None:
    show = screen(tape, tmp_path)
    first, second = show.order("bid", 44, 10), show.order("bid", 44, 10)
    assert (show.ahead(first), show.ahead(second)) == (100, 110)


def test_order_waits_for_all_better_prices_of_its_side(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "bid", 44, -30)
    show = screen(tape, tmp_path)
    deep, best = show.order("bid", 43, 10), show.order("bid", 45, 5)
    assert (show.ahead(deep), show.ahead(best)) == (155, 0)
    assert show.ahead(show.order("ask", 47, 1)) == 280
    show.until(100)
    assert show.ahead(deep) == 125


def test_removals_advance_nobody_beyond_what_is_displayed(tape: Tape, tmp_path: Path) -> None:
    tape.delta(50, "bid", 44, 60)
    tape.delta(100, "bid", 44, -60)
    tape.delta(200, "bid", 44, -70)
    tape.delta(300, "bid", 44, -30)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 10)
    show.until(100)
    assert show.ahead(order) == 100
    show.until(200)
    assert show.ahead(order) == 30
    show.until(300)
    assert show.ahead(order) == 0
    assert order.filled_e2 == 0


def test_inferred_trade_is_the_least_of_size_volume_and_removals(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(20, "bid", 44, 200)  # behind us
    tape.delta(100, "bid", 44, -130)
    tape.ticker(200, 44, 120, 1_125)  # 120, 125, 130: 120 traded, 100 of them ahead of us
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    show.until(150)
    assert order.filled_e2 == 0
    show.until(200)
    assert order.filled_e2 == 20_00
    assert show.ahead(order) == 0


@pytest.mark.parametrize(("size", "rise", "removed"), [(110, 500, 500), (500, 110, 500), (500, 500, 110)])
def test_each_of_the_three_bounds_the_inferred_trade(
    tape: Tape, tmp_path: Path, size: int, rise: int, removed: int
) -> None:
    tape.delta(5, "bid", 44, 1_000)
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(100, "bid", 44, -removed)
    tape.ticker(200, 44, size, 1_000 + rise)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    show.until(200)
    assert order.filled_e2 == 10_00


def test_quantity_that_traded_does_not_bring_us_forward_twice(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(100, "bid", 44, -60)  # all of the level was ahead of us: 40 are left, the trade took the others
    tape.ticker(200, 44, 60, 1_060)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    show.until(200)
    assert (show.ahead(order), order.filled_e2) == (40, 0)


def test_removals_from_before_we_came_are_no_trades_for_us(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(100, "bid", 44, -90)
    tape.ticker(200, 44, 90, 1_090)
    show = screen(tape, tmp_path)
    show.until(150)
    order = show.order("bid", 44, 50)
    show.until(200)
    assert (show.ahead(order), order.filled_e2) == (10, 0)


def test_trades_at_another_price_do_not_reach_us(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(50, "bid", 44, 400)
    tape.delta(100, "bid", 44, -300)
    tape.ticker(200, 43, 300, 1_300)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    show.until(200)
    assert (show.ahead(order), order.filled_e2) == (100, 0)


def test_second_order_of_ours_is_filled_after_the_first(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(50, "bid", 44, 400)
    tape.delta(100, "bid", 44, -130)
    tape.ticker(200, 44, 130, 1_130)
    show = screen(tape, tmp_path)
    first, second = show.order("bid", 44, 20), show.order("bid", 44, 20)
    show.until(200)
    assert (first.filled_e2, second.filled_e2) == (20_00, 10_00)


def test_prints_fill_us_and_then_tickers_are_not_asked(tape: Tape, tmp_path: Path) -> None:
    tape.delta(50, "bid", 44, 400)
    tape.ticker(60, 44, 5, 1_000)
    tape.trade(100, 44, 115, "no")
    tape.delta(100, "bid", 44, -115)
    tape.ticker(200, 44, 115, 1_115)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    events = show.until(100)
    assert order.filled_e2 == 15_00
    assert [event.trade.qty_e2 for event in events if isinstance(event, TradeMade)] == [115_00, 15_00]
    show.until(200)
    assert order.filled_e2 == 15_00


def test_print_that_buys_does_not_reach_a_bid(tape: Tape, tmp_path: Path) -> None:
    tape.trade(100, 44, 500, "yes")
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 50)
    show.until(100)
    assert (order.filled_e2, show.ahead(order)) == (0, 100)


def test_opposite_quote_at_our_price_fills_us_up_to_its_size_at_our_price(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "bid", 44, -100)
    tape.delta(100, "ask", 43, 8)
    tape.delta(100, "bid", 43, -50)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 20)
    events = show.until(100)
    fills = [event.fill for event in events if isinstance(event, FillMade)]
    assert [(fill.price_e4, fill.qty_e2, fill.is_taker) for fill in fills] == [(4_400, 8_00, False)]
    assert order.remaining_e2 == 12_00
    assert show.shown("ask")[0] == (43, 8), "the recording goes on showing it"
    show.until(400)
    assert order.remaining_e2 == 12_00, "it fills us once"


def test_quote_that_crosses_only_within_its_timestamp_group_does_not_fill_us(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 44, 30)
    tape.delta(100, "ask", 44, -30)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 20)
    show.until(200)
    assert order.filled_e2 == 0


def test_snapshots_fill_nobody(tape: Tape, tmp_path: Path) -> None:
    tape.book({40: 10}, {43: 25})
    tape.delta(500, "bid", 2, 1)  # the snapshot's stamp, too
    tape.delta(600, "bid", 2, 1)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 20)
    show.until(500)
    assert (show.shown("ask"), order.filled_e2) == ([(43, 25)], 0)
    show.until(600)
    assert order.filled_e2 == 20_00


def test_no_fill_after_the_close(tape: Tape, tmp_path: Path) -> None:
    tape.delta(CLOSE_MS + 100, "ask", 44, 30)
    tape.delta(CLOSE_MS + 200, "ask", 44, -30)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 20)
    show.until(CLOSE_MS + 150)
    assert order.filled_e2 == 0
    assert show.market.status is MarketStatus.CLOSED


def test_no_fill_while_trading_is_paused(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 44, 30)
    tape.delta(200, "ask", 44, -30)
    show = screen(tape, tmp_path)
    order = show.order("bid", 44, 20)
    show.exchange.apply(SetPause(kind="trading", paused=True), show.now_ns)
    show.until(150)
    assert order.filled_e2 == 0


def test_two_accounts_of_ours_trade_with_each_other(tape: Tape, tmp_path: Path) -> None:
    text = "title = 't'\n[[account]]\nname = 'default'\n[[account]]\nname = 'other'"
    replay = Replay.open(tape.write(tmp_path / "tape.jsonl"), parse_scenario(text, "t"), seed=1)
    exchange = Exchange(Options(), replay.book_kinds)
    replay.step(exchange, START_NS)
    for account, side in (("default", "bid"), ("other", "ask")):
        order = CreateOrder(
            account=account,
            ticker=TICKER,
            side=side,  # type: ignore[arg-type]
            qty_e2=500,
            price_e4=4_500,
            time_in_force="good_till_canceled",
        )
        exchange.apply(order, START_NS)
    assert exchange.accounts["default"].portfolios[0].positions[TICKER].position_e2 == 500
    assert exchange.accounts["other"].portfolios[0].positions[TICKER].position_e2 == -500


# --- the life of a recorded market ---


def test_market_closes_empties_and_resolves_by_where_its_book_stood(tape: Tape, tmp_path: Path) -> None:
    tape.delta(CLOSE_MS - 100, "ask", 46, -80)
    tape.delta(CLOSE_MS - 100, "ask", 47, -200)
    tape.delta(CLOSE_MS - 100, "ask", 99, 10)
    tape.delta(CLOSE_MS + 300, "bid", 44, -100)
    show = screen(tape, tmp_path)
    assert show.market.spec.close_ns == START_NS + CLOSE_MS * NS_PER_MS
    show.until(CLOSE_MS + 449)
    assert show.shown("bid") == [(43, 50), (1, 1)]
    show.until(CLOSE_MS + 450)
    assert show.shown("bid") == show.shown("ask") == []
    show.until(CLOSE_MS + 5_000)
    assert show.market.result == "yes"
    show.until(CLOSE_MS + 65_000)
    assert show.market.status is MarketStatus.FINALIZED
    assert show.replay.next_due_ns() is None


def test_market_whose_recording_ends_early_is_closed_there(tape: Tape, tmp_path: Path) -> None:
    tape.delta(1_000, "bid", 44, 1)
    tape.reaches_close = False
    show = screen(tape, tmp_path)
    show.until(1_000)
    assert show.market.status is MarketStatus.CLOSED
    show.until(6_000)
    assert show.market.result == "no"


def test_market_that_an_operator_closes_early_is_emptied_and_resolved(tape: Tape, tmp_path: Path) -> None:
    for ms in range(100, CLOSE_MS, 100):
        tape.delta(ms, "bid", 2, 1)
    show = screen(tape, tmp_path)
    show.until(5_000)
    show.exchange.apply(MarketAction(ticker=TICKER, action="close"), show.now_ns)
    show.until(5_600)
    assert show.shown("bid") == show.shown("ask") == []


def test_speed_compresses_the_recording(tape: Tape, tmp_path: Path) -> None:
    tape.delta(1_000, "bid", 45, 30)
    tape.delta(CLOSE_MS, "bid", 45, -30)
    show = screen(tape, tmp_path, speed=10.0)
    show.until(100)
    assert show.shown("bid")[0] == (45, 30)
    assert show.market.spec.close_ns == START_NS + CLOSE_MS * NS_PER_MS // 10


def test_ledger_balances_with_the_replay_as_counterparty(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 44, 5)
    tape.delta(200, "ask", 44, -5)
    show = screen(tape, tmp_path)
    show.order("bid", 44, 20)
    show.order("bid", 46, 60, post_only=False)
    show.until(200)
    assert_balanced(show.exchange)
    show.until(CLOSE_MS + 100_000)
    assert_balanced(show.exchange)
    assert all(
        position.position_e2 == 0 or show.market.status is MarketStatus.FINALIZED
        for account in show.exchange.accounts.values()
        for position in account.portfolios[0].positions.values()
    )


def assert_balanced(exchange: Exchange) -> None:
    cash_e6 = sum(sum(each.portfolios[0].cash_e6) for each in exchange.accounts.values())
    interest_e2 = sum(
        market.open_interest_e2 for market in exchange.markets.values() if market.status is not MarketStatus.FINALIZED
    )
    assert cash_e6 + interest_e2 * 10_000 + exchange.fees_e6 == 10_000_000_000


def test_restored_replay_continues_as_the_one_that_was_never_interrupted(tape: Tape, tmp_path: Path) -> None:
    tape.ticker(10, 44, 5, 1_000)
    tape.delta(50, "bid", 44, 400)
    tape.delta(100, "bid", 44, -130)
    tape.ticker(200, 44, 130, 1_130)
    tape.delta(300, "ask", 45, 3)
    seen: list[tuple[list[Event], Any]] = []
    for interrupted in (False, True):
        show = screen(tape, tmp_path)
        show.order("bid", 44, 50)
        show.order("bid", 45, 50)
        show.order("bid", 46, 90, post_only=False)
        show.until(100)
        if interrupted:
            data, played = show.exchange.snapshot(), show.replay.snapshot()
            show.replay = Replay.restore(played)
            show.exchange = Exchange.restore(data, show.replay.book_kinds)
        events = show.until(400)
        seen.append((events, (show.shown("bid"), show.shown("ask"))))
    assert seen[0] == seen[1]
    assert any(isinstance(event, FillMade) for event in seen[0][0])


def test_venue_recovers_a_replay_from_its_log(tape: Tape, tmp_path: Path) -> None:
    tape.delta(100, "ask", 45, 3)
    path, log = tape.write(tmp_path / "tape.jsonl"), []
    venue = Venue.found(NOBODY, AccountBook(), recording=path)
    log.append(venue.checkpoint())
    venue.record = log.append
    venue.advance(START_NS)
    order = CreateOrder(
        account="default", ticker=TICKER, side="bid", qty_e2=900, price_e4=4_600, time_in_force="good_till_canceled"
    )
    venue.execute(order, START_NS)
    venue.advance(START_NS + NS_PER_S)
    recovered = Venue.recover(log, AccountBook(), origin={})
    assert recovered.exchange.accounts["default"].portfolios[0].positions[TICKER].position_e2 == 900
    for side in ("bid", "ask"):
        book, again = venue.exchange.markets[TICKER].book, recovered.exchange.markets[TICKER].book
        assert again.levels(side) == book.levels(side)
    assert recovered.tickers() == venue.tickers() == [TICKER]


# --- recordings ---


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("{", "line 2"),
        ('{"f": {"type": "ticker", "msg": {"market_ticker": "' + TICKER + '"}}}', "line 2"),
        ('{"r": 1}', "line 2"),
    ],
)
def test_broken_line_is_named(line: str, part: str) -> None:
    watched = {"close_time": stamp(CLOSE_MS), "market_ticker": TICKER}
    with pytest.raises(ConfigError, match=part):
        parse_recording([json.dumps({"ctl": "watch_market", "d": watched}), line], "tape")


def test_recording_without_a_book_is_refused() -> None:
    with pytest.raises(ConfigError, match="no market"):
        parse_recording([], "tape")


def test_absent_recording_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.zst"):
        load_recording(tmp_path / "absent.zst")


# --- reality ---


def recordings() -> list[Path]:
    return sorted(DATA.glob("*.jsonl.zst")) if DATA.is_dir() else []


def references(path: Path) -> Iterator[tuple[str, int, dict[str, dict[int, int]]]]:
    """Yield market, time and book (before the close) after every stamp of a recording, kept by the plainest code."""
    for market in load_recording(path):
        book: dict[str, dict[int, int]] = {"bid": {}, "ask": {}}
        frames = market.frames
        for place, frame in enumerate(frames):
            if frame.ts_ns >= market.close_ns:
                break
            if isinstance(frame, BookFrame):
                book = {"bid": dict(frame.bids), "ask": dict(frame.asks)}
            elif isinstance(frame, DeltaFrame):
                half = book[frame.side]
                half[frame.price_e4] = half.get(frame.price_e4, 0) + frame.delta_e2
                if not half[frame.price_e4]:
                    del half[frame.price_e4]
            if place + 1 == len(frames) or frames[place + 1].ts_ns != frame.ts_ns:
                yield market.ticker, frame.ts_ns, book


@pytest.mark.skipif(not recordings(), reason="the recordings (../shared/data/btc15m) are not here")
@pytest.mark.parametrize("path", recordings()[3:], ids=lambda path: path.name[:12])
def test_published_book_of_a_real_session_is_the_recorded_one_at_every_frame(path: Path) -> None:
    replay = Replay.open(path, NOBODY, seed=1)
    exchange = Exchange(Options(), replay.book_kinds)
    first_ns = None
    published: dict[str, dict[str, dict[int, int]]] = {}
    compared = 0
    for ticker, ts_ns, reference in references(path):
        first_ns = first_ns or ts_ns
        replay.step(exchange, START_NS + ts_ns - first_ns)
        for event in exchange.drain():
            if isinstance(event, BookDelta):
                half = published.setdefault(event.ticker, {"bid": {}, "ask": {}})[event.side]
                half[event.price_e4] = half.get(event.price_e4, 0) + event.delta_e2
                if not half[event.price_e4]:
                    del half[event.price_e4]
        assert published[ticker] == reference, f"{ticker} at {iso(ts_ns)}"
        compared += 1
    assert compared > 1_000
    market = next(iter(exchange.markets.values()))
    assert market.volume_e2 > 0
