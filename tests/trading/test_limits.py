"""Every limit of an order, below, at and above its bound."""

from __future__ import annotations

import pytest

from common.clock import NS_PER_MS, NS_PER_S
from common.messages import Book, Market, MarketMode, Pricing, Purpose
from common.settings import LimitSettings
from common.trading.limits import (
    FIRST_NS,
    OrderRate,
    check_book,
    check_cash,
    check_distance,
    check_event_loss,
    check_fee_terms,
    check_live_in_market,
    check_live_orders,
    check_market_loss,
    check_mode,
    check_order_cost,
    check_order_size,
    check_position,
    check_price_band,
    check_reducing,
    check_series_loss,
    check_spread,
    check_time_to_close,
    check_total_loss,
    check_whole_contracts,
    expiry_wall_s,
)
from common.trading.refusals import Code

LIMITS = LimitSettings()
DOLLAR = 1_000_000


@pytest.mark.parametrize(
    ("check", "bound", "code"),
    [
        (check_order_size, 10_00, Code.ORDER_SIZE),
        (check_order_cost, 10 * DOLLAR, Code.ORDER_COST),
        (check_position, 50_00, Code.POSITION),
        (check_market_loss, 25 * DOLLAR, Code.MARKET_LOSS),
        (check_event_loss, 50 * DOLLAR, Code.EVENT_LOSS),
        (check_series_loss, 100 * DOLLAR, Code.SERIES_LOSS),
    ],
)
def test_amount_may_reach_its_default_bound_and_not_pass_it(check, bound, code):
    assert check(bound - 1, LIMITS) is None
    assert check(bound, LIMITS) is None
    assert check(bound + 1, LIMITS).code == code


def test_refusal_names_the_numbers():
    assert check_order_size(12_00, LIMITS).reason == "order of 12.00 contracts is above 10.00"
    assert check_market_loss(30 * DOLLAR, LIMITS).reason == "worst loss of the market $30.00 is above $25.00"


@pytest.mark.parametrize(
    ("equity", "bound"),
    [(1_000 * DOLLAR, 200 * DOLLAR), (2_500 * DOLLAR, 500 * DOLLAR), (9_000 * DOLLAR, 500 * DOLLAR)],
)
def test_total_loss_is_bounded_by_the_smaller_of_amount_and_share(equity, bound):
    assert check_total_loss(bound - 1, equity, LIMITS) is None
    assert check_total_loss(bound, equity, LIMITS) is None
    assert check_total_loss(bound + 1, equity, LIMITS).code == Code.TOTAL_LOSS


def test_total_loss_of_an_account_worth_nothing_or_unknown():
    assert check_total_loss(1, -5, LIMITS).code == Code.TOTAL_LOSS
    assert check_total_loss(0, None, LIMITS).code == Code.ACCOUNT_UNKNOWN


def test_cash_must_cover_every_reservation():
    assert check_cash(999, 1_000) is None
    assert check_cash(1_000, 1_000) is None
    assert check_cash(1_001, 1_000).code == Code.CASH
    assert check_cash(0, None).code == Code.ACCOUNT_UNKNOWN


def test_no_order_without_a_fresh_book():
    assert check_book(Book(ticker="M", fresh=True)) is None
    assert check_book(Book(ticker="M", fresh=False, stale_reason="gap")).reason == "gap"
    assert check_book(None).code == Code.STALE_BOOK


@pytest.mark.parametrize(
    ("mode", "may_open", "may_reduce"),
    [(MarketMode.TRADABLE, True, True), (MarketMode.REDUCE_ONLY, False, True), (MarketMode.BLOCKED, False, False)],
)
def test_market_mode_decides_who_may_trade(mode, may_open, may_reduce):
    market = Market(ticker="M", event_ticker="E", series_ticker="S", mode=mode, reason="why")
    assert (check_mode(market, is_reducing=False) is None) is may_open
    assert (check_mode(market, is_reducing=True) is None) is may_reduce


def test_fee_terms_must_have_a_bound():
    terms = {"ticker": "M", "event_ticker": "E", "series_ticker": "S", "mode": MarketMode.TRADABLE}
    assert check_fee_terms(Market(**terms)) is None
    assert check_fee_terms(Market(**terms, fee_type="flat")).code == Code.FEE_TERMS


@pytest.mark.parametrize(("price_e4", "allowed"), [(299, False), (300, True), (301, True), (9700, True), (9701, False)])
def test_price_band(price_e4, allowed):
    assert (check_price_band(price_e4, LIMITS) is None) is allowed


@pytest.mark.parametrize(("ask_e4", "allowed"), [(4599, True), (4600, True), (4601, False)])
def test_spread(ask_e4, allowed):
    assert (check_spread(4000, ask_e4, LIMITS) is None) is allowed


@pytest.mark.parametrize(("bid_e4", "ask_e4"), [(None, 4000), (4000, None), (None, None)])
def test_spread_and_distance_of_a_one_sided_book_are_refused(bid_e4, ask_e4):
    assert check_spread(bid_e4, ask_e4, LIMITS).code == Code.NO_QUOTE
    assert check_distance(4000, bid_e4, ask_e4, Pricing.MID, LIMITS).code == Code.NO_QUOTE


@pytest.mark.parametrize(
    ("pricing", "bound_e4"), [(Pricing.AGGRESSIVE, 500), (Pricing.MID, 500), (Pricing.PASSIVE, 1_000)]
)
def test_distance_from_the_mid_on_both_sides(pricing, bound_e4):
    for sign in (1, -1):
        for distance_e4, allowed in ((bound_e4 - 1, True), (bound_e4, True), (bound_e4 + 1, False)):
            refusal = check_distance(5000 + sign * distance_e4, 4900, 5100, pricing, LIMITS)
            assert (refusal is None) is allowed


def test_distance_counts_the_half_of_an_odd_mid():
    assert check_distance(5500, 4999, 5002, Pricing.MID, LIMITS) is None  # 499.5 from 5000.5
    assert check_distance(5501, 4999, 5002, Pricing.MID, LIMITS) is not None  # 500.5


@pytest.mark.parametrize(("left_ns", "allowed"), [(60 * NS_PER_S - 1, False), (60 * NS_PER_S, True), (10**12, True)])
def test_no_opening_shortly_before_the_close(left_ns, allowed):
    assert (check_time_to_close(10**18, 10**18 + left_ns, LIMITS) is None) is allowed


def test_no_opening_without_a_closing_time():
    assert check_time_to_close(10**18, 0, LIMITS).reason.startswith("has no closing time")


def test_resting_order_expires_after_its_life_or_before_the_close():
    now_s = 1_000_000
    assert expiry_wall_s(now_s * NS_PER_S, (now_s + 900) * NS_PER_S, LIMITS) == now_s + 60
    assert expiry_wall_s(now_s * NS_PER_S, (now_s + 75) * NS_PER_S, LIMITS) == now_s + 60
    assert expiry_wall_s(now_s * NS_PER_S, (now_s + 74) * NS_PER_S, LIMITS) == now_s + 59
    assert expiry_wall_s(now_s * NS_PER_S + 999, (now_s + 900) * NS_PER_S, LIMITS) == now_s + 60


@pytest.mark.parametrize(("qty_e2", "allowed"), [(0, True), (99, False), (100, True), (101, False), (1000, True)])
def test_only_whole_contracts_open(qty_e2, allowed):
    assert (check_whole_contracts(qty_e2) is None) is allowed


@pytest.mark.parametrize("purpose", [Purpose.CLOSE, Purpose.EXIT, Purpose.RECOVERY, Purpose.FLATTEN])
def test_closing_order_must_not_open(purpose):
    assert check_reducing(purpose, 0) is None
    assert check_reducing(purpose, 1).code == Code.NOT_REDUCING


def test_one_live_order_per_market():
    assert check_live_in_market(0) is None
    assert check_live_in_market(1).code == Code.LIVE_ORDER


@pytest.mark.parametrize(("live", "allowed"), [(18, True), (19, True), (20, False), (21, False)])
def test_live_orders_in_all(live, allowed):
    assert (check_live_orders(live, LIMITS) is None) is allowed


def test_five_creates_and_amends_in_any_second():
    rate = OrderRate(LIMITS)
    for at_ms in (0, 100, 200, 300, 400):
        assert rate.check(at_ms * NS_PER_MS) is None
        rate.note(at_ms * NS_PER_MS)
    assert rate.check(999 * NS_PER_MS).code == Code.RATE
    assert rate.check(1_000 * NS_PER_MS) is None
    rate.note(1_000 * NS_PER_MS)
    assert rate.check(1_099 * NS_PER_MS).code == Code.RATE
    assert rate.check(1_100 * NS_PER_MS) is None


def test_refused_order_does_not_use_up_the_rate():
    rate = OrderRate(LIMITS)
    for _ in range(20):
        assert rate.check(0) is None


def test_one_reprice_per_second_and_market():
    rate = OrderRate(LIMITS)
    assert rate.check_reprice("M", 0) is None
    rate.note_reprice("M", 0)
    assert rate.check_reprice("M", 999 * NS_PER_MS).code == Code.REPRICE_RATE
    assert rate.check_reprice("N", 0) is None
    assert rate.check_reprice("M", 1_000 * NS_PER_MS) is None
    rate.note_reprice("N", 1_500 * NS_PER_MS)
    rate.note_reprice("M", 1_500 * NS_PER_MS)
    assert rate.check_reprice("N", 1_600 * NS_PER_MS) is not None


def test_an_order_that_closes_goes_before_the_next_that_does_not():
    rate = OrderRate(LIMITS)
    for _ in range(LIMITS.creates_and_amends_per_s):
        rate.note(0)
    assert rate.check(1, goes_first=True) is not None
    assert rate.check(2 * NS_PER_S) is not None
    assert rate.check(2 * NS_PER_S, goes_first=True) is None
    assert rate.check(2 * NS_PER_S) is None


def test_nobody_waits_for_ever_for_an_order_that_closes():
    rate = OrderRate(LIMITS)
    for _ in range(LIMITS.creates_and_amends_per_s):
        rate.note(0)
    assert rate.check(0, goes_first=True) is not None
    assert rate.check(FIRST_NS - 1) is not None
    assert rate.check(FIRST_NS) is None
