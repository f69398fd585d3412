"""flow: plays a scenario on an exchange: lists, opens and resolves its markets and lets its crowds trade.

A flow runs inside the exchange's own time: `step` does, one after the other and each at its own instant, everything
that is due. It is deterministic: the same scenario, seed, speed and times of its steps, between the same commands of
others, give the same books. So a log needs only the times of the steps. The speed divides all times of the scenario;
what the exchange itself measures (expiries, signatures, order groups) stays on wall time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from random import Random
from typing import Any, Literal

import msgspec

from common.paper.crowd import HOUSE, MAKER, Crowd, CrowdState
from common.paper.exchange import ORDER_BOOKS, Exchange
from common.paper.listing import (
    Listing,
    Schedule,
    account_commands,
    check_speed,
    first_close_s,
    list_fixed,
    list_rolling,
    rolling_ticker,
    series_commands,
)
from common.paper.makers import Makers
from common.paper.model import AddAccount, AddMarket, CreateOrder, MarketAction, MarketResult, MarketStatus
from common.paper.scenario import CrowdTable, MarketTable, RollingTable, Scenario, StandingTable
from common.paper.state import BookKinds, Market
from common.paper.takers import Takers
from common.paper.value import Activity, start_value
from common.units import PRICE_ONE_E4, parse_price_e4, parse_qty_e2

Kind = Literal["roll", "watch", "make", "blind", "informed"]
_WATCH_S = 1.0  # how often the life of each market is looked at
_RESOLVE_S = 5.0  # from the close to the result


class _Due(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """Something to do at a scenario time; `life` outdates what was due before a market stopped trading."""

    due_s: float
    number: int
    kind: Kind
    key: str
    life: int = 0


class _MarketState(msgspec.Struct, kw_only=True):
    """One listed market as the flow sees it."""

    listing: Listing
    trading: bool = False
    life: int = 0
    crowd: CrowdState | None = None  # from the first opening on
    generator: tuple[int, tuple[int, ...], float | None]  # of the market's luck


class _FlowState(msgspec.Struct, kw_only=True):
    scenario: Scenario
    seed: int
    speed: float
    schedule: Schedule | None = None
    due: list[_Due] = []
    number: int = 0
    markets: dict[str, _MarketState] = {}


class _Player:
    """One market with its crowd and its luck."""

    def __init__(self, state: _MarketState, table: MarketTable | RollingTable, crowd_table: CrowdTable | None) -> None:
        self.state = state
        self.table = table
        self.crowd_table = crowd_table
        self.rng = Random()
        self.rng.setstate(state.generator)
        self.crowd: Crowd | None = None
        if state.crowd is not None:
            self.join(state.crowd)

    def join(self, state: CrowdState) -> None:
        """Let the crowd trade from `state` on."""
        assert self.crowd_table is not None
        self.state.crowd = state
        self.crowd = Crowd(self.crowd_table, state, self.rng)
        self.makers = Makers(self.crowd)
        self.takers = Takers(self.crowd)


class Flow:
    """A scenario being played; the first `step` starts it."""

    def __init__(self, scenario: Scenario, seed: int, speed: float = 1.0) -> None:
        check_speed(scenario, speed)
        self._state = _FlowState(scenario=scenario, seed=seed, speed=speed)
        self._players: dict[str, _Player] = {}
        self._crowds = {table.name: table for table in scenario.crowd}

    # --- the door ---

    def step(self, exchange: Exchange, now_ns: int) -> None:
        """Do everything that is due by `now_ns`; the first step opens accounts and lists what there is."""
        if self._state.schedule is None:
            self._start(exchange, now_ns)
        schedule, due = self._state.schedule, self._state.due
        assert schedule is not None
        while due and (due_ns := schedule.wall_ns(due[0].due_s)) <= now_ns:
            self._do(exchange, heappop(due), due_ns)

    def skip(self, now_ns: int) -> None:
        """Pass over what nobody did while the exchange was away: crowds go on from now, missed markets never were."""
        if self._state.schedule is None:
            return
        now_s = self._state.schedule.scenario_s(now_ns)
        self._state.due = [due if due.due_s >= now_s else self._postpone(due, now_s) for due in self._state.due]
        heapify(self._state.due)

    def _postpone(self, due: _Due, now_s: float) -> _Due:
        key = due.key
        if due.kind == "roll":
            assert self._state.schedule is not None
            place, run = map(int, key.split("/"))
            table = self._state.scenario.rolling[place]
            over = int((now_s - first_close_s(table, self._state.schedule)) // table.every_s) + 1
            key = f"{place}/{max(run, over)}"  # the first one that has not closed yet
        return _Due(now_s, due.number, due.kind, key, due.life)

    def next_due_ns(self) -> int | None:
        """Return when the next step is needed: 0 before the first, None when nothing will ever happen again."""
        if self._state.schedule is None:
            return 0
        return self._wall_ns(self._state.due[0].due_s) if self._state.due else None

    @property
    def book_kinds(self) -> BookKinds:
        """Return the books of the exchange that this is played on."""
        return ORDER_BOOKS

    @property
    def scenario(self) -> Scenario:
        """Return what is played."""
        return self._state.scenario

    @property
    def started_ns(self) -> int | None:
        """Return when it began, None before the first step."""
        return None if self._state.schedule is None else self._state.schedule.start_ns

    @property
    def speed(self) -> float:
        """Return what the scenario's times are divided by."""
        return self._state.speed

    def tickers(self, exchange: Exchange) -> list[str]:
        """Return the markets that trade now, in the order of the scenario."""
        fixed = [table.ticker for table in self._state.scenario.market]
        rolling = [ticker for ticker, state in self._state.markets.items() if state.listing.run is not None]
        rolling.sort(key=lambda ticker: self._state.markets[ticker].listing.table)
        known = exchange.markets
        return [t for t in [*fixed, *rolling] if t in known and known[t].status is MarketStatus.ACTIVE]

    def refusals(self) -> dict[str, int]:
        """Return how often the exchange refused the crowds' orders, by code."""
        total: dict[str, int] = {}
        for state in self._state.markets.values():
            for code, count in (state.crowd.refusals if state.crowd else {}).items():
                total[code] = total.get(code, 0) + count
        return total

    def probability(self, ticker: str) -> float:
        """Return the hidden value of a trading market, for tests and statistics."""
        crowd = self._state.markets[ticker].crowd
        assert crowd is not None, f"{ticker} has no crowd"
        return crowd.value.probability

    def snapshot(self) -> bytes:
        """Return the whole state, scenario included."""
        for player in self._players.values():
            player.state.generator = player.rng.getstate()
        return msgspec.msgpack.encode(self._state)

    @classmethod
    def restore(cls, data: bytes) -> Flow:
        """Return the flow that `snapshot` described."""
        state = msgspec.msgpack.decode(data, type=_FlowState)
        flow = cls(state.scenario, state.seed, state.speed)
        flow._state = state
        for ticker in state.markets:
            flow._seat(ticker)
        return flow

    # --- listing ---

    def _start(self, exchange: Exchange, now_ns: int) -> None:
        state, scenario = self._state, self._state.scenario
        state.schedule = Schedule(start_ns=now_ns, speed=state.speed)
        for command in [*account_commands(scenario), *series_commands(scenario)]:
            exchange.apply(command, now_ns)
        for account in HOUSE:
            exchange.apply(AddAccount(account=account, house=True), now_ns)
        for place, table in enumerate(scenario.market):
            exchange.apply(AddMarket(market=list_fixed(table, state.schedule)), now_ns)
            listing = Listing(ticker=table.ticker, opens_s=table.opens_s, closes_s=table.closes_s, table=place)
            self._list(listing, 0.0)
        for place in range(len(scenario.rolling)):
            self._roll(exchange, place, 0, 0.0)
            self._roll(exchange, place, 1, 0.0)

    def _roll(self, exchange: Exchange, place: int, run: int, now_s: float) -> None:
        """List one market of a rolling series; the next one is listed when this one opens."""
        assert self._state.schedule is not None
        table, schedule = self._state.scenario.rolling[place], self._state.schedule
        if table.count and run >= table.count:
            return
        closes_s = first_close_s(table, schedule) + run * table.every_s
        ticker = rolling_ticker(table, schedule.wall_ns(closes_s))
        opens_s = closes_s - table.every_s if run else min(closes_s - table.every_s, 0.0)  # no gap at the start
        listing = Listing(ticker=ticker, opens_s=opens_s, closes_s=closes_s, table=place, run=run)
        for command in list_rolling(table, listing, schedule):
            exchange.apply(command, self._wall_ns(now_s))
        self._list(listing, now_s)
        if run > 0:
            self._push(opens_s, "roll", f"{place}/{run + 1}")

    def _list(self, listing: Listing, now_s: float) -> None:
        generator: Any = Random(f"{self._state.seed}/{listing.table}/{listing.run}").getstate()
        self._state.markets[listing.ticker] = _MarketState(listing=listing, generator=generator)
        self._seat(listing.ticker)
        self._push(max(listing.opens_s, now_s), "watch", listing.ticker)

    def _seat(self, ticker: str) -> None:
        state = self._state.markets[ticker]
        scenario, place = self._state.scenario, state.listing.table
        table = scenario.market[place] if state.listing.run is None else scenario.rolling[place]
        self._players[ticker] = _Player(state, table, self._crowds.get(table.crowd))

    # --- what is due ---

    def _wall_ns(self, scenario_s: float) -> int:
        assert self._state.schedule is not None
        return self._state.schedule.wall_ns(scenario_s)

    def _push(self, due_s: float, kind: Kind, key: str, life: int = 0) -> None:
        state = self._state
        number = state.number = state.number + 1
        heappush(state.due, _Due(due_s, number, kind, key, life))

    def _do(self, exchange: Exchange, due: _Due, now_ns: int) -> None:
        if due.kind == "roll":
            place, run = due.key.split("/")
            self._roll(exchange, int(place), int(run), due.due_s)
            return
        player = self._players.get(due.key)
        if player is None:
            return
        if due.kind == "watch":
            self._watch(exchange, player, due.due_s, now_ns)
        elif due.life == player.state.life:
            self._trade(exchange, player, due, now_ns)

    def _trade(self, exchange: Exchange, player: _Player, due: _Due, now_ns: int) -> None:
        """Let one member of a crowd act, and say when the next of its kind does."""
        market = exchange.markets[due.key]
        exchange.advance(now_ns)
        if not _may_trade(exchange, market):
            self._suspend(player)
            return
        crowd, takers = player.crowd, player.takers
        assert crowd is not None
        crowd.advance(due.due_s)
        if due.kind == "make":
            pause_s = player.makers.act(exchange, market, now_ns)
        elif due.kind == "blind":
            if takers.is_active():
                takers.trade_blindly(exchange, market, now_ns)
            pause_s = takers.pause_s(crowd.table.noise_per_min)
        else:
            if takers.is_active():
                takers.pick_off(exchange, market, now_ns)
            pause_s = takers.pause_s(crowd.table.informed_per_min)
        self._push(due.due_s + pause_s, due.kind, due.key, due.life)

    # --- the life of a market ---

    def _watch(self, exchange: Exchange, player: _Player, now_s: float, now_ns: int) -> None:
        """Start and stop trading as the market's status says, and resolve the market once it is closed."""
        exchange.advance(now_ns)
        ticker = player.state.listing.ticker
        market = exchange.markets[ticker]
        assert self._state.schedule is not None
        close_s = self._state.schedule.scenario_s(market.close_ns)
        if market.status in (MarketStatus.INITIALIZED, MarketStatus.ACTIVE, MarketStatus.INACTIVE):
            may_trade = _may_trade(exchange, market)
            if may_trade and not player.state.trading:
                self._resume(exchange, player, market, now_s, now_ns)
            elif not may_trade:
                self._suspend(player)
            next_s = now_s + max(_WATCH_S, self._state.speed * 0.05)
            self._push(min(next_s, close_s) if close_s > now_s else next_s, "watch", ticker)
            return
        if market.status is MarketStatus.CLOSED:
            if now_s < close_s + _RESOLVE_S:
                self._push(close_s + _RESOLVE_S, "watch", ticker)
                return
            action = MarketAction(ticker=ticker, action="determine", result=self._outcome(player))
            exchange.apply(action, now_ns)
        del self._players[ticker], self._state.markets[ticker]

    @staticmethod
    def _outcome(player: _Player) -> MarketResult:
        if isinstance(player.table, MarketTable) and player.table.result:
            return player.table.result
        if player.crowd is not None:
            return player.crowd.state.value.draw_outcome(player.rng)
        return "yes" if player.rng.random() < player.table.value.start else "no"

    def _suspend(self, player: _Player) -> None:
        if player.state.trading:
            player.state.trading = False
            player.state.life += 1

    def _resume(self, exchange: Exchange, player: _Player, market: Market, now_s: float, now_ns: int) -> None:
        """Fill the book if nothing of the house rests there, and let the crowd trade."""
        player.state.trading = True
        if player.crowd_table is not None and player.crowd is None:
            player.join(self._meet(player, now_s))
        if not market.book.levels("bid") and not market.book.levels("ask"):
            if isinstance(player.table, MarketTable):
                for order in player.table.standing:
                    exchange.apply(_standing_order(market.spec.ticker, order), now_ns)
            if player.crowd is not None:
                player.makers.open(exchange, market, now_ns)
        if player.crowd is None:
            return
        ticker, table = player.state.listing.ticker, player.crowd.table
        self._push(now_s, "make", ticker, player.state.life)
        if table.noise_per_min:
            self._push(now_s + player.takers.pause_s(table.noise_per_min), "blind", ticker, player.state.life)
        if table.informed_per_min:
            self._push(now_s + player.takers.pause_s(table.informed_per_min), "informed", ticker, player.state.life)

    def _meet(self, player: _Player, now_s: float) -> CrowdState:
        """Return a crowd that has just come together."""
        assert player.crowd_table is not None
        value = start_value(player.table.value, now_s, player.state.listing.closes_s, player.rng)
        return CrowdState(
            ticker=player.state.listing.ticker,
            value=value,
            activity=Activity(burstiness=player.crowd_table.burstiness),
            view_e4=value.probability * PRICE_ONE_E4,
            at_s=now_s,
            bursts_per_s=player.table.value.bursts_per_hour / 3_600,
            burst_e4=player.table.value.burst_e4,
        )


def _may_trade(exchange: Exchange, market: Market) -> bool:
    return market.status is MarketStatus.ACTIVE and exchange.trading_active(market.spec.shard)


def _standing_order(ticker: str, order: StandingTable) -> CreateOrder:
    return CreateOrder(
        account=MAKER,
        ticker=ticker,
        side=order.side,
        qty_e2=parse_qty_e2(order.count),
        price_e4=parse_price_e4(order.price),
        time_in_force="good_till_canceled",
        post_only=True,
    )
