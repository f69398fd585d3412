"""The ledger: the netting table, zero crossings, settlements, order independence, and an exact slow reference."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import NS_PER_MS
from common.errors import BrokenInvariant
from common.trading.positions import IDS_KEPT_NS, TRADES_KEPT, Booked, Ledger, LedgerFill, LedgerState, Sums

CASH = 1_000_000_000  # $1,000


def opened(cash_usd_e6: int = CASH) -> Ledger:
    ledger = Ledger()
    ledger.open_shard(0, cash_usd_e6)
    return ledger


def fill(side: str, price_e4: int, qty_e2: int, fill_id: str = "f", fee_usd_e6: int = 0, **changes) -> LedgerFill:
    fields = {"ticker": "M", "shard": 0, "exchange_wall_ns": 0} | changes
    return LedgerFill(
        fill_id=fill_id, side=side, price_e4=price_e4, qty_e2=qty_e2, fee_usd_e6=fee_usd_e6, **fields
    )  # fmt: skip


def apply_all(ledger: Ledger, *fills: tuple[str, int, int]) -> Booked:
    booked = None
    for number, (side, price_e4, qty_e2) in enumerate(fills, start=1):
        booked = ledger.apply_fill(fill(side, price_e4, qty_e2, fill_id=f"f{number}"), number)
    assert booked is not None
    return booked


# The netting table, in dollars: y is the YES price, n = 1 - y the NO price, c the average cost of what is held.


@pytest.mark.parametrize(
    ("first", "second", "cash", "realised", "position_e2", "cost"),
    [
        (("bid", 4000, 1000), None, -4_000_000, 0, 1000, 4_000_000),  # BUY YES from flat: cash -y
        (("ask", 4000, 1000), None, -6_000_000, 0, -1000, 6_000_000),  # SELL YES = BUY NO from flat: cash -(1 - y)
        (("bid", 4000, 1000), ("bid", 5000, 1000), -5_000_000, 0, 2000, 9_000_000),  # same direction adds cost
        (("ask", 4000, 1000), ("ask", 5000, 1000), -5_000_000, 0, -2000, 11_000_000),
        (("bid", 4000, 1000), ("ask", 4500, 400), 1_800_000, 200_000, 600, 2_400_000),  # long: +y, q(y - c)
        (("ask", 6000, 1000), ("bid", 5500, 400), 1_800_000, 200_000, -600, 2_400_000),  # short: +(1-y), q((1-y)-c)
        (("ask", 6000, 1000), ("bid", 5500, 1000), 4_500_000, 500_000, 0, 0),  # NO at 40 c, YES bought at 55 c: +5 c
        (("bid", 4000, 1000), ("ask", 3000, 1000), 3_000_000, -1_000_000, 0, 0),
    ],
)
def test_netting_table(first, second, cash, realised, position_e2, cost):
    ledger = opened()
    booked = apply_all(ledger, *(step for step in (first, second) if step))
    holding = ledger.holdings["M"]
    assert booked == Booked(position_e2=position_e2, realised_usd_e6=realised, cash_usd_e6=cash)
    assert (holding.position_e2, holding.cost_usd_e6) == (position_e2, cost)


@pytest.mark.parametrize(
    ("first", "second", "position_e2", "realised", "cash", "cost"),
    [
        # 3 YES at 0.40 closed at 0.50 (+0.30), then 2 NO opened at 0.50
        (("bid", 4000, 300), ("ask", 5000, 500), -200, 300_000, 1_500_000 - 1_000_000, 1_000_000),
        # 3 NO at 0.60 closed by YES at 0.30 (each returns 0.70: +0.30), then 2 YES opened at 0.30
        (("ask", 4000, 300), ("bid", 3000, 500), 200, 300_000, 2_100_000 - 600_000, 600_000),
    ],
)
def test_fill_across_zero_is_a_closing_and_an_opening_part(first, second, position_e2, realised, cash, cost):
    ledger = opened()
    booked = apply_all(ledger, first, second)
    assert booked == Booked(position_e2=position_e2, realised_usd_e6=realised, cash_usd_e6=cash)
    assert ledger.holdings["M"].cost_usd_e6 == cost


def test_fee_is_booked_as_told_and_realised_is_before_it():
    ledger = opened()
    ledger.apply_fill(fill("bid", 5200, 100, "a", fee_usd_e6=17_500), 1)
    booked = ledger.apply_fill(fill("ask", 6000, 100, "b", fee_usd_e6=16_800), 2)
    assert booked == Booked(position_e2=0, realised_usd_e6=80_000, cash_usd_e6=600_000 - 16_800)
    assert ledger.holdings["M"].fees_usd_e6 == 34_300
    assert ledger.account(0).cash_usd_e6 == CASH - 520_000 - 17_500 + 600_000 - 16_800


def test_partial_closes_round_the_cost_down_and_the_last_takes_the_rest():
    ledger = opened()
    apply_all(ledger, ("bid", 3333, 1), ("bid", 3334, 2))  # cost 10,001 for 0.03 contracts
    removed = []
    for number, fill_id in enumerate("xyz", start=3):
        before = ledger.holdings["M"].cost_usd_e6
        ledger.apply_fill(fill("ask", 4000, 1, fill_id), number)
        removed.append(before - ledger.holdings["M"].cost_usd_e6)
    assert removed == [10_001 // 3, 6_668 // 2, 3_334]
    assert sum(removed) == 10_001
    assert ledger.holdings["M"].cost_usd_e6 == 0


def test_cost_of_a_partial_close_is_multiplied_before_it_is_divided():
    ledger = opened()
    apply_all(ledger, ("bid", 3333, 1), ("bid", 3334, 2))  # cost 10,001 for 0.03 contracts
    ledger.apply_fill(fill("ask", 4000, 2, "x"), 3)
    assert ledger.holdings["M"].cost_usd_e6 == 10_001 - 2 * 10_001 // 3 == 3_334
    assert ledger.holdings["M"].realised_usd_e6 == 2 * 4_000 - 6_667


def test_fill_is_applied_once_by_its_id():
    ledger = opened()
    assert ledger.apply_fill(fill("bid", 5000, 200, "a"), 1) is not None
    before = msgspec.json.encode(ledger.state)
    assert ledger.apply_fill(fill("bid", 5000, 200, "a"), 2) is None
    assert msgspec.json.encode(ledger.state) == before


def test_two_partial_fills_equal_one_whole():
    whole, parts = opened(), opened()
    apply_all(whole, ("bid", 4100, 500))
    apply_all(parts, ("bid", 4100, 200), ("bid", 4100, 300))
    assert parts.holdings["M"].cost_usd_e6 == whole.holdings["M"].cost_usd_e6
    assert parts.account(0).cash_usd_e6 == whole.account(0).cash_usd_e6


def test_fill_contained_in_the_opening_is_never_applied():
    ledger = opened()
    ledger.know_fill("old", "M", 0)
    ledger.open_position("M", 0, 500, 2_000_000)
    assert ledger.apply_fill(fill("bid", 4000, 500, "old"), 1) is None
    assert ledger.holdings["M"].position_e2 == 500


def test_opening_position_counts_at_the_exchanges_exposure():
    ledger = opened()
    ledger.open_position("M", 0, -300, 1_500_000)
    assert ledger.account(0).opening_usd_e6 == CASH + 1_500_000
    booked = ledger.apply_fill(fill("bid", 4000, 300), 1)
    assert booked == Booked(position_e2=0, realised_usd_e6=300_000, cash_usd_e6=1_800_000)


@pytest.mark.parametrize(
    ("bought", "revenue", "realised"),
    [(("bid", 4000, 1000), 10_000_000, 6_000_000), (("bid", 4000, 1000), 0, -4_000_000),
     (("ask", 4000, 1000), 10_000_000, 4_000_000)],
)  # fmt: skip
def test_settlement_pays_once_and_ends_the_position(bought, revenue, realised):
    ledger = opened()
    apply_all(ledger, bought)
    before = ledger.account(0).cash_usd_e6
    booked = ledger.apply_settlement("M", 0, revenue, 1_000)
    assert booked is not None
    assert (booked.realised_usd_e6, booked.cash_usd_e6) == (realised, revenue - 1_000)
    assert abs(booked.position_e2) == 1000
    assert ledger.apply_settlement("M", 0, revenue, 1_000) is None
    assert ledger.account(0).cash_usd_e6 == before + revenue - 1_000
    assert (ledger.holdings["M"].position_e2, ledger.holdings["M"].fees_usd_e6) == (0, 1_000)


@pytest.mark.parametrize("late", [("bid", 3000, 200), ("ask", 6000, 400), ("ask", 6000, 1500)])
def test_fill_that_comes_to_light_after_settlement_is_booked_before_it(late):
    in_order, out_of_order = opened(), opened()
    side, price_e4, qty_e2 = late
    for ledger in (in_order, out_of_order):
        ledger.apply_fill(fill("bid", 4000, 1000, "early", 70), 1)
    in_order.apply_fill(fill(side, price_e4, qty_e2, "late", 30), 2)
    for ledger in (in_order, out_of_order):
        ledger.apply_settlement("M", 0, 12_000_000, 10)
    booked = out_of_order.apply_fill(fill(side, price_e4, qty_e2, "late", 30), 2)
    assert booked is not None
    assert booked.position_e2 == 0
    assert msgspec.json.encode(out_of_order.state) == msgspec.json.encode(in_order.state)


def test_external_cash_moves_cash_and_nothing_else():
    ledger = opened()
    ledger.apply_external(0, 5_000_000)
    ledger.apply_external(0, -1_500_000)
    assert ledger.account(0).cash_usd_e6 == CASH + 3_500_000
    assert ledger.account(0).external_usd_e6 == 3_500_000
    assert ledger.sums(0) == Sums(0, 0, 0, 0)


def test_position_adopted_from_the_exchange_keeps_every_dollar_accounted_for():
    ledger = opened()
    apply_all(ledger, ("bid", 4000, 1000))
    ledger.adopt_position("M", 0, 700, 2_800_000)
    assert ledger.account(0).external_usd_e6 == -1_200_000
    assert ledger.account(0).cash_usd_e6 == CASH - 4_000_000
    assert ledger.holdings["M"].position_e2 == 700


def test_shards_keep_their_own_cash():
    ledger = opened()
    ledger.open_shard(2, 500_000_000)
    ledger.apply_fill(fill("bid", 4000, 100, ticker="N", shard=2), 1)
    assert ledger.account(0).cash_usd_e6 == CASH
    assert ledger.account(2).cash_usd_e6 == 500_000_000 - 400_000
    assert ledger.sums(2).open_positions == 1
    assert ledger.sums(0).open_positions == 0


def test_opened_time_changes_only_from_flat_or_across_zero():
    ledger = opened()
    times = []
    steps = [("bid", 100), ("bid", 100), ("ask", 50), ("ask", 250), ("ask", 100), ("bid", 200), ("bid", 10)]
    for number, (side, qty_e2) in enumerate(steps, start=1):
        ledger.apply_fill(fill(side, 5000, qty_e2, f"f{number}", exchange_wall_ns=number), number)
        times.append(ledger.holdings["M"].opened_wall_ns)
    assert times == [1, 1, 1, 4, 4, 4, 7]


def test_numbers_of_the_last_fill_are_kept_per_market_and_shard():
    ledger = opened()
    ledger.apply_fill(fill("bid", 5000, 100, "a"), 7)
    ledger.apply_fill(fill("bid", 5000, 100, "b", ticker="N"), 8)
    assert ledger.holdings["M"].last_fill_number == 7
    assert ledger.holdings["N"].last_fill_number == 8
    assert ledger.account(0).last_fill_number == 8


def test_ledger_lives_on_from_its_state():
    ledger = opened()
    apply_all(ledger, ("bid", 4000, 300), ("ask", 5000, 500))
    again = Ledger(msgspec.json.decode(msgspec.json.encode(ledger.state), type=LedgerState))
    assert again.apply_fill(fill("ask", 5000, 500, "f2"), 3) is None
    for each in (ledger, again):
        each.apply_fill(fill("bid", 4500, 100, "f3"), 3)
    assert again.state == ledger.state


def test_the_ids_of_an_hour_are_kept_and_what_happened_before_them_is_booked_already():
    ledger, minute_ns = opened(), IDS_KEPT_NS // 60
    ledger.know_fill("contained", "M", 0)
    many = [fill("bid", 4000, 100, f"f{n}", exchange_wall_ns=n * minute_ns) for n in range(1, 200)]
    for number, each in enumerate(many, start=1):
        assert ledger.apply_fill(each, number) is not None
    assert len(ledger.holdings["M"].fill_stamps_ns) == 61
    again = Ledger(msgspec.json.decode(msgspec.json.encode(ledger.state), type=LedgerState))
    for each in (*many, fill("bid", 4000, 100, "contained", exchange_wall_ns=1)):
        assert again.apply_fill(each, 200) is None
    assert again.state == ledger.state
    heard_late = fill("ask", 5000, 100, "late", exchange_wall_ns=150 * minute_ns)
    assert again.apply_fill(heard_late, 200) is not None
    assert again.apply_fill(heard_late, 201) is None


def test_a_fill_read_again_long_after_with_a_finer_stamp_is_still_the_same():
    ledger, hour_ns = opened(), IDS_KEPT_NS
    by_stream = fill("bid", 4000, 100, "f1", exchange_wall_ns=hour_ns)
    assert ledger.apply_fill(by_stream, 1) is not None
    assert ledger.apply_fill(fill("bid", 4000, 100, "f2", exchange_wall_ns=3 * hour_ns), 2) is not None
    by_list = fill("bid", 4000, 100, "f1", exchange_wall_ns=hour_ns + 753_000)
    assert ledger.apply_fill(by_list, 3) is None
    assert ledger.holdings["M"].position_e2 == 200


def test_what_happened_while_nobody_listened_is_booked_after_what_came_first():
    ledger, hour_ns = opened(), IDS_KEPT_NS
    assert ledger.apply_fill(fill("bid", 4000, 100, "before", exchange_wall_ns=hour_ns), 1) is not None
    assert ledger.apply_fill(fill("bid", 4000, 100, "first heard again", exchange_wall_ns=9 * hour_ns), 2) is not None
    missed = [fill("bid", 4000, 100, f"missed {n}", exchange_wall_ns=n * hour_ns) for n in range(2, 9)]
    for number, each in enumerate(missed, start=3):
        assert ledger.apply_fill(each, number) is not None
    assert ledger.holdings["M"].position_e2 == 900


def test_forgetting_a_settled_market_keeps_its_sums():
    ledger = opened()
    apply_all(ledger, ("bid", 4000, 300))
    assert not ledger.forget("M")
    ledger.apply_settlement("M", 0, 3_000_000, 0)
    before = ledger.sums(0)
    assert ledger.forget("M")
    assert not ledger.forget("M")
    assert not ledger.forget("never heard of")
    assert ledger.sums(0) == before
    ledger.check(0)


@pytest.mark.parametrize("bad", [fill("bid", 5000, 0), fill("bid", 5000, -1), fill("bid", 10_001, 1)])
def test_impossible_fill_breaks(bad):
    with pytest.raises(BrokenInvariant):
        opened().apply_fill(bad, 1)


def test_opening_twice_and_changing_shards_break():
    ledger = opened()
    with pytest.raises(BrokenInvariant):
        ledger.open_shard(0, 1)
    ledger.open_position("M", 0, 100, 1)
    with pytest.raises(BrokenInvariant):
        ledger.open_position("M", 0, 100, 1)
    ledger.open_shard(1, 1)
    with pytest.raises(BrokenInvariant):
        ledger.apply_fill(fill("bid", 5000, 100, shard=1), 1)


def test_missing_micro_dollar_breaks():
    ledger = opened()
    ledger.account(0).cash_usd_e6 -= 1
    with pytest.raises(BrokenInvariant):
        ledger.check(0)


FILLS = st.lists(
    st.tuples(st.sampled_from(["bid", "ask"]), st.integers(1, 9999), st.integers(1, 40), st.integers(0, 50_000)),
    min_size=1, max_size=15,
)  # fmt: skip


class Reference:
    """The same account, slowly: exact fractions, one hundredth of a contract at a time."""

    def __init__(self) -> None:
        self.cash = Fraction(CASH)
        self.position = 0
        self.cost = self.realised = self.fees = Fraction(0)
        self.closes = 0

    def trade(self, side: str, price_e4: int, qty_e2: int, fee: int) -> None:
        step = 1 if side == "bid" else -1
        own = Fraction(price_e4 if side == "bid" else 10_000 - price_e4)
        self.closes += self.position * step < 0
        for _ in range(qty_e2):
            if self.position * step < 0:
                average = self.cost / abs(self.position)
                self.cost -= average
                self.realised += 10_000 - own - average
                self.cash += 10_000 - own
            else:
                self.cost += own
                self.cash -= own
            self.position += step
        self.cash -= fee
        self.fees += fee


@settings(deadline=None)
@given(FILLS)
def test_ledger_equals_a_slow_exact_reference(fills):
    ledger, reference = opened(), Reference()
    for number, (side, price_e4, qty_e2, fee) in enumerate(fills, start=1):
        ledger.apply_fill(fill(side, price_e4, qty_e2, f"f{number}", fee), number)
        reference.trade(side, price_e4, qty_e2, fee)
    holding = ledger.holdings["M"]
    assert holding.position_e2 == reference.position
    assert ledger.account(0).cash_usd_e6 == reference.cash
    assert holding.fees_usd_e6 == reference.fees
    # each partial close rounds the removed cost down by less than one micro-dollar
    assert 0 <= holding.cost_usd_e6 - reference.cost <= reference.closes
    assert 0 <= holding.realised_usd_e6 - reference.realised <= reference.closes
    if not holding.position_e2:
        assert holding.cost_usd_e6 == 0


@settings(deadline=None)
@given(FILLS, st.integers(0, 2**32), st.booleans())
def test_cash_position_and_fees_do_not_depend_on_the_order_of_fills(fills, seed, with_settlement):
    numbered = [fill(side, price, qty, f"f{n}", fee) for n, (side, price, qty, fee) in enumerate(fills)]
    shuffled = numbered * 2  # each delivered twice, in any order
    random.Random(seed).shuffle(shuffled)
    straight, mixed = opened(), opened()
    if with_settlement:
        mixed.apply_settlement("M", 0, 1_234_567, 89)
    for ledger, deliveries in ((straight, numbered), (mixed, shuffled)):
        for number, each in enumerate(deliveries, start=1):
            ledger.apply_fill(each, number)
    if with_settlement:
        straight.apply_settlement("M", 0, 1_234_567, 89)
    assert mixed.account(0).cash_usd_e6 == straight.account(0).cash_usd_e6
    assert mixed.holdings["M"].position_e2 == straight.holdings["M"].position_e2
    assert mixed.sums(0).fees_usd_e6 == straight.sums(0).fees_usd_e6


@settings(deadline=None)
@given(FILLS, st.integers(0, 2**32), st.booleans())
def test_what_a_position_cost_is_what_the_order_of_its_fills_made_it(fills, seed, with_settlement):
    stamped = [
        fill(side, price, qty, f"f{n}", fee, exchange_wall_ns=n * NS_PER_MS)
        for n, (side, price, qty, fee) in enumerate(fills)
    ]
    found_out = stamped.copy()
    random.Random(seed).shuffle(found_out)
    straight, late = opened(), opened()
    for number, each in enumerate(stamped, start=1):
        straight.apply_fill(each, number)
    for number, each in enumerate(found_out, start=1):
        if with_settlement and number == len(found_out) // 2:
            late.apply_settlement("M", 0, 1_234_567, 89)
        late.apply_fill(each, number)
    if with_settlement:
        straight.apply_settlement("M", 0, 1_234_567, 89)
        late.apply_settlement("M", 0, 1_234_567, 89)
    straight.holdings["M"].fill_stamps_ns, straight.holdings["M"].last_fill_number = {}, 0
    late.holdings["M"].fill_stamps_ns, late.holdings["M"].last_fill_number = {}, 0
    assert late.holdings["M"] == straight.holdings["M"]
    assert late.account(0).cash_usd_e6 == straight.account(0).cash_usd_e6


def test_what_one_order_took_in_a_moment_it_took_from_the_best_price_on():
    sweep = [fill("ask", price_e4, 300, f"f{price_e4}", is_taker=True) for price_e4 in (6000, 5500, 5000)]
    costs = set()
    for order in itertools.permutations(sweep):
        ledger = opened()
        ledger.apply_fill(fill("bid", 4000, 500, "held"), 1)
        for number, each in enumerate(order, start=2):
            ledger.apply_fill(each, number)
        costs.add(ledger.holdings["M"].cost_usd_e6)
    assert costs == {100 * 4500 + 300 * 5000}


def test_a_fill_older_than_all_that_is_kept_is_put_before_it():
    ledger = opened()
    for number in range(1, TRADES_KEPT + 11):
        ledger.apply_fill(fill("bid", 5000, 100, f"f{number}", exchange_wall_ns=number * NS_PER_MS), number)
    ledger.apply_fill(fill("ask", 4000, 100, "late", exchange_wall_ns=NS_PER_MS), 99)
    holding = ledger.holdings["M"]
    assert len(holding.trades) == TRADES_KEPT
    assert holding.trades[-1].fill.fill_id == f"f{TRADES_KEPT + 10}"
    assert (holding.position_e2, holding.cost_usd_e6) == ((TRADES_KEPT + 9) * 100, (TRADES_KEPT + 9) * 100 * 5000)
