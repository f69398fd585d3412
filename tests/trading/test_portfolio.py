"""What positions are worth: marks, liquidation after fees, and sums that never lose a position without a quote."""

from __future__ import annotations

import pytest

from common.messages import Account
from common.trading.portfolio import Marks, Quote, account_message, liquidation_usd_e6, mark_of, position_message
from common.trading.positions import Ledger, LedgerFill


def ledger_with(side: str = "bid", price_e4: int = 4000, qty_e2: int = 1000) -> Ledger:
    ledger = Ledger()
    ledger.open_shard(0, 100_000_000)
    ledger.describe("M", 0, "EVENT", "SERIES")
    ledger.apply_fill(LedgerFill("f", "M", side, price_e4, qty_e2, 5_000, 0, exchange_wall_ns=9), 3)
    return ledger


@pytest.mark.parametrize(
    ("bid_e4", "ask_e4", "mark_e4"),
    [(4000, 4400, 4200), (4001, 4002, 4001), (None, 4400, None), (4000, None, None), (4400, 4400, None)],
)
def test_mark_is_the_mid_of_an_uncrossed_two_sided_market(bid_e4, ask_e4, mark_e4):
    assert mark_of(Quote(bid_e4, ask_e4)) == mark_e4


@pytest.mark.parametrize(
    ("position_e2", "quote", "brings"),
    [
        (1000, Quote(5000, None), 5_000_000 - 175_000),
        (-1000, Quote(None, 5000), 5_000_000 - 175_000),
        (-1000, Quote(None, 3000), 7_000_000 - 147_000),
        (1000, Quote(None, 5000), None),
        (-1000, Quote(5000, None), None),
        (0, Quote(None, None), 0),
        (1000, Quote(5000, None, fee_type="flat"), None),
    ],
)
def test_liquidation_closes_at_the_touch_and_pays_the_takers_fee(position_e2, quote, brings):
    assert liquidation_usd_e6(position_e2, quote) == brings


def test_position_message_carries_the_whole_holding():
    ledger, marks = ledger_with(), Marks()
    marks.note("M", Quote(4400, 4800))
    message = position_message(ledger.holdings["M"], marks)
    assert (message.ticker, message.event_ticker, message.series_ticker) == ("M", "EVENT", "SERIES")
    assert (message.position_e2, message.cost_usd_e6, message.fees_usd_e6) == (1000, 4_000_000, 5_000)
    assert (message.mark_e4, message.unrealised_usd_e6) == (4600, 600_000)
    assert message.liquidation_usd_e6 == 4_400_000 - 172_480
    assert (message.last_fill_number, message.opened_wall_ns, message.settled) == (3, 9, False)


def test_short_position_gains_when_the_mark_falls():
    ledger, marks = ledger_with("ask", 4000), Marks()
    marks.note("M", Quote(2900, 3100))
    assert position_message(ledger.holdings["M"], marks).unrealised_usd_e6 == 1_000_000


def test_position_without_a_quote_has_no_value():
    message = position_message(ledger_with().holdings["M"], Marks())
    assert (message.mark_e4, message.unrealised_usd_e6, message.liquidation_usd_e6) == (None, None, None)


def test_account_counts_a_position_never_quoted_at_its_cost():
    account = account_message(ledger_with(), Marks(), 0, stream_up=True)
    assert account.value_usd_e6 == account.liquidation_usd_e6 == 100_000_000 - 5_000
    assert account.unrealised_usd_e6 == 0
    assert account.known
    assert account.stream_up


def test_account_keeps_the_last_known_value_when_the_book_empties():
    ledger, marks = ledger_with(), Marks()
    marks.note("M", Quote(4400, 4800))
    quoted = account_message(ledger, marks, 0, True)
    assert quoted.value_usd_e6 == 95_995_000 + 4_600_000
    assert quoted.liquidation_usd_e6 == 95_995_000 + 4_400_000 - 172_480
    marks.note("M", Quote(None, 9900))
    assert account_message(ledger, marks, 0, True) == quoted
    marks.silence("M")
    assert account_message(ledger, marks, 0, True) == quoted
    assert position_message(ledger.holdings["M"], marks).liquidation_usd_e6 is None


@pytest.mark.parametrize(
    ("side", "quotes", "value_e6", "liquidation_e6"),
    [
        ("bid", [Quote(4400, 4800), Quote(None, 200)], 200_000, 200_000 - 13_720),
        ("ask", [Quote(4400, 4800), Quote(9800, None)], 200_000, 200_000 - 13_720),
        ("bid", [Quote(None, 200)], 200_000, 200_000),
        ("ask", [Quote(9800, None)], 200_000, 200_000),
        ("bid", [Quote(None, 200), Quote(4400, None)], 4_000_000, 4_400_000 - 172_480),
        ("bid", [Quote(4400, 4800), Quote(None, 200), Quote(None, 4700)], 200_000, 200_000 - 13_720),
        ("bid", [Quote(4400, 4800), Quote(9000, None)], 9_000_000, 9_000_000 - 63_000),
    ],
)
def test_what_nobody_bids_for_is_worth_no_more_than_what_it_is_offered_for(side, quotes, value_e6, liquidation_e6):
    ledger, marks = ledger_with(side, 4000 if side == "bid" else 6000), Marks()
    for quote in quotes:
        marks.note("M", quote)
    for _ in range(2):
        account = account_message(ledger, marks, 0, True)
        assert account.value_usd_e6 - account.cash_usd_e6 == value_e6
        assert account.liquidation_usd_e6 - account.cash_usd_e6 == liquidation_e6
        marks.silence("M")


def test_forgotten_market_counts_at_cost_again():
    ledger, marks = ledger_with(), Marks()
    marks.note("M", Quote(4400, 4800))
    marks.forget("M")
    marks.silence("M")
    assert account_message(ledger, marks, 0, True).unrealised_usd_e6 == 0


def test_settled_position_is_worth_nothing_more():
    ledger, marks = ledger_with(), Marks()
    marks.note("M", Quote(9800, 9900))
    ledger.apply_settlement("M", 0, 10_000_000, 0)
    account = account_message(ledger, marks, 0, True)
    assert account.value_usd_e6 == account.liquidation_usd_e6 == account.cash_usd_e6 == 105_995_000
    assert (account.positions, account.realised_usd_e6) == (0, 6_000_000)
    assert position_message(ledger.holdings["M"], marks).settled


def test_account_that_is_not_open_is_not_known():
    assert account_message(Ledger(), Marks(), 2, stream_up=False) == Account(shard=2, cash_usd_e6=0)
