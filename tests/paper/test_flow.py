"""The simulated crowds: deterministic, restorable, like the real market, and costly for whoever is picked off."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise

import msgspec
import pytest

from common.clock import NS_PER_S
from common.errors import ConfigError
from common.paper.exchange import Exchange
from common.paper.fidelity import HELD, REAL, START_NS, compare, mean_figures, measure_scenario, within_a_factor_of_two
from common.paper.flow import Flow
from common.paper.model import (
    Accepted,
    BookDelta,
    CancelOrder,
    CreateOrder,
    Event,
    MarketAction,
    MarketStatus,
    SetPause,
    Side,
    TradeMade,
)
from common.paper.scenario import Scenario, load_scenario, parse_scenario
from common.paper.state import Options
from common.units import PRICE_ONE_E4

STEP_NS = NS_PER_S // 50

ROLLING = """
title = "half-minute markets"
[[crowd]]
name = "few"
deltas_per_s = 15
depth = [50, 80, 100]
noise_per_min = 60
informed_per_min = 60
[[series]]
ticker = "KXA"
title = "A"
[[rolling]]
series = "KXA"
title = "Up in half a minute?"
every_s = 30
first_closes_s = 30
settlement_timer_s = 2
value = { kind = "digital" }
crowd = "few"
"""


class Play:
    """A scenario on an exchange, in simulated time."""

    def __init__(self, scenario: Scenario | str, seed: int = 1, speed: float = 1.0) -> None:
        loaded = load_scenario(scenario) if isinstance(scenario, str) else scenario
        self.exchange = Exchange(Options(shards=loaded.options.shards))
        self.flow = Flow(loaded, seed, speed)
        self.now_ns = START_NS
        self.flow.step(self.exchange, self.now_ns)

    def run(self, seconds: float, step_ns: int = STEP_NS) -> Iterator[list[Event]]:
        """Let time pass; yield the events of every step."""
        end_ns = self.now_ns + round(seconds * NS_PER_S)
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + step_ns, end_ns)
            self.flow.step(self.exchange, self.now_ns)
            self.exchange.advance(self.now_ns)
            yield self.exchange.drain()

    def pass_time(self, seconds: float, step_ns: int = STEP_NS) -> list[Event]:
        return [event for events in self.run(seconds, step_ns) for event in events]

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        for _ in self.run(seconds):
            if condition():
                return
        raise AssertionError(f"not within {seconds} simulated seconds")

    def mid_e4(self, ticker: str) -> float | None:
        book = self.exchange.markets[ticker].book
        if book.best_bid_e4 is None or book.best_ask_e4 is None:
            return None
        return (book.best_bid_e4 + book.best_ask_e4) / 2


def books(exchange: Exchange) -> dict[str, tuple[list[tuple[int, int]], list[tuple[int, int]]]]:
    return {ticker: (each.book.levels("bid"), each.book.levels("ask")) for ticker, each in exchange.markets.items()}


# --- the default scenario ---


def test_first_ticker_of_the_default_scenario_suits_every_test() -> None:
    for seed in range(4):
        play = Play("default", seed)
        ticker = play.flow.tickers(play.exchange)[0]
        market = play.exchange.markets[ticker]
        mid_e4 = play.mid_e4(ticker)
        assert mid_e4 is not None and 3_000 <= mid_e4 <= 7_000
        assert market.price_level_structure == "linear_cent"
        assert market.close_ns - play.now_ns >= 3_600 * NS_PER_S
        play.pass_time(30, NS_PER_S)
        later_e4 = play.mid_e4(ticker)
        assert later_e4 is not None and 2_500 <= later_e4 <= 7_500


def test_busy_market_of_the_default_scenario_is_like_the_real_one(capsys: pytest.CaptureFixture[str]) -> None:
    figures = mean_figures([measure_scenario(busy_market(), "KXBTC15M-", seconds=600, seed=seed) for seed in (1, 2, 3)])
    with capsys.disabled():
        print(f"\n{compare(figures)}")
    missed = [name for name in sorted(HELD) if not within_a_factor_of_two(figures[name] / REAL[name])]
    assert not missed, f"{missed}\n{compare(figures)}"


def busy_market() -> Scenario:
    """Return the default scenario with nothing but its busy market."""
    scenario = load_scenario("default")
    busy = tuple(table for table in scenario.rolling if table.series == "KXBTC15M")
    return msgspec.structs.replace(scenario, market=(), event=(), rolling=busy)


def test_joining_the_best_price_does_not_earn_the_half_spread() -> None:
    """A maker as naive as this is filled when it hurts: 5 s later its fills are worth less than the half spread."""
    gains_e4: list[float] = []
    half_spreads_e4: list[float] = []
    for seed in (1, 2, 3):
        play = Play(busy_market(), seed)
        ticker = play.flow.tickers(play.exchange)[0]
        for gain_e4, half_spread_e4 in join_the_touch(play, ticker, seconds=600):
            gains_e4.append(gain_e4)
            half_spreads_e4.append(half_spread_e4)
    mean_e4, half_e4 = statistics.fmean(gains_e4), statistics.fmean(half_spreads_e4)
    assert len(gains_e4) >= 40, "too few fills to judge"
    assert mean_e4 < 0.5 * half_e4, (
        f"{len(gains_e4)} fills earn {mean_e4 / 100:.2f} c, half spread {half_e4 / 100:.2f} c"
    )


def join_the_touch(play: Play, ticker: str, seconds: int) -> Iterator[tuple[float, float]]:
    """Rest ten contracts at the touch for 8 s again and again; yield mark-out and half spread of each fill."""
    book = play.exchange.markets[ticker].book
    end_ns = play.now_ns + seconds * NS_PER_S
    side: Side = "bid"
    while play.now_ns < end_ns:
        side = "ask" if side == "bid" else "bid"
        price_e4 = book.best_bid_e4 if side == "bid" else book.best_ask_e4
        if price_e4 is None or not 1_500 <= price_e4 <= 8_500:
            play.pass_time(3)
            continue
        mid_e4 = play.mid_e4(ticker)
        assert mid_e4 is not None
        answer = play.exchange.apply(
            CreateOrder(
                account="default",
                ticker=ticker,
                side=side,
                qty_e2=1_000,
                price_e4=price_e4,
                time_in_force="good_till_canceled",
                post_only=True,
            ),
            play.now_ns,
        )
        assert isinstance(answer, Accepted)
        order = play.exchange.orders[answer.order.order_id]
        for _ in play.run(8):
            if not order.remaining_e2:
                break
        if order.remaining_e2:
            play.exchange.apply(
                CancelOrder(account="default", order_id=order.order_id, market_ticker=ticker), play.now_ns
            )
        if order.filled_e2:
            play.pass_time(5)
            value_e4 = play.flow.probability(ticker) * PRICE_ONE_E4
            yield (value_e4 - price_e4 if side == "bid" else price_e4 - value_e4), abs(mid_e4 - price_e4)


# --- determinism ---


def test_same_seed_and_times_give_the_same_books() -> None:
    one, two = Play("dense", seed=7), Play("dense", seed=7)
    assert one.pass_time(20) == two.pass_time(20)
    assert books(one.exchange) == books(two.exchange)


def test_another_seed_gives_another_market() -> None:
    one, two = Play("dense", seed=7), Play("dense", seed=8)
    one.pass_time(5)
    two.pass_time(5)
    assert books(one.exchange) != books(two.exchange)


def test_books_do_not_depend_on_how_often_the_flow_is_stepped() -> None:
    often, seldom = Play("dense", seed=7), Play("dense", seed=7)
    often.pass_time(20, NS_PER_S // 200)
    seldom.pass_time(20, NS_PER_S)
    assert books(often.exchange) == books(seldom.exchange)


def test_restored_flow_continues_as_the_one_that_was_never_interrupted() -> None:
    straight, broken = Play("dense", seed=7), Play("dense", seed=7)
    straight.pass_time(10)
    broken.pass_time(10)
    broken.exchange = Exchange.restore(broken.exchange.snapshot())
    broken.flow = Flow.restore(broken.flow.snapshot())
    straight_events, broken_events = straight.pass_time(10), broken.pass_time(10)
    assert straight_events == broken_events
    assert books(straight.exchange) == books(broken.exchange)


def test_crowds_pass_over_the_time_in_which_the_exchange_was_away() -> None:
    play = Play(parse_scenario(ROLLING, "t"))
    play.pass_time(5)
    back_ns = play.now_ns + 3_600 * NS_PER_S
    play.flow.skip(back_ns)
    events = play.pass_time(3_600, 3_600 * NS_PER_S)
    assert all(event.trade.ts_ns >= back_ns for event in events if isinstance(event, TradeMade))
    assert sum(isinstance(event, BookDelta) for event in events) < 2_000
    play.pass_time(60)
    assert len(play.flow.tickers(play.exchange)) == 1
    assert next(iter(play.exchange.markets.values())).status is MarketStatus.FINALIZED
    assert play.flow.refusals() == {}


# --- the life of markets ---


def test_rolling_markets_open_close_and_settle_one_after_the_other() -> None:
    play = Play(parse_scenario(ROLLING, "t"))
    assert [market.status for market in play.exchange.markets.values()] == ["active", "initialized"]
    play.pass_time(159, NS_PER_S // 2)
    markets = list(play.exchange.markets.values())
    states = [market.status for market in markets]
    assert states == [MarketStatus.FINALIZED] * 5 + [MarketStatus.ACTIVE, MarketStatus.INITIALIZED]
    for market, follower in pairwise(markets):
        assert follower.spec.open_ns == market.close_ns
    assert all(market.volume_e2 for market in markets[:5])


def test_markets_resolve_as_their_last_trades_say() -> None:
    play = Play(parse_scenario(ROLLING, "t"))
    play.pass_time(400, NS_PER_S // 2)
    settled = [market for market in play.exchange.markets.values() if market.result]
    assert {market.result for market in settled} == {"yes", "no"}
    agreed = sum((market.last_price_e4 > 5_000) == (market.result == "yes") for market in settled)
    assert agreed >= len(settled) - 2, f"{agreed} of {len(settled)}"


def test_speed_divides_the_schedule_and_the_pauses_but_not_the_stamps() -> None:
    slow, fast = Play("dense", seed=3), Play("dense", seed=3, speed=10.0)
    slow_deltas = [event for event in slow.pass_time(20) if isinstance(event, BookDelta)]
    fast_deltas = [event for event in fast.pass_time(2) if isinstance(event, BookDelta)]
    assert abs(len(fast_deltas) - len(slow_deltas)) < 0.1 * len(slow_deltas)
    assert all(START_NS <= event.ts_ns <= START_NS + 2 * NS_PER_S for event in fast_deltas)
    slow_market = slow.exchange.markets["KXDENSE-B-M04"]
    fast_market = fast.exchange.markets["KXDENSE-B-M04"]
    assert (slow_market.close_ns - START_NS) == 10 * (fast_market.close_ns - START_NS)


def test_speed_that_makes_markets_shorter_than_a_second_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"speed = 400.*at most 180"):
        Flow(load_scenario("dense"), 0, speed=400)


def test_quiet_scenario_shows_its_books_and_nothing_else_happens() -> None:
    play = Play("quiet")
    before = books(play.exchange)
    assert before["KXQUIET-ONE-A"][0][0] == (4_400, 30_000)
    assert before["KXQUIET-ONE-A"][1][0] == (4_600, 25_000)
    assert before["KXQUIET-ONE-EMPTY"] == ([], [])
    play.exchange.drain()
    assert play.pass_time(300, NS_PER_S) == []
    assert books(play.exchange) == before


def test_fixed_result_is_what_the_market_resolves_to() -> None:
    play = Play("quiet", speed=5_000.0)
    play.wait(lambda: play.exchange.markets["KXQUIETFEE-ONE-A"].result != "", 20)
    assert play.exchange.markets["KXQUIET-ONE-A"].result == "yes"
    assert play.exchange.markets["KXQUIET-ONE-B"].result == "no"


def test_crowd_rests_while_a_market_is_deactivated_and_returns_with_a_full_book() -> None:
    play = Play("dense")
    ticker = "KXDENSE-A-M02"
    play.pass_time(2)
    play.exchange.apply(MarketAction(ticker=ticker, action="deactivate"), play.now_ns)
    play.exchange.drain()
    quiet = [event for event in play.pass_time(5) if isinstance(event, BookDelta) and event.ticker == ticker]
    assert quiet == []
    play.exchange.apply(MarketAction(ticker=ticker, action="activate"), play.now_ns)
    play.pass_time(5)
    assert play.mid_e4(ticker) is not None
    assert len(play.exchange.markets[ticker].book.levels("bid")) > 10
    assert play.flow.refusals() == {}


def test_crowd_rests_while_trading_is_paused() -> None:
    play = Play("dense")
    play.pass_time(2)
    play.exchange.apply(SetPause(kind="trading", paused=True), play.now_ns)
    play.exchange.drain()
    assert [event for event in play.pass_time(3) if isinstance(event, BookDelta)] == []
    play.exchange.apply(SetPause(kind="trading", paused=False), play.now_ns)
    assert [event for event in play.pass_time(3) if isinstance(event, BookDelta)]
    assert play.flow.refusals() == {}


def test_market_closed_early_is_resolved_and_its_follower_still_comes() -> None:
    play = Play("dense")
    ticker = next(name for name in play.flow.tickers(play.exchange) if name.startswith("KXDENSE3M-"))
    play.exchange.apply(MarketAction(ticker=ticker, action="close"), play.now_ns)
    play.wait(lambda: play.exchange.markets[ticker].status is MarketStatus.FINALIZED, 20)
    follower = [name for name in play.exchange.markets if name.startswith("KXDENSE3M-")][1]
    assert play.exchange.markets[follower].spec.open_ns == START_NS + 170 * NS_PER_S


def test_two_shards_open_with_their_own_cash() -> None:
    play = Play("two_shards")
    assert play.exchange.accounts["default"].portfolios[0].cash_e6 == [6_000_000_000, 4_000_000_000]
    assert {market.spec.shard for market in play.exchange.markets.values()} == {0, 1}


def test_fine_grids_are_quoted_finer_than_a_cent() -> None:
    play = Play("sub_cent")
    play.pass_time(30)
    for market in play.exchange.markets.values():
        assert any(price_e4 % 100 for price_e4, _ in market.book.levels("bid")), market.ticker
    assert play.flow.refusals() == {}


def test_stress_scenario_makes_thousands_of_changes_a_second() -> None:
    play = Play("stress")
    play.pass_time(1)
    count = sum(isinstance(event, BookDelta) for event in play.pass_time(1))
    assert count > 7_000


def test_rolling_series_ends_after_its_count() -> None:
    play = Play(parse_scenario(ROLLING.replace("every_s", "count = 2\nevery_s"), "t"))
    play.pass_time(70, NS_PER_S // 2)
    assert [market.status for market in play.exchange.markets.values()] == [MarketStatus.FINALIZED] * 2
    assert play.flow.next_due_ns() is None
