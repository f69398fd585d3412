"""Admission: what an order is asked, what a reducing one is spared, and what an admitted one reserves."""

from __future__ import annotations

import msgspec
import pytest

from common.clock import NS_PER_S, Now
from common.messages import Book, Market, MarketMode, Pricing, Purpose
from common.settings import LimitSettings
from common.trading.admission import Candidate, Reservation, Scene, admit
from common.trading.exposure import Claim, Exposure, MarketExposure, Stake, option_of
from common.trading.limits import OrderRate
from common.trading.refusals import Code, Refusal

LIMITS = LimitSettings()
DOLLAR = 1_000_000
MARKET = Market(
    ticker="M", event_ticker="E", series_ticker="S", mode=MarketMode.TRADABLE, close_wall_ns=10_000 * NS_PER_S
)
BOOK = Book(ticker="M", fresh=True, bids=((4900, 1000),), asks=((5100, 1000),))
NOW = Now(mono_ns=500 * NS_PER_S, wall_ns=5_000 * NS_PER_S)


def exposure(position_e2: int = 0, cost_usd_e6: int = 0, *claims: Claim) -> Exposure:
    table = Exposure()
    table.set_stake(
        Stake(ticker="M", event_ticker="E", series_ticker="S", position_e2=position_e2, cost_usd_e6=cost_usd_e6)
    )
    table.set_claims("M", claims)
    return table


def scene(**changes) -> Scene:
    fields = {
        "now": NOW, "market": MARKET, "book": BOOK, "exposure": exposure(), "rate": OrderRate(LIMITS),
        "live_in_market": 0, "live": 0, "cash_usd_e6": 1_000 * DOLLAR, "equity_usd_e6": 1_000 * DOLLAR,
    }  # fmt: skip
    return Scene(**(fields | changes))


def candidate(**changes) -> Candidate:
    fields = {
        "client_order_id": "t2-a-1", "ticker": "M", "side": "bid", "price_e4": 4900, "qty_e2": 500,
        "pricing": Pricing.PASSIVE, "purpose": Purpose.OPEN,
    }  # fmt: skip
    return Candidate(**(fields | changes))


def claim(side: str, price_e4: int, qty_e2: int, key: str) -> Claim:
    return Claim(key=key, ticker="M", side=side, options=(option_of(price_e4, qty_e2, "quadratic", 10_000),))


def code_of(outcome: Refusal | Reservation) -> Code | None:
    return outcome.code if isinstance(outcome, Refusal) else None


def spent_rate() -> OrderRate:
    rate = OrderRate(LIMITS)
    for _ in range(LIMITS.creates_and_amends_per_s):
        rate.note(NOW.mono_ns)
    return rate


def crowded(ticker: str, event: str, series: str, cost_usd_e6: int) -> Exposure:
    """Return an exposure with another market that has lost nearly all its group may lose."""
    table = exposure()
    table.set_stake(
        Stake(ticker=ticker, event_ticker=event, series_ticker=series, position_e2=1, cost_usd_e6=cost_usd_e6)
    )
    return table


def test_fine_order_is_admitted_with_its_reservation():
    outcome = admit(candidate(), scene(), LIMITS)
    option = option_of(4900, 500, "quadratic", 10_000)
    assert outcome == Reservation(
        claim=Claim(key="t2-a-1", ticker="M", side="bid", options=(option,)),
        reserved_usd_e6=4900 * 500 + option.fee_usd_e6,
        is_reducing=False,
        worst=MarketExposure(
            reserved_usd_e6=4900 * 500 + option.fee_usd_e6, highest_e2=500, lowest_e2=0,
            worst_loss_usd_e6=4900 * 500 + option.fee_usd_e6,
        ),
    )  # fmt: skip


OPENING_REFUSALS = [
    (Code.CLOSE_TIME, {"market": msgspec.structs.replace(MARKET, close_wall_ns=NOW.wall_ns + 59 * NS_PER_S)}, {}),
    (Code.FEE_TERMS, {"market": msgspec.structs.replace(MARKET, fee_type="flat")}, {}),
    (Code.MARKET, {"market": msgspec.structs.replace(MARKET, mode=MarketMode.REDUCE_ONLY)}, {}),
    (Code.PRICE_BAND, {}, {"price_e4": 9800}),
    (Code.SPREAD, {"book": msgspec.structs.replace(BOOK, bids=((4400, 1),))}, {}),
    (Code.NO_QUOTE, {"book": msgspec.structs.replace(BOOK, asks=())}, {}),
    (Code.DISTANCE, {}, {"price_e4": 5600, "pricing": Pricing.AGGRESSIVE}),
    (Code.FRACTION, {}, {"qty_e2": 150}),
    (Code.ORDER_SIZE, {}, {"qty_e2": 1100, "price_e4": 4000}),
    (Code.LIVE_ORDERS, {"live": 20}, {}),
    (Code.POSITION, {"exposure": exposure(4600, 1)}, {}),
    (Code.MARKET_LOSS, {"exposure": exposure(100, 23 * DOLLAR)}, {}),
    (Code.EVENT_LOSS, {"exposure": crowded("N", "E", "T", 48 * DOLLAR)}, {}),
    (Code.SERIES_LOSS, {"exposure": crowded("N", "F", "S", 98 * DOLLAR)}, {}),
    (Code.TOTAL_LOSS, {"exposure": crowded("N", "F", "T", 198 * DOLLAR)}, {}),
    (Code.ACCOUNT_UNKNOWN, {"equity_usd_e6": None}, {}),
    (Code.CASH, {"cash_usd_e6": 2 * DOLLAR}, {}),
]
ALWAYS_REFUSALS = [
    (Code.STALE_BOOK, {"book": msgspec.structs.replace(BOOK, fresh=False)}, {}),
    (Code.STALE_BOOK, {"book": None}, {}),
    (Code.MARKET, {"market": msgspec.structs.replace(MARKET, mode=MarketMode.BLOCKED)}, {}),
    (Code.LIVE_ORDER, {"live_in_market": 1}, {}),
    (Code.RATE, {"rate": spent_rate()}, {}),
]


@pytest.mark.parametrize(("code", "around", "order"), [*OPENING_REFUSALS, *ALWAYS_REFUSALS])
def test_opening_order_is_refused_by_each_limit(code, around, order):
    assert code_of(admit(candidate(**order), scene(**around), LIMITS)) == code


def test_order_cost_refuses_what_the_size_allows():
    limits = msgspec.structs.replace(LIMITS, order_cost_usd_e6=2_450_000)
    assert code_of(admit(candidate(), scene(), limits)) is None
    limits = msgspec.structs.replace(LIMITS, order_cost_usd_e6=2_449_999)
    assert code_of(admit(candidate(), scene(), limits)) == Code.ORDER_COST


@pytest.mark.parametrize(("code", "around", "order"), ALWAYS_REFUSALS)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_reducing_order_is_refused_only_by_what_binds_every_order(code, around, order, purpose):
    held = {"exposure": exposure(-500, 1)}
    assert code_of(admit(candidate(purpose=purpose, **order), scene(**(held | around)), LIMITS)) == code


@pytest.mark.parametrize(
    ("around", "order"),
    [(around, order) for code, around, order in OPENING_REFUSALS if "exposure" not in around and code != Code.FRACTION]
    + [({"exposure": exposure(-12_345, 400 * DOLLAR)}, {"qty_e2": 12_345, "price_e4": 9990})],
)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_reducing_order_is_exempt_from_every_other_limit(around, order, purpose):
    held = {"exposure": exposure(-1_500, 1), "equity_usd_e6": None, "cash_usd_e6": 0}
    outcome = admit(candidate(purpose=purpose, **order), scene(**(held | around)), LIMITS)
    assert isinstance(outcome, Reservation)
    assert outcome.is_reducing
    assert outcome.reserved_usd_e6 == 0


def test_fraction_closes_exactly():
    outcome = admit(candidate(qty_e2=237, purpose=Purpose.CLOSE), scene(exposure=exposure(-237, 1)), LIMITS)
    assert isinstance(outcome, Reservation)


@pytest.mark.parametrize("purpose", [Purpose.CLOSE, Purpose.EXIT, Purpose.RECOVERY, Purpose.FLATTEN])
def test_closing_order_larger_than_the_position_is_refused(purpose):
    held = scene(exposure=exposure(-400, 1))
    assert code_of(admit(candidate(purpose=purpose), held, LIMITS)) == Code.NOT_REDUCING
    assert code_of(admit(candidate(purpose=purpose, qty_e2=400), held, LIMITS)) is None


def test_closing_quantity_that_another_order_may_take_is_not_there():
    foreign = claim("bid", 4800, 200, "foreign")
    held = scene(exposure=exposure(-500, 1, foreign))
    assert code_of(admit(candidate(purpose=Purpose.CLOSE, qty_e2=300), held, LIMITS)) is None
    assert code_of(admit(candidate(purpose=Purpose.CLOSE, qty_e2=301), held, LIMITS)) == Code.NOT_REDUCING


def test_order_across_zero_is_judged_by_its_opening_part():
    held = exposure(-1_000, 5 * DOLLAR)
    outcome = admit(candidate(qty_e2=1_200), scene(exposure=held), LIMITS)
    assert isinstance(outcome, Reservation)
    assert not outcome.is_reducing
    option = option_of(4900, 1_200, "quadratic", 10_000)
    assert outcome.reserved_usd_e6 == 4900 * 200 + -(-option.fee_usd_e6 * 200 // 1_200)
    assert code_of(admit(candidate(qty_e2=2_100), scene(exposure=held), LIMITS)) == Code.ORDER_SIZE
    assert code_of(admit(candidate(qty_e2=1_150), scene(exposure=held), LIMITS)) == Code.FRACTION


def test_unknown_orders_count_as_filled():
    unknown = claim("bid", 4900, 4_600, "t2-a-0")
    assert code_of(admit(candidate(), scene(exposure=exposure(0, 0, unknown)), LIMITS)) == Code.POSITION


def test_cash_reserved_on_the_shard_is_not_there_twice():
    other = exposure()
    other.set_stake(Stake(ticker="N"))
    other.set_claims("N", [claim("bid", 4900, 500, "t2-a-0")])
    need = 2 * (4900 * 500 + option_of(4900, 500, "quadratic", 10_000).fee_usd_e6)
    assert code_of(admit(candidate(), scene(exposure=other, cash_usd_e6=need), LIMITS)) is None
    assert code_of(admit(candidate(), scene(exposure=other, cash_usd_e6=need - 1), LIMITS)) == Code.CASH


# --- amends ---


RESTING = claim("bid", 4900, 500, "t2-a-1")


def amend(**changes) -> Candidate:
    return candidate(**({"is_amend": True, "price_e4": 4950} | changes))


def test_amend_claims_its_old_and_its_new_terms():
    outcome = admit(amend(), scene(exposure=exposure(0, 0, RESTING), live=20), LIMITS)
    assert isinstance(outcome, Reservation)
    assert [(each.price_e4, each.qty_e2) for each in outcome.claim.options] == [(4900, 500), (4950, 500)]
    assert outcome.reserved_usd_e6 == 4950 * 500 + option_of(4950, 500, "quadratic", 10_000).fee_usd_e6


def test_amend_is_held_to_one_reprice_per_second():
    rate = OrderRate(LIMITS)
    rate.note_reprice("M", NOW.mono_ns - NS_PER_S // 2)
    around = scene(exposure=exposure(0, 0, RESTING), rate=rate)
    assert code_of(admit(amend(), around, LIMITS)) == Code.REPRICE_RATE
    assert code_of(admit(amend(price_e4=4900, qty_e2=300), around, LIMITS)) is None


def test_amend_to_less_at_the_same_price_is_exempt_from_the_opening_limits():
    tight = msgspec.structs.replace(BOOK, bids=((4000, 1),))
    around = scene(exposure=exposure(0, 0, RESTING), book=tight, cash_usd_e6=0)
    assert code_of(admit(amend(price_e4=4900, qty_e2=400), around, LIMITS)) is None
    assert code_of(admit(amend(price_e4=4900, qty_e2=600), around, LIMITS)) == Code.SPREAD
    assert code_of(admit(amend(price_e4=4800, qty_e2=400), around, LIMITS)) == Code.SPREAD


def test_amend_beyond_a_limit_is_refused_though_the_old_terms_were_fine():
    assert code_of(admit(amend(qty_e2=1_100), scene(exposure=exposure(0, 0, RESTING)), LIMITS)) == Code.ORDER_SIZE


def test_amend_of_an_order_that_claims_nothing_is_a_bug_of_the_caller():
    with pytest.raises(AssertionError):
        admit(amend(), scene(), LIMITS)
    with pytest.raises(AssertionError):
        admit(candidate(), scene(exposure=exposure(0, 0, RESTING)), LIMITS)
