"""Markets, books, trades, candles, events and series, as anybody reads them."""

from __future__ import annotations

from typing import Any

import pytest

from common.clock import NS_PER_S
from common.paper.model import AddEvent, EventSpec, MarketAction
from common.paper.query import encode_cursor
from tests.paper.rest import CENT, TAPERED, Client, Paper

EVENT = "KXRAIN-26SEP21"
SERIES = "KXRAIN"


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def alice(paper: Paper) -> Client:
    return paper.client("alice")


@pytest.fixture
def bob(paper: Paper) -> Client:
    return paper.client("bob")


def market(paper: Paper, ticker: str = CENT) -> Any:
    return paper.ask("GET", f"/markets/{ticker}").json["market"]


def tickers(paper: Paper, query: str = "") -> list[str]:
    answer = paper.ask("GET", "/markets", query)
    assert answer.status == 200, answer
    return [row["ticker"] for row in answer.json["markets"]]


def quotes(paper: Paper) -> tuple[str, ...]:
    body = market(paper)
    return tuple(body[f"{name}_dollars"] for name in ("yes_bid", "yes_ask", "no_bid", "no_ask"))


def test_a_market_that_was_never_quoted_has_its_own_sentinels(paper: Paper) -> None:
    assert quotes(paper) == ("0.0000", "0.0000", "1.0000", "1.0000")


def test_an_emptied_book_shows_the_ends_of_the_scale(paper: Paper, alice: Client) -> None:
    alice.delete(f"/portfolio/events/orders/{alice.new_order()}")
    assert quotes(paper) == ("0.0000", "1.0000", "0.0000", "1.0000")
    body = market(paper)
    assert (body["yes_bid_size_fp"], body["yes_ask_size_fp"]) == ("0.00", "0.00")


def test_a_one_sided_book_shows_the_end_of_the_scale_on_the_other_side(paper: Paper, alice: Client) -> None:
    order_id = alice.new_order(count="2.00")
    assert quotes(paper) == ("0.4000", "1.0000", "0.0000", "0.6000")
    alice.delete(f"/portfolio/events/orders/{order_id}")
    alice.new_order(side="ask", price="0.4500", count="3.00")
    assert quotes(paper) == ("0.0000", "0.4500", "0.5500", "1.0000")
    assert market(paper)["yes_ask_size_fp"] == "3.00"


def test_a_market_tells_its_grid_times_and_strike(paper: Paper) -> None:
    body = market(paper, TAPERED)
    assert body["price_level_structure"] == "tapered_deci_cent"
    assert body["price_ranges"] == [
        {"start": "0.0000", "end": "0.1000", "step": "0.0010"},
        {"start": "0.1000", "end": "0.9000", "step": "0.0100"},
        {"start": "0.9000", "end": "1.0000", "step": "0.0010"},
    ]
    assert (body["open_time"], body["close_time"]) == ("2026-09-21T14:13:20Z", "2026-09-21T15:13:20Z")
    assert (body["status"], body["result"], body["market_type"]) == ("active", "", "binary")
    assert body["liquidity_dollars"] == "0.0000"


def test_a_trade_shows_in_last_price_volume_and_interest(paper: Paper, alice: Client, bob: Client) -> None:
    alice.new_order(count="3.00")
    bob.new_order(side="ask", count="3.00")
    body = market(paper)
    assert body["last_price_dollars"] == "0.4000"
    assert (body["volume_fp"], body["volume_24h_fp"], body["open_interest_fp"]) == ("3.00", "3.00", "3.00")


def test_the_quotes_of_a_day_ago_are_remembered(paper: Paper, alice: Client, bob: Client) -> None:
    paper.apply(MarketAction(ticker=CENT, action="close_at", ts_ns=paper.now_ns + 3 * 86_400 * 10**9))
    alice.new_order(price="0.3000", count="2.00")
    bob.new_order(side="ask", price="0.3000")
    assert market(paper)["previous_price_dollars"] == "0.0000"
    paper.wait(86_400)
    alice.new_order(price="0.5000")
    paper.wait(120)
    body = market(paper)
    assert body["previous_price_dollars"] == "0.3000"
    assert (body["previous_yes_bid_dollars"], body["previous_yes_ask_dollars"]) == ("0.3000", "1.0000")
    assert (body["yes_bid_dollars"], body["volume_24h_fp"]) == ("0.5000", "0.00")


def test_a_settled_market_tells_value_and_time(paper: Paper) -> None:
    paper.apply(MarketAction(ticker=CENT, action="close"))
    paper.apply(MarketAction(ticker=CENT, action="determine", result="yes"))
    determined = market(paper)
    assert (determined["status"], determined["result"]) == ("determined", "yes")
    assert determined["settlement_value_dollars"] == "1.0000"
    assert "settlement_ts" not in determined
    paper.wait(6)
    settled = market(paper)
    assert settled["status"] == "finalized"
    assert settled["settlement_ts"] == "2026-09-21T14:13:25Z"


def test_an_unknown_market_is_a_404(paper: Paper) -> None:
    for path in ("/markets/KXNO", "/markets/KXNO/orderbook", "/events/KXNO", "/series/KXNO"):
        answer = paper.ask("GET", path)
        assert (answer.status, answer.code()) == (404, "not_found")


# --- lists ---


def test_each_status_word_finds_its_markets(paper: Paper) -> None:
    paper.add_market("LATER", open_in_s=600)
    for ticker in ("PAUSED", "CLOSED", "DETERMINED", "SETTLED"):
        paper.add_market(ticker)
    paper.apply(MarketAction(ticker="PAUSED", action="deactivate"))
    for ticker in ("CLOSED", "DETERMINED", "SETTLED"):
        paper.apply(MarketAction(ticker=ticker, action="close"))
    for ticker in ("DETERMINED", "SETTLED"):
        paper.apply(MarketAction(ticker=ticker, action="determine", result="no"))
    paper.apply(MarketAction(ticker="SETTLED", action="settle"))
    assert tickers(paper, "status=unopened") == ["LATER"]
    assert tickers(paper, "status=open") == [TAPERED, CENT]
    assert tickers(paper, "status=paused") == ["PAUSED"]
    assert tickers(paper, "status=closed") == ["DETERMINED", "CLOSED"]
    assert tickers(paper, "status=settled") == ["SETTLED"]
    assert len(tickers(paper)) == 7
    assert paper.ask("GET", "/markets", "status=active").status == 400


def test_markets_are_filtered(paper: Paper) -> None:
    now_s = paper.now_ns // 10**9
    paper.wait(10)
    paper.add_market("YOUNG")
    assert tickers(paper, f"tickers={CENT},KXNO") == [CENT]
    assert tickers(paper, f"event_ticker={EVENT}") == ["YOUNG", TAPERED, CENT]
    assert tickers(paper, f"series_ticker={SERIES}&status=open") == ["YOUNG", TAPERED, CENT]
    assert tickers(paper, "series_ticker=KXNO") == []
    assert tickers(paper, "mve_filter=only") == []
    assert tickers(paper, "mve_filter=exclude") == ["YOUNG", TAPERED, CENT]
    assert tickers(paper, f"min_created_ts={now_s + 5}") == ["YOUNG"]
    assert tickers(paper, f"max_created_ts={now_s + 5}") == [TAPERED, CENT]
    assert tickers(paper, f"min_close_ts={now_s + 3_605}") == ["YOUNG"]
    assert tickers(paper, f"min_updated_ts={now_s + 5}") == ["YOUNG"]
    assert tickers(paper, "min_settled_ts=1") == []


@pytest.mark.parametrize(
    "query",
    [
        "min_close_ts=1&min_created_ts=1",
        "min_close_ts=1&status=open",
        "min_settled_ts=1&status=closed",
        "min_updated_ts=1&status=open",
        f"min_updated_ts=1&event_ticker={EVENT}",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "mve_filter=some",
        "tickers=" + ",".join(["X"] * 1_001),
    ],
)
def test_filters_that_do_not_go_together_are_refused(paper: Paper, query: str) -> None:
    answer = paper.ask("GET", "/markets", query)
    assert answer.status == 400
    assert answer.json["msg"].startswith("Parameter validation failed for GetMarkets: ")


def test_the_recorded_text_for_a_limit_above_the_maximum(paper: Paper) -> None:
    assert paper.ask("GET", "/markets", "limit=1001").raw == (
        b'{"msg":"Parameter validation failed for GetMarkets: Key: \'GetMarketsParams.Limit\' '
        b"Error:Field validation for 'Limit' failed on the 'lte' tag\"}"
    )


def test_markets_are_paged_and_a_garbage_cursor_is_page_one(paper: Paper) -> None:
    for number in range(5):
        paper.add_market(f"M{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        page = paper.ask("GET", "/markets", f"limit=3&cursor={cursor}").json
        seen += [row["ticker"] for row in page["markets"]]
        cursor = page["cursor"]
        if not cursor:
            break
        paper.add_market(f"NEW{len(seen)}")
    assert seen == ["M4", "M3", "M2", "M1", "M0", TAPERED, CENT]
    assert paper.ask("GET", "/markets", "cursor=garbage-cursor-fixture").json["markets"][0]["ticker"] == "NEW6"


def test_a_cursor_whose_market_left_the_list_still_goes_on_behind_it(paper: Paper) -> None:
    for number in range(4):
        paper.add_market(f"M{number}")
    page = paper.ask("GET", "/markets", "status=open&limit=2").json
    assert [row["ticker"] for row in page["markets"]] == ["M3", "M2"]
    paper.apply(MarketAction(ticker="M2", action="close"))
    assert tickers(paper, f"status=open&limit=2&cursor={page['cursor']}") == ["M1", "M0"]


def test_a_list_may_name_a_thousand_markets(paper: Paper) -> None:
    many = ",".join([f"X{number}" for number in range(999)])
    assert tickers(paper, f"tickers={many},{CENT}") == [CENT]
    for path in ("/markets", "/events"):
        assert paper.ask("GET", path, f"tickers={many},{CENT}").status == 200
        assert paper.ask("GET", path, f"tickers={many},{CENT},Y").status == 400


# --- books ---


def test_a_book_is_ascending_with_the_best_last(paper: Paper, alice: Client) -> None:
    for price, count in (("0.4000", "1.00"), ("0.3000", "2.00"), ("0.3500", "3.50")):
        alice.new_order(price=price, count=count)
        alice.new_order(side="ask", price=f"{1 - float(price):.4f}", count=count)
    expected = [["0.3000", "2.00"], ["0.3500", "3.50"], ["0.4000", "1.00"]]
    whole = {"orderbook_fp": {"yes_dollars": expected, "no_dollars": expected}}
    assert paper.ask("GET", f"/markets/{CENT}/orderbook").json == whole
    assert paper.ask("GET", f"/markets/{CENT}/orderbook", "depth=0").json == whole
    assert paper.ask("GET", f"/markets/{CENT}/orderbook", "depth=-1").json == whole
    top = paper.ask("GET", f"/markets/{CENT}/orderbook", "depth=1").json["orderbook_fp"]
    assert top == {"yes_dollars": expected[-1:], "no_dollars": expected[-1:]}
    assert paper.ask("GET", f"/markets/{CENT}/orderbook", "depth=101").status == 400


def test_an_empty_book_has_both_keys(paper: Paper) -> None:
    assert paper.ask("GET", f"/markets/{CENT}/orderbook").raw == b'{"orderbook_fp":{"yes_dollars":[],"no_dollars":[]}}'


def test_many_books_come_in_the_order_asked_for(paper: Paper, alice: Client) -> None:
    alice.new_order()
    body = paper.ask("GET", "/markets/orderbooks", f"tickers={TAPERED}&tickers=KXNO&tickers={CENT}").json
    assert [row["ticker"] for row in body["orderbooks"]] == [TAPERED, CENT]
    assert body["orderbooks"][1]["orderbook_fp"]["yes_dollars"] == [["0.4000", "1.00"]]
    assert paper.ask("GET", "/markets/orderbooks").status == 400
    assert paper.ask("GET", "/markets/orderbooks", "tickers=x&" * 101).status == 400
    assert paper.ask("GET", "/markets/orderbooks", "tickers=" + "x" * 201).status == 400


# --- trades ---


def test_trades_are_newest_first_over_all_markets(paper: Paper, alice: Client, bob: Client) -> None:
    for number in range(4):
        ticker = CENT if number % 2 else TAPERED
        alice.new_order(ticker=ticker, price=f"0.4{number}00")
        bob.new_order(ticker=ticker, side="ask", price=f"0.4{number}00")
        paper.wait(10)

    def found(query: str) -> list[str]:
        answer = paper.ask("GET", "/markets/trades", query)
        assert answer.status == 200, answer
        return [row["yes_price_dollars"] for row in answer.json["trades"]]

    assert found("") == ["0.4300", "0.4200", "0.4100", "0.4000"]
    assert found(f"ticker={CENT}") == ["0.4300", "0.4100"]
    assert found("ticker=KXNO") == found("is_block_trade=true") == []
    assert found("is_block_trade=false") == found("limit=0") == found("")
    assert found(f"max_ts={paper.now_ns // 10**9 - 35}") == ["0.4000"]
    page = paper.ask("GET", "/markets/trades", "limit=3").json
    assert found(f"cursor={page['cursor']}") == ["0.4000"]


def test_a_trade_reads_as_the_taker_s_side(paper: Paper, alice: Client, bob: Client) -> None:
    alice.new_order()
    bob.new_order(side="ask")
    (trade,) = paper.ask("GET", "/markets/trades").json["trades"]
    assert trade == {
        "trade_id": trade["trade_id"],
        "ticker": CENT,
        "count_fp": "1.00",
        "yes_price_dollars": "0.4000",
        "no_price_dollars": "0.6000",
        "taker_outcome_side": "no",
        "taker_book_side": "ask",
        "taker_side": "no",
        "created_time": "2026-09-21T14:13:20Z",
        "is_block_trade": False,
    }


# --- candles ---


def test_candles_come_by_the_minute_and_by_the_hour(paper: Paper, alice: Client, bob: Client) -> None:
    start_s = paper.now_ns // 10**9
    for price in ("0.4000", "0.4600"):
        alice.new_order(price=price, count="2.00")
        bob.new_order(side="ask", price=price, count="1.00")
        paper.wait(60)
    path = f"/series/{SERIES}/markets/{CENT}/candlesticks"
    period = f"start_ts={start_s}&end_ts={start_s + 7_200}"
    body = paper.ask("GET", path, f"{period}&period_interval=1").json
    assert body["ticker"] == CENT
    first, second = body["candlesticks"]
    assert second["end_period_ts"] == first["end_period_ts"] + 60
    assert (first["price"]["close_dollars"], second["price"]["close_dollars"]) == ("0.4000", "0.4600")
    assert second["price"]["previous_dollars"] == "0.4000"
    (hour,) = paper.ask("GET", path, f"{period}&period_interval=60").json["candlesticks"]
    assert hour["end_period_ts"] % 3_600 == 0
    assert (hour["price"]["open_dollars"], hour["price"]["high_dollars"]) == ("0.4000", "0.4600")
    assert (hour["price"]["mean_dollars"], hour["volume_fp"]) == ("0.4300", "2.00")
    many = paper.ask("GET", "/markets/candlesticks", f"market_tickers={CENT},KXNO&{period}&period_interval=60").json
    assert many == {"markets": [{"market_ticker": CENT, "candlesticks": [hour]}]}


def test_the_latest_candle_before_can_be_carried_in(paper: Paper, alice: Client, bob: Client) -> None:
    alice.new_order(count="2.00")
    bob.new_order(side="ask", count="1.00")
    paper.wait(600)
    start_s = paper.now_ns // 10**9
    query = f"start_ts={start_s}&end_ts={start_s + 60}&period_interval=1&include_latest_before_start=true"
    (carried,) = paper.ask("GET", f"/series/{SERIES}/markets/{CENT}/candlesticks", query).json["candlesticks"]
    assert start_s <= carried["end_period_ts"] < start_s + 60
    assert carried["price"] == {"previous_dollars": "0.4000"}
    assert carried["volume_fp"] == "0.00"
    assert carried["yes_bid"]["open_dollars"] == carried["yes_bid"]["close_dollars"] == "0.4000"


@pytest.mark.parametrize(
    "query",
    ["", "start_ts=1&end_ts=2", "start_ts=1&end_ts=2&period_interval=5", "start_ts=x&end_ts=2&period_interval=1"],
)
def test_candles_need_their_three_parameters(paper: Paper, query: str) -> None:
    assert paper.ask("GET", f"/series/{SERIES}/markets/{CENT}/candlesticks", query).status == 400
    assert paper.ask("GET", "/markets/candlesticks", f"market_tickers={CENT}&{query}").status == 400


def test_candles_of_a_market_of_another_series_are_a_404(paper: Paper) -> None:
    query = "start_ts=1&end_ts=2&period_interval=1"
    assert paper.ask("GET", f"/series/KXNO/markets/{CENT}/candlesticks", query).status == 404
    assert paper.ask("GET", f"/series/{SERIES}/markets/KXNO/candlesticks", query).status == 404


# --- events and series ---


def test_an_event_comes_with_its_markets_beside_or_inside(paper: Paper) -> None:
    beside = paper.ask("GET", f"/events/{EVENT}").json
    assert [row["ticker"] for row in beside["markets"]] == [CENT, TAPERED]
    assert "markets" not in beside["event"]
    inside = paper.ask("GET", f"/events/{EVENT}", "with_nested_markets=true").json
    assert [row["ticker"] for row in inside["event"]["markets"]] == [CENT, TAPERED]
    assert paper.ask("GET", f"/events/{EVENT}", "exclude_markets=true").json["markets"] == []
    assert paper.ask("GET", f"/events/{EVENT}", "exclude_markets=true&with_nested_markets=true").status == 400


def test_events_are_filtered_and_paged(paper: Paper) -> None:
    paper.apply(AddEvent(event=EventSpec(ticker="KXRAIN-LATER", series_ticker=SERIES, title="Later?")))

    def found(query: str) -> list[str]:
        answer = paper.ask("GET", "/events", query)
        assert answer.status == 200, answer
        return [row["event_ticker"] for row in answer.json["events"]]

    assert found("") == ["KXRAIN-LATER", EVENT]
    assert found("status=open") == [EVENT]
    assert found("status=unopened") == ["KXRAIN-LATER"]
    assert found(f"tickers={EVENT}") == [EVENT]
    assert found("series_ticker=KXNO") == []
    assert found(f"min_close_ts={paper.now_ns // 10**9}") == [EVENT]
    assert found(f"min_updated_ts={paper.now_ns // 10**9}") == []
    page = paper.ask("GET", "/events", "limit=1").json
    assert found(f"limit=1&cursor={page['cursor']}") == [EVENT]
    assert found(f"status=unopened&cursor={encode_cursor(EVENT)}") == []
    assert paper.ask("GET", "/events", "with_milestones=true").json["milestones"] == []
    nested = paper.ask("GET", "/events", f"with_nested_markets=true&tickers={EVENT}").json["events"][0]
    assert len(nested["markets"]) == 2
    for bad in ("limit=201", "limit=0", "status=paused", "with_nested_markets=perhaps"):
        assert paper.ask("GET", "/events", bad).status == 400


def test_an_event_is_as_lively_as_its_liveliest_market(paper: Paper) -> None:
    def is_found_as(status: str) -> bool:
        return bool(paper.ask("GET", "/events", f"status={status}").json["events"])

    paper.apply(MarketAction(ticker=CENT, action="close"))
    assert is_found_as("open")
    paper.apply(MarketAction(ticker=TAPERED, action="close"))
    assert is_found_as("closed")
    for ticker in (CENT, TAPERED):
        paper.apply(MarketAction(ticker=ticker, action="determine", result="no"))
        paper.apply(MarketAction(ticker=ticker, action="settle"))
    assert is_found_as("settled")
    assert not is_found_as("closed")


def test_series_tell_their_fees(paper: Paper, alice: Client, bob: Client) -> None:
    alice.new_order(count="4.00")
    bob.new_order(side="ask", count="4.00")
    (series,) = paper.ask("GET", "/series", "category=Weather").json["series"]
    assert (series["fee_type"], series["fee_multiplier"]) == ("quadratic", 1)
    assert paper.ask("GET", "/series", "category=weather").json == {"series": []}
    assert paper.ask("GET", f"/series/{SERIES}").json["series"] == series
    assert "volume_fp" not in series
    assert paper.ask("GET", f"/series/{SERIES}", "include_volume=true").json["series"]["volume_fp"] == "4.00"
    assert paper.ask("GET", "/series/fee_changes").json == {"series_fee_change_arr": []}
    assert paper.ask("GET", "/events/fee_changes").json["event_fee_change_arr"] == []


def test_candles_of_an_event_are_those_of_each_of_its_markets(paper: Paper) -> None:
    now_s = paper.now_ns // NS_PER_S
    window = f"start_ts={now_s - 3_600}&end_ts={now_s}&period_interval=1"
    body = paper.ask("GET", f"/series/{SERIES}/events/{EVENT}/candlesticks", window).json
    assert body["market_tickers"] == [CENT, TAPERED]
    assert body["market_candlesticks"] == [[], []]
    assert body["adjusted_end_ts"] == now_s
    assert paper.ask("GET", f"/series/KXSNOW/events/{EVENT}/candlesticks", window).status == 404
