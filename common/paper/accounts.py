"""accounts: cash, positions and the reservations of resting orders.

The ledger is exact: a fill changes cash by whole micro-dollars, YES and NO net at once, and at any time the cash of all
accounts plus one dollar per contract of open interest plus the fees taken equals what was ever paid in.
"""

from __future__ import annotations

import copy

from common.errors import Rejected
from common.paper.collateral import Reserve, order_need_e6
from common.paper.fees import fill_fee
from common.paper.market_data import MarketData
from common.paper.model import Fill, FillMade, MoveCash, Order, Position, PositionChanged, Trade
from common.paper.netting import closing_e2, leg_price_e4
from common.paper.state import Account, CashMove, Market, Portfolio, State
from common.units import PRICE_ONE_E4


class Accounts:
    """Books fills, cash moves and reservations."""

    def __init__(self, state: State, data: MarketData) -> None:
        self._state = state
        self._data = data

    def add(self, name: str, house: bool) -> Account:
        """Open an account with an empty primary portfolio."""
        if not name or name in self._state.accounts:
            raise Rejected("invalid_parameters", f"account {name!r:.60} exists or has no name")
        account = Account(name=name, house=house, portfolios={0: self._new_portfolio()})
        self._state.accounts[name] = account
        return account

    def _new_portfolio(self) -> Portfolio:
        shards = self._state.options.shards
        return Portfolio(cash_e6=[0] * shards, reserved_e6=[0] * shards)

    def portfolio(self, account: Account, subaccount: int) -> Portfolio:
        """Return a subaccount's portfolio or refuse; a subaccount begins with its first deposit."""
        portfolio = account.portfolios.get(subaccount)
        if portfolio is None:
            raise Rejected("invalid_parameters", "subaccount does not exist")
        return portfolio

    def move_cash(self, command: MoveCash) -> Portfolio:
        """Pay in or out from outside; a withdrawal may not take more than there is."""
        state = self._state
        account = state.account(command.account)
        if not 0 <= command.shard < state.options.shards or not 0 <= command.subaccount <= 63:
            raise Rejected("invalid_parameters", "subaccount or shard out of range")
        portfolio = account.portfolios.get(command.subaccount) or self._new_portfolio()
        if portfolio.cash_e6[command.shard] + command.usd_e6 < 0 and command.usd_e6 < 0 and not account.house:
            raise Rejected("insufficient_balance")
        account.portfolios[command.subaccount] = portfolio
        portfolio.cash_e6[command.shard] += command.usd_e6
        state.counters.moves += 1
        portfolio.moves.append(
            CashMove(
                usd_e6=command.usd_e6,
                shard=command.shard,
                reason=command.reason,
                ts_ns=state.now_ns,
                number=state.counters.moves,
            )
        )
        return portfolio

    # --- fills ---

    def book_fill(self, market: Market, order: Order, trade: Trade, is_taker: bool) -> None:
        """Pay for one party's part of a trade and move its position; tell real accounts."""
        account = self._state.accounts[order.account]
        portfolio = account.portfolios[order.subaccount]
        position = portfolio.positions.get(order.ticker)
        if position is None:
            position = portfolio.positions[order.ticker] = Position(ticker=order.ticker)
        leg_e4 = leg_price_e4(order.side, trade.price_e4)
        closed_e2 = closing_e2(position.position_e2, order.side, trade.qty_e2)
        opened_e2 = trade.qty_e2 - closed_e2
        revenue_e6 = closed_e2 * (PRICE_ONE_E4 - leg_e4) - opened_e2 * leg_e4
        cost_e6 = leg_e4 * trade.qty_e2
        if is_taker:
            order.taker_cost_e6 += cost_e6
        else:
            order.maker_cost_e6 += cost_e6
        if account.house:
            portfolio.cash_e6[order.shard] += revenue_e6
            self._shift(market, position, order, trade.qty_e2)
            return
        fee_e6 = self._charge(market, order, trade, is_taker, revenue_e6)
        portfolio.cash_e6[order.shard] += revenue_e6 - fee_e6
        _book_cost(position, order, leg_e4, closed_e2, opened_e2)
        position.fees_e6 += fee_e6
        position.updated_ns = trade.ts_ns
        self._shift(market, position, order, trade.qty_e2)
        self._tell(portfolio, position, order, trade, is_taker, fee_e6)

    def _charge(self, market: Market, order: Order, trade: Trade, is_taker: bool, revenue_e6: int) -> int:
        """Return the fee of a fill, noted on the order and collected."""
        model_e6 = market.fee_terms.model_e6(trade.qty_e2, trade.price_e4, is_taker)
        fee_e6, order.fee_rounding_e6 = fill_fee(order.fee_rounding_e6, revenue_e6, model_e6)
        if is_taker:
            order.taker_fees_e6 += fee_e6
        else:
            order.maker_fees_e6 += fee_e6
        self._state.fees_e6 += fee_e6
        return fee_e6

    def _shift(self, market: Market, position: Position, order: Order, qty_e2: int) -> None:
        """Move a position by a fill, and with it the open interest."""
        before_e2 = position.position_e2
        after_e2 = position.position_e2 = before_e2 + (qty_e2 if order.side == "bid" else -qty_e2)
        longer_e2 = max(after_e2, 0) - max(before_e2, 0)
        if longer_e2:
            self._data.interest_changed(market, longer_e2)

    def _tell(
        self, portfolio: Portfolio, position: Position, order: Order, trade: Trade, is_taker: bool, fee_e6: int
    ) -> None:
        state = self._state
        state.counters.fills += 1
        fill = Fill(
            fill_id=trade.trade_id,
            order_id=order.order_id,
            client_order_id=order.client_order_id,
            account=order.account,
            subaccount=order.subaccount,
            ticker=order.ticker,
            side=order.side,
            price_e4=trade.price_e4,
            qty_e2=trade.qty_e2,
            is_taker=is_taker,
            fee_e6=fee_e6,
            post_position_e2=position.position_e2,
            shard=order.shard,
            ts_ns=trade.ts_ns,
            number=state.counters.fills,
        )
        portfolio.fills.append(fill)
        state.events.append(FillMade(fill))
        state.events.append(PositionChanged(order.account, order.subaccount, copy.copy(position)))

    # --- reservations ---

    def reserve(self, order: Order) -> None:
        """Hold what a real account's order may need, or adjust it after its remaining quantity or position changed."""
        portfolio = self._state.portfolio_of(order)
        reserve = portfolio.reserves.get(order.ticker)
        if reserve is None:
            reserve = portfolio.reserves[order.ticker] = Reserve(self._state.markets[order.ticker].fee_terms)
        before_e6 = reserve.total_e6
        reserve.put(order, held_e2(portfolio, order.ticker))
        portfolio.reserved_e6[order.shard] += reserve.total_e6 - before_e6

    def release(self, order: Order) -> None:
        """Stop holding anything for an order (whose price is still the reserved one)."""
        portfolio = self._state.portfolio_of(order)
        reserve = portfolio.reserves.get(order.ticker)
        if reserve is None:
            return
        before_e6 = reserve.total_e6
        reserve.drop(order, held_e2(portfolio, order.ticker))
        portfolio.reserved_e6[order.shard] += reserve.total_e6 - before_e6

    def try_reserve(self, order: Order) -> None:
        """Reserve for a new order, or refuse with `insufficient_balance` and leave everything as it was."""
        portfolio = self._state.portfolio_of(order)
        before_e6 = portfolio.reserved_e6[order.shard]
        self.reserve(order)
        if self._is_affordable(portfolio, order, before_e6):
            return
        self.release(order)
        raise Rejected("insufficient_balance")

    def _is_affordable(self, portfolio: Portfolio, order: Order, before_e6: int) -> bool:
        cash_e6 = portfolio.cash_e6[order.shard]
        reserved_e6 = portfolio.reserved_e6[order.shard]
        if self._state.options.resting_margin == "sum":
            return reserved_e6 <= max(cash_e6, before_e6)  # what needs nothing more is never refused
        return self.is_backed_alone(order)

    def needs_cash(self, order: Order) -> bool:
        """Say whether less would be reserved without this order."""
        portfolio = self._state.portfolio_of(order)
        before_e6 = portfolio.reserved_e6[order.shard]
        self.release(order)
        without_e6 = portfolio.reserved_e6[order.shard]
        self.reserve(order)
        return without_e6 < before_e6

    def is_backed_alone(self, order: Order) -> bool:
        """Say whether the cash covers this order as if it were the only one."""
        portfolio = self._state.portfolio_of(order)
        free_e2 = closing_e2(held_e2(portfolio, order.ticker), order.side, order.remaining_e2)
        terms = self._state.markets[order.ticker].fee_terms
        return order_need_e6(order, order.remaining_e2 - free_e2, terms) <= portfolio.cash_e6[order.shard]


def held_e2(portfolio: Portfolio, ticker: str) -> int:
    """Return the signed position in a market, 0 if there never was one."""
    position = portfolio.positions.get(ticker)
    return position.position_e2 if position else 0


def _book_cost(position: Position, order: Order, leg_e4: int, closed_e2: int, opened_e2: int) -> None:
    """Move cost, realised profit and the gross totals of a position that is about to shift."""
    if closed_e2:
        held = abs(position.position_e2)
        removed_e6 = position.cost_e6 * closed_e2 // held
        position.cost_e6 -= removed_e6
        position.realized_e6 += closed_e2 * (PRICE_ONE_E4 - leg_e4) - removed_e6
    position.cost_e6 += opened_e2 * leg_e4
    qty_e2 = closed_e2 + opened_e2
    cost_e6 = qty_e2 * leg_e4
    position.traded_e6 += cost_e6
    position.volume_e2 += qty_e2
    if order.side == "bid":
        position.yes_bought_e2 += qty_e2
        position.yes_cost_e6 += cost_e6
    else:
        position.no_bought_e2 += qty_e2
        position.no_cost_e6 += cost_e6
