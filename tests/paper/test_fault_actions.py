"""What operators and other people do to an exchange: through its own commands, so that it survives a restart."""

from __future__ import annotations

from typing import Any

import pytest

from common.paper.model import MarketStatus
from common.units import USD_ONE_E6
from tests.paper.front import A, B, Front


def status_of(front: Front, order_id: str) -> tuple[str, int]:
    """Return an order's true status and remaining quantity, also after a restart."""
    for _ in range(2):
        order = front.front.venue.exchange.orders[order_id]
        seen = (order.status, order.remaining_e2)
        front.restart()
    return seen


def reason(frames: list[dict[str, Any]]) -> list[str]:
    """Return why orders were told of."""
    return [frame["msg"].get("last_update_reason", "") for frame in frames if frame["type"] == "user_order"]


def test_trading_pause_forbids_creates_and_ends_by_itself() -> None:
    front = Front()
    kept, careful = front.placed(), front.placed(cancel_order_on_pause=True)
    front.act("trading_pause", duration_s=10)
    assert front.create().json["error"]["code"] == "trading_is_paused"
    assert front.get("/exchange/status")["trading_active"] is False
    assert front.cancel(kept).status == 200
    assert front.front.venue.exchange.orders[careful].status == "canceled"
    front.wait_ms(9_999)
    assert front.create().status == 409
    front.wait_ms(1)
    assert front.create().status == 201
    assert front.count("trading_pause") == 1


def test_trading_resume_ends_a_pause_without_end_also_after_a_restart() -> None:
    front = Front()
    front.act("trading_pause")
    front.restart(60_000)
    assert front.create().status == 409
    front.act("trading_resume")
    assert front.create().status == 201
    assert front.count("trading_resume") == 1


def test_maintenance_stops_everything_and_cuts_all_streams() -> None:
    front = Front()
    order_id = front.placed()
    ear = front.listen("user_orders")
    front.act("maintenance", duration_s=60)
    assert ear.session.is_closed
    assert front.create().json["error"]["code"] == "exchange_is_paused"
    assert front.cancel(order_id).json["error"]["code"] == "exchange_is_paused"
    assert front.get("/exchange/status", "")["exchange_active"] is False
    front.wait_ms(60_000)
    assert front.cancel(order_id).status == 200
    assert front.count("maintenance") == 1


def test_maintenance_end_opens_the_exchange_again() -> None:
    front = Front()
    front.act("maintenance")
    front.act("maintenance_end")
    assert front.create().status == 201
    assert front.count("maintenance_end") == 1


def test_market_deactivate_and_its_return_cancel_everything_in_it() -> None:
    front = Front()
    here, elsewhere = front.placed(), front.placed(ticker=B)
    ear = front.listen("user_orders", "market_lifecycle_v2")
    ear.frames()
    front.act("market_deactivate", ticker=A, duration_s=5)
    assert front.get(f"/markets/{A}")["market"]["status"] == "inactive"
    assert front.create().status == 409
    assert front.front.venue.exchange.orders[here].status == "resting"
    front.wait_ms(5_000)
    frames = ear.frames()
    events = [frame["msg"]["event_type"] for frame in frames if frame["type"] == "market_lifecycle_v2"]
    assert (events, reason(frames)) == (["deactivated", "activated"], ["HaltCancel"])
    assert status_of(front, here) == ("canceled", 0)
    assert status_of(front, elsewhere) == ("resting", 200)
    assert front.create().status == 201


def test_market_activate_is_refused_where_nothing_is_paused() -> None:
    front = Front()
    number = front.act("market_activate", ticker="KXS-1-*")
    (row,) = front.front.faults.rows(front.now_ns)
    assert (row.id, row.injected, row.refused) == (number, 0, 1)
    assert row.refusal == "market_not_found: no market 'KXS-1-*' is inactive"
    front.act("market_deactivate", ticker="KXS-1-*")
    front.act("market_activate", ticker="KXS-1-*")
    assert front.count("market_activate") == 1


def test_margin_cancel_takes_one_accounts_orders_in_one_market() -> None:
    front = Front()
    mine, other_market, other_account = front.placed(), front.placed(ticker=B), front.placed("bob")
    ear = front.listen("user_orders")
    ear.frames()
    front.act("margin_cancel", account="ann", ticker=A)
    assert reason(ear.frames()) == ["MarginCancel"]
    assert status_of(front, mine) == ("canceled", 0)
    assert status_of(front, other_market) == status_of(front, other_account) == ("resting", 200)


def test_grid_change_is_told_and_holds() -> None:
    front = Front()
    ear = front.listen("market_lifecycle_v2")
    ear.frames()
    assert front.create(price="0.4005").json["error"]["code"] == "invalid_price"
    front.act("grid_change", ticker=A, grid="center_deci_edge_centi_cent")
    (frame,) = ear.frames()
    assert frame["msg"]["event_type"] == "price_level_structure_updated"
    assert frame["msg"]["price_level_structure"] == "center_deci_edge_centi_cent"
    assert front.create(price="0.4010").status == 201
    front.restart()
    assert front.create(price="0.4010").status == 201


def test_early_close_at_once_and_in_a_while() -> None:
    front = Front()
    order_id = front.placed()
    ear = front.listen("market_lifecycle_v2", "user_orders")
    ear.frames()
    front.act("early_close", ticker=A, in_s=3)
    (frame,) = ear.frames()
    assert frame["msg"]["event_type"] == "close_date_updated"
    front.wait_ms(2_999)
    assert front.create().status == 201
    front.wait_ms(1)
    assert front.create().status == 409
    assert front.cancel(order_id).json["error"]["code"] == "market_closed"
    front.wait_ms(2_000)
    assert set(reason(ear.frames())) == {"", "CloseCancel"}
    front.act("early_close", ticker=B)
    assert front.create(ticker=B).status == 409
    assert front.count("early_close") == 2


def test_determine_pays_a_scalar_result_after_the_timer() -> None:
    front = Front()
    front.placed(price="0.4600", count="10.00")
    front.act("determine", ticker=A, result="scalar", value="0.3000")
    front.wait_ms(30_000)
    (settlement,) = front.get("/portfolio/settlements")["settlements"]
    assert (settlement["market_result"], settlement["revenue"]) == ("scalar", 300)


def test_disputed_result_is_decided_anew() -> None:
    front = Front()
    front.placed(price="0.4600", count="10.00")
    front.act("disputed_result", ticker=A, result="yes", final="no", duration_s=100)
    assert front.get(f"/markets/{A}")["market"]["status"] == "disputed"
    front.wait_ms(99_999)
    assert front.get("/portfolio/settlements")["settlements"] == []
    front.wait_ms(1)
    assert front.get(f"/markets/{A}")["market"]["status"] == "amended"
    front.wait_ms(30_000)
    (settlement,) = front.get("/portfolio/settlements")["settlements"]
    assert (settlement["market_result"], settlement["revenue"]) == ("no", 0)
    assert front.front.venue.exchange.markets[A].status is MarketStatus.FINALIZED


def test_disputed_result_of_a_market_that_was_determined_before() -> None:
    front = Front()
    front.act("determine", ticker=A, result="yes")
    front.act("disputed_result", ticker=A, final="yes", duration_s=100)
    front.wait_ms(100_000)
    assert front.get(f"/markets/{A}")["market"]["status"] == "determined"


def test_deposit_and_interest_are_exact_and_named() -> None:
    front = Front()
    front.act("deposit", account="ann", usd="12.345678")
    front.act("interest", account="ann", usd="0.000001")
    front.act("deposit", account="ann", usd="-2.00")
    front.restart()
    (account,) = front.ledger("ann").accounts
    (portfolio,) = account.portfolios
    assert portfolio.cash_e6 == [10_000 * USD_ONE_E6 + 10_345_679]
    assert [(move.reason, move.usd_e6) for move in portfolio.moves[1:]] == [
        ("deposit", 12_345_678), ("interest", 1), ("deposit", -2_000_000),
    ]  # fmt: skip


def test_interest_for_nobody_is_refused() -> None:
    front = Front()
    front.act("interest", account="nobody", usd="1.00")
    (row,) = front.front.faults.rows(front.now_ns)
    assert (row.refused, row.refusal) == (1, "not_found: account")


def test_foreign_order_appears_on_our_account() -> None:
    front = Front()
    ear = front.listen("user_orders")
    ear.frames()
    front.act(
        "foreign_order",
        account="ann", ticker=B, side="ask", price="0.6000", count="3.00", client_order_id="web-1",
    )  # fmt: skip
    (frame,) = ear.frames()
    assert frame["msg"]["client_order_id"] == "web-1"
    (listed,) = front.get("/portfolio/orders")["orders"]
    assert (listed["client_order_id"], listed["book_side"], listed["status"]) == ("web-1", "ask", "resting")
    assert front.get("/portfolio/orders", "bob")["orders"] == []
    assert status_of(front, listed["order_id"]) == ("resting", 300)


def test_books_balance_after_all_of_them() -> None:
    front = Front()
    front.placed(price="0.4600", count="7.77")
    front.placed("bob", side="ask", price="0.4400", count="3.21")
    front.fault("fill_after_cancel")
    front.cancel(front.placed(price="0.4500", count="5.00"))
    front.act("deposit", account="bob", usd="1.000001")
    front.act("foreign_order", account="bob", ticker=A, side="bid", price="0.4600", count="1.00")
    for _ in range(2):
        ledger = front.ledger()
        cash_e6 = sum(sum(each.cash_e6) for account in ledger.accounts for each in account.portfolios)
        assert cash_e6 + ledger.house_cash_e6 + ledger.open_interest_e6 + ledger.fees_e6 == ledger.paid_in_e6
        assert ledger.open_interest_e6 > 0
        front.restart()
    front.act("determine", ticker=A, result="yes")
    front.wait_ms(30_000)
    ledger = front.ledger()
    cash_e6 = sum(sum(each.cash_e6) for account in ledger.accounts for each in account.portfolios)
    assert ledger.open_interest_e6 == 0
    assert cash_e6 + ledger.house_cash_e6 + ledger.fees_e6 == ledger.paid_in_e6


def test_an_action_comes_again_and_stops_when_told() -> None:
    front = Front()
    front.act("deposit", account="ann", usd="1.00", start_s=5, every_s=10, times=3)
    front.wait_ms(4_999)
    assert front.count("deposit") == 0
    front.wait_ms(1)
    assert front.count("deposit") == 1
    front.wait_ms(100_000)
    assert front.count("deposit") == 3
    number = front.act("deposit", account="ann", usd="1.00", every_s=10)
    front.wait_ms(25_000)
    assert front.count("deposit") == 6
    assert front.front.remove(number)
    front.wait_ms(100_000)
    assert front.count("deposit") == 6


def test_what_an_action_began_ends_though_the_action_was_removed() -> None:
    front = Front()
    number = front.act("trading_pause", duration_s=10)
    front.front.clear()
    (row,) = front.front.faults.rows(front.now_ns)
    assert (row.id, row.state) == (number, "active")
    front.wait_ms(10_000)
    assert front.create().status == 201
    (row,) = front.front.faults.rows(front.now_ns)
    assert row.state == "over"


@pytest.mark.parametrize("away_ms", [0, 4_000])
def test_scheduled_end_does_not_survive_a_restart(away_ms: int) -> None:
    front = Front()
    front.act("trading_pause", duration_s=1)
    front.restart(away_ms)
    assert front.create().json["error"]["code"] == "trading_is_paused"
