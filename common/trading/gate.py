"""The gate: execution's admission in one step, from a verdict to a journaled order or a refusal. Pure.

It keeps the exposure in step with our orders, the foreign ones and the published positions, asks the verdict whether it
still holds, prices from the book net of the account's own orders, and lets `admission` judge.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import BrokenInvariant
from common.messages import Amend, Book, Market, Place, Pricing, Purpose, State
from common.trading.admission import Candidate, Reservation, Scene, admit
from common.trading.book import net_of_own
from common.trading.exposure import Claim, Exposure, MarketExposure, Stake, claim_of_order, option_of
from common.trading.limits import OrderRate, check_book, expiry_wall_s
from common.trading.orders import OrderRecord, OrderTerms, open_order
from common.trading.pricing import price_amend, price_order
from common.trading.refusals import Code, Refusal
from common.units import PriceGrid, PriceRange

if TYPE_CHECKING:
    from common.trading.executor import Executor

VERDICT_MAX_AGE_NS = 500 * NS_PER_MS
EVERYBODY_TOLD_NS = 5 * NS_PER_S  # after our start: a position that was not heard by then is not there
SHORTEST_LIFE_NS = 2 * NS_PER_S  # an order that would expire sooner is not worth sending

_STATES_OF_PURPOSE = {
    Purpose.OPEN: (State.READY, State.ACTING),
    Purpose.CLOSE: (State.READY, State.ACTING),
    Purpose.EXIT: (State.READY, State.ACTING),
    Purpose.RECOVERY: (State.RECOVER_CASH,),
    Purpose.FLATTEN: (State.PAUSED,),
}


class Gate:
    """Admission with everything it needs to know."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.exposure = Exposure()
        self.rate = OrderRate(executor.settings.limits)
        self._began_ns = executor.now.mono_ns
        self._touched: dict[str, None] = {}  # since the last publication
        self._outdated: dict[str, None] = {}  # since the exposure was last brought up to date
        self._admitted: tuple[str, MarketExposure] | None = None  # a create, until it is committed
        self._grids: dict[tuple[PriceRange, ...], PriceGrid] = {}
        # Ended orders with fills that the published position, or cash, does not contain yet.
        self._settling = {
            order.client_order_id: order for order in executor.keeper.orders.values() if order.is_ended and order.fills
        }
        for ticker in {order.ticker: None for order in self._settling.values()}:
            self.touch(ticker)

    # --- exposure ---

    def touch(self, ticker: str) -> None:
        """Remember that a market's orders or position changed."""
        self._touched[ticker] = None
        self._outdated[ticker] = None

    def note_market(self, before: Market | None, market: Market) -> None:
        """Take a market's terms: what its orders may cost, and whose limits they count towards, follows from them."""
        if self.exposure.knows(market.ticker) and (before is None or _terms(before) != _terms(market)):
            self.touch(market.ticker)

    def touch_unsettled(self) -> None:
        """Look again at every market where an order has fills: the published cash changed."""
        for order in (*self.executor.keeper.live.values(), *self._settling.values()):
            if order.fills:
                self.touch(order.ticker)

    def take_touched(self) -> list[str]:
        """Bring the exposure up to date; return the markets that changed since the last call."""
        self.refresh()
        touched = list(self._touched)
        self._touched.clear()
        return touched

    def note_ended(self, order: OrderRecord) -> None:
        """Keep an ended order until the published position contains its fills."""
        if order.fills:
            self._settling[order.client_order_id] = order

    def refresh(self) -> None:
        """Bring the exposure of every market that changed up to date."""
        for ticker in self._outdated:
            self._refresh(ticker)
        self._outdated.clear()

    def _refresh(self, ticker: str) -> None:
        """Recompute a market's stake and claims."""
        around = self.executor.around
        position, market = around.positions.get(ticker), around.markets.get(ticker)
        known = market or position
        shard = known.shard if known else self._shard_of_orders(ticker)
        self.exposure.set_stake(
            Stake(
                ticker=ticker,
                event_ticker=known.event_ticker if known else "",
                series_ticker=known.series_ticker if known else "",
                shard=shard,
                position_e2=position.position_e2 if position else 0,
                cost_usd_e6=position.cost_usd_e6 if position else 0,
            )
        )
        fee_type = market.fee_type if market else "quadratic"
        multiplier_e4 = market.fee_multiplier_e4 if market else 10_000
        has_everybody_told = self.executor.now.mono_ns - self._began_ns >= EVERYBODY_TOLD_NS
        contained = around.contained_number(ticker, shard, has_everybody_told)
        settling = self._still_settling(ticker, contained)
        own = [
            claim_of_order(order, contained, fee_type, multiplier_e4)
            for order in (*self.executor.keeper.live_in(ticker), *settling)
        ]
        self.exposure.set_claims(ticker, [*own, *self._foreign_claims(ticker, fee_type, multiplier_e4)])

    def _shard_of_orders(self, ticker: str) -> int:
        """Return where the orders of a market are that nobody has told us of yet."""
        own = (order.shard for order in self.executor.keeper.live_in(ticker))
        foreign = (order.shard for order in self.executor.foreign.orders.values() if order.ticker == ticker)
        return next(chain(own, foreign), 0)

    def _still_settling(self, ticker: str, contained_number: int) -> list[OrderRecord]:
        settling = [order for order in self._settling.values() if order.ticker == ticker]
        for order in settling:
            if not order.uncontained_e2(contained_number):
                del self._settling[order.client_order_id]
        return [order for order in settling if order.client_order_id in self._settling]

    def forget(self, ticker: str) -> bool:
        """Drop a market of which nothing is left; return whether nothing was."""
        self.refresh()
        if self.exposure.stake(ticker).position_e2 or self.exposure.claims(ticker):
            return False
        self.exposure.forget(ticker)
        self._touched.pop(ticker, None)
        return True

    def _foreign_claims(self, ticker: str, fee_type: str, multiplier_e4: int) -> list[Claim]:
        claims = []
        for order in self.executor.foreign.open_orders(ticker):
            option = option_of(order.price_e4, order.remaining_e2, fee_type, multiplier_e4)
            claims.append(Claim(key=order.order_id, ticker=ticker, side=order.side, options=(option,)))
        return claims

    def reserved_usd_e6(self, ticker: str) -> int:
        """Return the cash that a market's orders may still need."""
        return self.exposure.market(ticker).reserved_usd_e6

    # --- the verdict ---

    def _first_refusal(
        self, epoch: int, decided_mono_ns: int, purpose: Purpose, market: Market | None, ticker: str
    ) -> Refusal | None:
        """Return what forbids any order now: ourselves, the verdict, the exchange."""
        return (
            self._own_refusal()
            or self._verdict_refusal(epoch, decided_mono_ns, purpose)
            or (Refusal(Code.MARKET, f"{ticker} is not known") if market is None else self._exchange_refusal(market))
        )

    def _own_refusal(self) -> Refusal | None:
        executor = self.executor
        if executor.settings.exchange.mode == "observe":
            return Refusal(Code.STATE, "mode is observe: nothing is ever sent")
        if executor.halted:
            return Refusal(Code.STATE, f"halted: {executor.halted}")
        if not executor.around.has_order_list:
            return Refusal(Code.ACCOUNT_UNKNOWN, "the account's orders have not been read since our start")
        return None

    def _verdict_refusal(self, epoch: int, decided_mono_ns: int, purpose: Purpose) -> Refusal | None:
        around = self.executor.around
        if around.trader is None:
            return Refusal(Code.STATE, "the coordinator is not heard")
        if around.trader.epoch != epoch:
            return Refusal(Code.EPOCH, f"epoch {epoch}, but the coordinator's is {around.highest_epoch}")
        age_ns = self.executor.now.mono_ns - decided_mono_ns
        if not 0 <= age_ns <= VERDICT_MAX_AGE_NS:
            return Refusal(Code.STALE_VERDICT, f"the verdict is {age_ns // NS_PER_MS} ms old")
        if around.trader.state not in _STATES_OF_PURPOSE[purpose]:
            return Refusal(Code.STATE, f"the trader is {around.trader.state}: no order to {purpose}")
        return None

    def _exchange_refusal(self, market: Market) -> Refusal | None:
        status = self.executor.around.exchanges.get(market.shard)
        if status is None or not (status.reachable and status.exchange_active and status.trading_active):
            return Refusal(Code.MARKET, f"shard {market.shard} does not trade")
        return None

    # --- create ---

    def place(self, place: Place) -> OrderRecord | Refusal:
        """Return the order to journal and send, or why not; what is admitted is reserved."""
        market = self.executor.around.markets.get(place.ticker)
        refusal = self._first_refusal(place.epoch, place.decided_mono_ns, place.purpose, market, place.ticker)
        if refusal is not None:
            return refusal
        assert market is not None
        if place.qty_e2 <= 0:
            return Refusal(Code.ORDER_SIZE, "an order of nothing")
        self.touch(place.ticker)  # what time alone changes must be seen by the limits as by the check afterwards
        self.refresh()
        book = self._net_book(place.ticker)
        stale = check_book(book)
        if stale is not None:
            return stale
        assert book is not None
        price_e4 = price_order(place.pricing, place.side, *_touch(book), self._grid(market))
        if isinstance(price_e4, Refusal):
            return price_e4
        expires_wall_ns = self._expiry_ns(market) if place.pricing is not Pricing.AGGRESSIVE else None
        if expires_wall_ns is not None and expires_wall_ns - self.executor.now.wall_ns < SHORTEST_LIFE_NS:
            return Refusal(Code.CLOSE_TIME, "the market closes before the order could rest")
        candidate = Candidate(
            client_order_id=place.client_order_id, ticker=place.ticker, side=place.side, price_e4=price_e4,
            qty_e2=place.qty_e2, pricing=place.pricing, purpose=place.purpose,
        )  # fmt: skip
        admitted = admit(candidate, self._scene(market, book, None), self.executor.settings.limits)
        if isinstance(admitted, Refusal):
            return admitted
        self._admitted = (place.client_order_id, admitted.worst)
        return self._record(place, market, OrderTerms(price_e4, place.qty_e2, expires_wall_ns))

    def _record(self, place: Place, market: Market, terms: OrderTerms) -> OrderRecord:
        return OrderRecord(
            client_order_id=place.client_order_id, ticker=place.ticker, side=place.side, pricing=place.pricing,
            purpose=place.purpose, terms=terms, shard=market.shard, request_id=place.request_id,
            decided_mono_ns=place.decided_mono_ns, created_wall_ns=self.executor.now.wall_ns,
            sent_mono_ns=self.executor.now.mono_ns, signed_wall_ns=self.executor.now.wall_ns,
            fills_after=self.executor.keeper.last_fill_number,
        )  # fmt: skip

    def commit(self, order: OrderRecord, is_reprice: bool = False) -> None:
        """Count an admitted create or amend; its claim follows from the order itself."""
        now_ns = self.executor.now.mono_ns
        self.rate.note(now_ns)
        if is_reprice:
            self.rate.note_reprice(order.ticker, now_ns)
        self.touch(order.ticker)
        self.refresh()
        self._check_admitted(order)

    def _check_admitted(self, order: OrderRecord) -> None:
        """Raise `BrokenInvariant` unless a journaled create exposes us to exactly what the limits were asked about."""
        admitted, self._admitted = self._admitted, None
        if admitted is None or admitted[0] != order.client_order_id:
            return
        exposed = self.exposure.market(order.ticker)
        if exposed != admitted[1]:
            raise BrokenInvariant(f"{order.client_order_id} was admitted with {admitted[1]}, and makes it {exposed}")

    # --- amend ---

    def amend(self, amend: Amend, order: OrderRecord) -> OrderTerms | Refusal | None:
        """Return the terms to amend an order to, why not, or None when it is as it should be."""
        market = self.executor.around.markets.get(order.ticker)
        refusal = self._first_refusal(amend.epoch, amend.decided_mono_ns, order.purpose, market, order.ticker)
        if refusal is not None:
            return refusal
        assert market is not None
        if not order.is_amendable or not order.rests:
            return Refusal(Code.LIVE_ORDER, f"our order is {order.state}")
        self.refresh()
        book = self._net_book(order.ticker)
        stale = check_book(book)
        if stale is not None:
            return stale
        assert book is not None
        price_e4 = price_amend(order.pricing, order.side, *_touch(book), self._grid(market))
        if isinstance(price_e4, Refusal):
            return price_e4
        open_e2 = order.open_e2 if amend.qty_e2 is None else min(amend.qty_e2, order.open_e2)
        terms = OrderTerms(price_e4, order.filled_e2 + open_e2, self._expiry_ns(market))
        if (terms.price_e4, terms.total_e2) == (order.terms.price_e4, order.terms.total_e2):
            return None
        return self._admit_amend(order, terms, open_e2, market, book)

    def _admit_amend(
        self, order: OrderRecord, terms: OrderTerms, open_e2: int, market: Market, book: Book
    ) -> OrderTerms | Refusal:
        if open_e2 <= 0:
            return Refusal(Code.LIVE_ORDER, "nothing of it is open")
        candidate = Candidate(
            client_order_id=order.client_order_id, ticker=order.ticker, side=order.side, price_e4=terms.price_e4,
            qty_e2=open_e2, pricing=order.pricing, purpose=order.purpose, is_amend=True,
        )  # fmt: skip
        admitted = admit(candidate, self._scene(market, book, order), self.executor.settings.limits)
        return terms if isinstance(admitted, Reservation) else admitted

    # --- shared ---

    def _net_book(self, ticker: str) -> Book | None:
        book = self.executor.around.books.get(ticker)
        if book is None:
            return None
        own = [open_order(order) for order in self.executor.keeper.live_in(ticker)]
        return net_of_own(book, (*own, *self.executor.foreign.open_orders(ticker)))

    def _grid(self, market: Market) -> PriceGrid:
        grid = self._grids.get(market.price_ranges)
        if grid is None:
            grid = self._grids[market.price_ranges] = PriceGrid(market.price_ranges)
        return grid

    def _expiry_ns(self, market: Market) -> int:
        limits = self.executor.settings.limits
        return expiry_wall_s(self.executor.now.wall_ns, market.close_wall_ns, limits) * NS_PER_S

    def _scene(self, market: Market, book: Book, amended: OrderRecord | None) -> Scene:
        executor = self.executor
        account = executor.around.accounts.get(market.shard)
        accounts = executor.around.accounts.values()
        known = bool(accounts) and all(row.known for row in accounts)
        live = [order for order in executor.keeper.live.values() if order is not amended]
        return Scene(
            now=executor.now, market=market, book=book, exposure=self.exposure, rate=self.rate,
            live_in_market=sum(1 for order in live if order.ticker == market.ticker), live=len(live),
            cash_usd_e6=account.cash_usd_e6 if account is not None and account.known else None,
            equity_usd_e6=sum(row.liquidation_usd_e6 for row in accounts) if known else None,
        )  # fmt: skip


def _terms(market: Market) -> tuple[str, int, str, str, int]:
    """Return what a market's exposure depends on, besides its position and orders."""
    return market.fee_type, market.fee_multiplier_e4, market.event_ticker, market.series_ticker, market.shard


def _touch(book: Book) -> tuple[int | None, int | None]:
    return (book.bids[0][0] if book.bids else None), (book.asks[0][0] if book.asks else None)
