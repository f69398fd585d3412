"""Books rebuilt from the stream equal the exchange's own, through our probe's eyes and a third party's."""

from __future__ import annotations

from random import Random

from pykalshi.orderbook import OrderbookManager

from common.errors import Rejected
from common.paper.model import AmendOrder, CancelOrder, CreateOrder, DecreaseOrder, Order
from common.units import TAPERED_RANGES, format_price, format_qty, parse_price_e4, parse_qty_e2
from tests.paper.listener import Json, Stage
from tests.probe import Probe, Stream

A = "KXQUIET-ONE-A"
Levels = dict[str, dict[int, int]]


class Rebuilt:
    """A book made of a snapshot and deltas."""

    def __init__(self) -> None:
        self.levels: Levels = {"yes": {}, "no": {}}
        self.seq = 0

    def read(self, frame: Json) -> None:
        """Apply a frame; numbers must follow one another and no level may fall below zero."""
        assert frame["seq"] == self.seq + 1
        self.seq = frame["seq"]
        body = frame["msg"]
        if frame["type"] == "orderbook_snapshot":
            self.levels = {side: _levels(body.get(f"{side}_dollars_fp", [])) for side in ("yes", "no")}
            return
        level, price_e4 = self.levels[body["side"]], parse_price_e4(body["price_dollars"])
        level[price_e4] = level.get(price_e4, 0) + parse_qty_e2(body["delta_fp"], signed=True)
        assert level[price_e4] >= 0
        if not level[price_e4]:
            del level[price_e4]


def _levels(rows: list[list[str]]) -> dict[int, int]:
    return {parse_price_e4(price): parse_qty_e2(count) for price, count in rows}


def is_book(frame: Json) -> bool:
    return frame["type"] in ("orderbook_snapshot", "orderbook_delta")


def test_rest_book_equals_the_book_rebuilt_from_the_stream(probe: Probe) -> None:
    random = Random(24)
    with Stream(probe) as stream:
        stream.send("subscribe", channels=["orderbook_delta"], market_ticker=A)
        book = Rebuilt()
        book.read(stream.until("orderbook_snapshot")[-1])
        orders = []
        for _ in range(100):  # what the account may send at once
            if orders and random.random() < 0.3:
                probe.call("DELETE", f"/portfolio/events/orders/{orders.pop(random.randrange(len(orders)))}")
                continue
            side = random.choice(["bid", "ask"])
            answer = probe.order(A, side, f"{random.randint(1, 400) / 100:.2f}", f"{random.randint(40, 50) / 100:.4f}")
            if answer["remaining_count"] != "0.00":
                orders.append(answer["order_id"])
        for frame in stream.settle():
            if is_book(frame):
                book.read(frame)
        assert book.seq > 80
    _, answer = probe.call("GET", f"/markets/{A}/orderbook")
    shown = answer["orderbook_fp"]
    assert {side: _levels(shown[f"{side}_dollars"]) for side in ("yes", "no")} == book.levels
    for rows in shown.values():
        prices = [price for price, _ in rows]
        assert prices == sorted(prices), "ascending, best last"
    probe.call("DELETE", "/portfolio/events/orders")


def test_ten_thousand_random_orders_leave_three_equal_books() -> None:
    stage = Stage(accounts=("ann", "bob", "carl"), dollars=1_000_000)
    stage.floor.add_market("T", price_ranges=TAPERED_RANGES, price_level_structure="tapered_deci_cent")
    listener = stage.listen("ann")
    listener.say("subscribe", channels=["orderbook_delta"], market_ticker="T")
    ours, theirs = Rebuilt(), OrderbookManager("T")
    random = Random(25)
    resting: list[Order] = []
    done = 0
    while done < 10_000:
        try:
            order = stage.floor.apply(random_command(random, resting)).order
        except Rejected:
            continue
        done += 1
        if order.status == "resting":
            resting = [*(each for each in resting if each.order_id != order.order_id), order][-300:]
        if done % 50 == 0:
            stage.publish()
            for frame in filter(is_book, listener.frames()):
                ours.read(frame)
                body = frame["msg"]
                if frame["type"] == "orderbook_snapshot":
                    theirs.apply_snapshot(body.get("yes_dollars_fp"), body.get("no_dollars_fp"))
                else:
                    theirs.apply_delta(body["side"], body["price_dollars"], body["delta_fp"])
    book = stage.floor.exchange.markets["T"].book
    truth: Levels = {"yes": dict(book.levels("bid")), "no": {10_000 - p: q for p, q in book.levels("ask")}}
    assert min(len(side) for side in truth.values()) > 5
    assert ours.levels == truth
    for side, levels in (("yes", theirs.yes), ("no", theirs.no)):
        assert levels == {format_price(price): format_qty(qty) for price, qty in truth[side].items()}


def random_command(random: Random, resting: list[Order]) -> CreateOrder | CancelOrder | AmendOrder | DecreaseOrder:
    kind = random.random()
    if kind > 0.6 and resting:
        order = random.choice(resting)
        who = {"account": order.account, "order_id": order.order_id}
        if kind < 0.75:
            return CancelOrder(**who, exchange_index=0)
        if kind < 0.85:
            return DecreaseOrder(**who, reduce_by_e2=random.randint(1, 300), exchange_index=0)
        return AmendOrder(
            **who,
            ticker="T",
            side=order.side,
            price_e4=max(10, order.price_e4 + random.randint(-5, 5) * 10),
            qty_e2=order.initial_e2 + random.randint(-200, 200),
        )
    return CreateOrder(
        account=random.choice(["ann", "bob", "carl"]),
        ticker="T",
        side=random.choice(["bid", "ask"]),
        qty_e2=random.randint(1, 2_000),
        price_e4=min(9_990, max(10, round(random.gauss(50, 12)) * 20)),
        time_in_force=random.choice(["good_till_canceled", "good_till_canceled", "immediate_or_cancel"]),
        post_only=False,
    )
