"""settlement: pays out a determined market.

One YES pays the market's value and one NO the rest of the dollar. Payments are whole cents: what a scalar result leaves
below a cent goes to the exchange.
"""

from __future__ import annotations

import copy

from common.paper.model import Position, PositionChanged, Settlement
from common.paper.state import Account, Market, Portfolio, State
from common.units import PRICE_ONE_E4, USD_CENT_E6


class Settling:
    """Turns positions into cash."""

    def __init__(self, state: State) -> None:
        self._state = state

    def pay(self, market: Market) -> None:
        """Pay every holder and close every position of the market."""
        for account in self._state.accounts.values():
            for subaccount, portfolio in account.portfolios.items():
                position = portfolio.positions.get(market.ticker)
                if position is None:
                    continue
                revenue_e6 = self._pay_position(market, portfolio, position)
                if account.house:
                    del portfolio.positions[market.ticker]
                else:
                    self._tell(market, account, subaccount, position, revenue_e6)
        market.open_interest_e2 = 0

    def _pay_position(self, market: Market, portfolio: Portfolio, position: Position) -> int:
        """Credit what the position is worth and return it."""
        assert market.value_e4 is not None
        held_e2 = position.position_e2
        worth_e4 = market.value_e4 if held_e2 > 0 else PRICE_ONE_E4 - market.value_e4
        gross_e6 = abs(held_e2) * worth_e4
        revenue_e6 = gross_e6 - gross_e6 % USD_CENT_E6
        portfolio.cash_e6[market.shard] += revenue_e6
        self._state.fees_e6 += gross_e6 - revenue_e6
        position.realized_e6 += revenue_e6 - position.cost_e6
        position.cost_e6 = 0
        position.position_e2 = 0
        position.settled = True
        position.updated_ns = self._state.now_ns
        return revenue_e6

    def _tell(self, market: Market, account: Account, subaccount: int, position: Position, revenue_e6: int) -> None:
        state = self._state
        assert market.value_e4 is not None
        state.counters.settlements += 1
        account.portfolios[subaccount].settlements.append(
            Settlement(
                account=account.name,
                subaccount=subaccount,
                ticker=market.ticker,
                event_ticker=market.spec.event_ticker,
                result=market.result,
                yes_count_e2=position.yes_bought_e2,
                yes_cost_e6=position.yes_cost_e6,
                no_count_e2=position.no_bought_e2,
                no_cost_e6=position.no_cost_e6,
                revenue_e6=revenue_e6,
                fee_e6=position.fees_e6,
                value_e4=market.value_e4,
                shard=market.shard,
                ts_ns=state.now_ns,
                number=state.counters.settlements,
            )
        )
        state.events.append(PositionChanged(account.name, subaccount, copy.copy(position)))
