"""The ledger: what we hold, what it cost, what it earned, and the cash, from fills, settlements and external moves.

A position is a signed YES quantity; buying the opposite side nets. A YES contract costs p, a NO contract 1 - p; a
partial close removes `cost * closed // held`, and the last close takes the rest. A fill that crosses zero is a closing
and an opening part. Realised profit is before fees; fees are what the fills say, never a formula.

Fills are booked in the order in which they happened, as the exchange does, also one that comes to light late.

Each fill counts once, by its id; the ids of an hour of a market's fills are remembered, and what happened before them
is booked already. A market settles once. After every change each shard obeys, in micro-dollars,

    cash + cost + fees - realised == opening + external

or `BrokenInvariant` is raised. All state lives in structs, so that a checkpoint is `LedgerState` and nothing else.
"""

from __future__ import annotations

from itertools import islice, takewhile
from typing import NamedTuple

import msgspec

from common.clock import NS_PER_MS, NS_PER_S
from common.errors import BrokenInvariant
from common.messages import Side
from common.units import PRICE_ONE_E4

IDS_KEPT_NS = 3_600 * NS_PER_S  # of a market: fills that happened so long before its newest are over
TRADES_KEPT = 50  # of a market: before the oldest of them a fill that comes to light is put, whenever it happened


class SettledTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A settlement, and the position it found: a fill that comes to light later is put before it."""

    revenue_usd_e6: int
    fee_usd_e6: int
    position_e2: int
    cost_usd_e6: int


class LedgerFill(NamedTuple):
    """What the ledger needs of a fill."""

    fill_id: str
    ticker: str
    side: Side
    price_e4: int
    qty_e2: int
    fee_usd_e6: int
    shard: int
    exchange_wall_ns: int = 0
    is_taker: bool = False

    def happened_after(self, other: LedgerFill) -> bool:
        """Say whether this one happened later; what one order took at the same moment, it took from the best price on.

        Stamps are compared by the millisecond: the stream's are no finer.
        """
        mine_ms, others_ms = self.exchange_wall_ns // NS_PER_MS, other.exchange_wall_ns // NS_PER_MS
        if mine_ms != others_ms:
            return mine_ms > others_ms
        is_one_sweep = self.is_taker and other.is_taker and self.side == other.side
        return is_one_sweep and own_price_e4(self.side, self.price_e4) > own_price_e4(other.side, other.price_e4)


class Traded(msgspec.Struct, frozen=True, kw_only=True):
    """A booked fill, and what it found and did: one that happened before it may come to light after it."""

    fill: LedgerFill
    position_e2: int  # before it, as the next two
    cost_usd_e6: int
    opened_wall_ns: int
    realised_usd_e6: int  # by it
    cash_usd_e6: int


class Holding(msgspec.Struct, kw_only=True):
    """One market's position and everything it ever did to us. Only the ledger writes it."""

    ticker: str
    event_ticker: str = ""
    series_ticker: str = ""
    shard: int = 0
    position_e2: int = 0
    cost_usd_e6: int = 0
    realised_usd_e6: int = 0
    fees_usd_e6: int = 0
    last_fill_number: int = 0
    opened_wall_ns: int = 0  # when the position last left zero or changed sign
    settled: SettledTerms | None = None
    fill_stamps_ns: dict[str, int]  # when each fill happened, by its id, as they came; 0 = contained in the opening
    booked_until_ns: int = -1  # what happened until then, and is not among those, was booked and its id dropped
    trades: list[Traded] = []  # the latest fills, in the order in which they happened


class ShardAccount(msgspec.Struct, kw_only=True):
    """One shard's cash, and the two numbers that everything on it must add up to. Only the ledger writes it."""

    shard: int
    cash_usd_e6: int
    opening_usd_e6: int  # cash and cost of the positions when the ledger was opened
    external_usd_e6: int = 0
    last_fill_number: int = 0
    past_realised_usd_e6: int = 0  # of markets that were settled and dropped
    past_fees_usd_e6: int = 0


class LedgerState(msgspec.Struct, kw_only=True):
    """The whole ledger, for a checkpoint."""

    accounts: dict[int, ShardAccount] = {}
    holdings: dict[str, Holding] = {}


class Booked(NamedTuple):
    """What a fill or a settlement did."""

    position_e2: int  # after a fill; before a settlement
    realised_usd_e6: int  # by it, before fees
    cash_usd_e6: int  # by it, fees included


class Sums(NamedTuple):
    """The sums over a shard's holdings, and of those that are past."""

    cost_usd_e6: int
    realised_usd_e6: int
    fees_usd_e6: int
    open_positions: int


def own_price_e4(side: Side, price_e4: int) -> int:
    """Return what opening on this side costs per contract: a bid buys YES at p, an ask buys NO at 1 - p."""
    return price_e4 if side == "bid" else PRICE_ONE_E4 - price_e4


class Ledger:
    """The account as our applied fills know it."""

    def __init__(self, state: LedgerState | None = None) -> None:
        self.state = state or LedgerState()

    @property
    def holdings(self) -> dict[str, Holding]:
        """Return every market's holding, by ticker."""
        return self.state.holdings

    def is_open(self, shard: int) -> bool:
        """Say whether the shard's cash is known."""
        return shard in self.state.accounts

    def account(self, shard: int) -> ShardAccount:
        """Return an open shard's account."""
        return self.state.accounts[shard]

    def open_shard(self, shard: int, cash_usd_e6: int) -> None:
        """Start a shard's books with the exchange's cash, once."""
        if self.is_open(shard):
            raise BrokenInvariant(f"shard {shard} is opened twice")
        self.state.accounts[shard] = ShardAccount(shard=shard, cash_usd_e6=cash_usd_e6, opening_usd_e6=cash_usd_e6)

    def open_position(self, ticker: str, shard: int, position_e2: int, cost_usd_e6: int) -> None:
        """Book a position that was there before our first fill, at the exchange's market exposure."""
        holding = self.holding(ticker, shard)
        if holding.last_fill_number or holding.position_e2 or holding.cost_usd_e6:
            raise BrokenInvariant(f"{ticker}: an opening position on top of one that is booked")
        holding.position_e2 = position_e2
        holding.cost_usd_e6 = cost_usd_e6
        self.account(shard).opening_usd_e6 += cost_usd_e6
        self.check(shard)

    def know_fill(self, fill_id: str, ticker: str, shard: int) -> None:
        """Remember that a fill is contained in the opening position, so that it is never applied."""
        self.holding(ticker, shard).fill_stamps_ns.setdefault(fill_id, 0)

    def describe(self, ticker: str, shard: int, event_ticker: str, series_ticker: str) -> None:
        """Note which event and series a market belongs to."""
        holding = self.holding(ticker, shard)
        holding.event_ticker, holding.series_ticker = event_ticker, series_ticker

    def holding(self, ticker: str, shard: int) -> Holding:
        """Return a market's holding, an empty one if there was none; a market never changes its shard."""
        holding = self.holdings.get(ticker)
        if holding is None:
            holding = self.holdings[ticker] = Holding(ticker=ticker, shard=shard, fill_stamps_ns={})
        if holding.shard != shard:
            raise BrokenInvariant(f"{ticker}: on shard {holding.shard} and on shard {shard}")
        return holding

    def has_fill(self, ticker: str, fill_id: str, exchange_wall_ns: int) -> bool:
        """Say whether a fill is applied or contained in the opening."""
        holding = self.holdings.get(ticker)
        return holding is not None and (
            fill_id in holding.fill_stamps_ns
            or exchange_wall_ns // NS_PER_MS <= holding.booked_until_ns // NS_PER_MS  # the stream's stamps are no finer
        )

    def apply_fill(self, fill: LedgerFill, number: int) -> Booked | None:
        """Book a fill under its event number; None, and no change, when it is booked already."""
        if fill.qty_e2 <= 0 or not 0 <= fill.price_e4 <= PRICE_ONE_E4:
            raise BrokenInvariant(f"{fill.ticker}: fill {fill.fill_id} of {fill.qty_e2} at {fill.price_e4}")
        if self.has_fill(fill.ticker, fill.fill_id, fill.exchange_wall_ns):
            return None
        account, holding = self.account(fill.shard), self.holding(fill.ticker, fill.shard)
        cash_before_e6, realised_before_e6 = account.cash_usd_e6, holding.realised_usd_e6
        settled = _reopen(account, holding)
        later = _take_back(account, holding, fill)
        for each in (fill, *later):
            _trade(account, holding, each)
        if settled is not None:
            _settle(account, holding, settled.revenue_usd_e6, settled.fee_usd_e6)
        _remember(holding, fill)
        holding.last_fill_number = account.last_fill_number = number
        self.check(fill.shard)
        return Booked(
            position_e2=holding.position_e2,
            realised_usd_e6=holding.realised_usd_e6 - realised_before_e6,
            cash_usd_e6=account.cash_usd_e6 - cash_before_e6,
        )

    def apply_settlement(self, ticker: str, shard: int, revenue_usd_e6: int, fee_usd_e6: int) -> Booked | None:
        """Book a market's payout from its settlement row, once; None, and no change, when it is booked already."""
        account, holding = self.account(shard), self.holding(ticker, shard)
        if holding.settled is not None:
            return None
        position_e2, realised_before_e6 = holding.position_e2, holding.realised_usd_e6
        _settle(account, holding, revenue_usd_e6, fee_usd_e6)
        self.check(shard)
        return Booked(
            position_e2=position_e2,
            realised_usd_e6=holding.realised_usd_e6 - realised_before_e6,
            cash_usd_e6=revenue_usd_e6 - fee_usd_e6,
        )

    def apply_external(self, shard: int, usd_e6: int) -> None:
        """Book cash that moved for a reason that is no fill and no settlement."""
        account = self.account(shard)
        account.cash_usd_e6 += usd_e6
        account.external_usd_e6 += usd_e6
        self.check(shard)

    def adopt_position(self, ticker: str, shard: int, position_e2: int, cost_usd_e6: int) -> None:
        """Take over the exchange's position after a confirmed drift; the change of cost is external."""
        holding = self.holding(ticker, shard)
        assert holding.settled is None, f"{ticker} is settled"
        self.account(shard).external_usd_e6 += cost_usd_e6 - holding.cost_usd_e6
        holding.position_e2 = position_e2
        holding.cost_usd_e6 = cost_usd_e6
        holding.trades.clear()
        self.check(shard)

    def forget(self, ticker: str) -> bool:
        """Drop a settled market; say whether there was one. The account keeps what it came to."""
        holding = self.holdings.get(ticker)
        if holding is None or holding.settled is None:
            return False
        account = self.account(holding.shard)
        account.past_realised_usd_e6 += holding.realised_usd_e6
        account.past_fees_usd_e6 += holding.fees_usd_e6
        del self.holdings[ticker]
        self.check(holding.shard)
        return True

    def sums(self, shard: int) -> Sums:
        """Add up a shard's holdings, past ones included."""
        held = [holding for holding in self.holdings.values() if holding.shard == shard]
        account = self.account(shard)
        return Sums(
            cost_usd_e6=sum(holding.cost_usd_e6 for holding in held),
            realised_usd_e6=account.past_realised_usd_e6 + sum(holding.realised_usd_e6 for holding in held),
            fees_usd_e6=account.past_fees_usd_e6 + sum(holding.fees_usd_e6 for holding in held),
            open_positions=sum(1 for holding in held if holding.position_e2),
        )

    def check(self, shard: int) -> None:
        """Raise `BrokenInvariant` unless every micro-dollar of the shard is accounted for."""
        account, sums = self.account(shard), self.sums(shard)
        have_e6 = account.cash_usd_e6 + sums.cost_usd_e6 + sums.fees_usd_e6 - sums.realised_usd_e6
        must_e6 = account.opening_usd_e6 + account.external_usd_e6
        if have_e6 != must_e6:
            raise BrokenInvariant(
                f"shard {shard}: cash {account.cash_usd_e6} + cost {sums.cost_usd_e6} + fees {sums.fees_usd_e6}"
                f" - realised {sums.realised_usd_e6} = {have_e6}, not opening {account.opening_usd_e6}"
                f" + external {account.external_usd_e6} (in $0.000001)"
            )


def _remember(holding: Holding, fill: LedgerFill) -> None:
    """Note a fill's id, and drop those that happened long before it."""
    stamps_ns = holding.fill_stamps_ns
    stamps_ns[fill.fill_id] = fill.exchange_wall_ns
    over_ns = fill.exchange_wall_ns - IDS_KEPT_NS
    over = list(takewhile(lambda stamp_ns: stamp_ns < over_ns, stamps_ns.values()))
    last_ns = max(over, default=0)
    if last_ns:  # those that an opening contains have no stamp: they go with the first of ours
        holding.booked_until_ns = max(holding.booked_until_ns, last_ns)
        for fill_id in list(islice(stamps_ns, len(over))):
            del stamps_ns[fill_id]


def _settle(account: ShardAccount, holding: Holding, revenue_usd_e6: int, fee_usd_e6: int) -> None:
    holding.settled = SettledTerms(
        revenue_usd_e6=revenue_usd_e6,
        fee_usd_e6=fee_usd_e6,
        position_e2=holding.position_e2,
        cost_usd_e6=holding.cost_usd_e6,
    )
    account.cash_usd_e6 += revenue_usd_e6 - fee_usd_e6
    holding.realised_usd_e6 += revenue_usd_e6 - holding.cost_usd_e6
    holding.fees_usd_e6 += fee_usd_e6
    holding.position_e2 = holding.cost_usd_e6 = 0


def _reopen(account: ShardAccount, holding: Holding) -> SettledTerms | None:
    """Undo a settlement, so that a fill which happened before it can be booked before it."""
    settled = holding.settled
    if settled is not None:
        account.cash_usd_e6 -= settled.revenue_usd_e6 - settled.fee_usd_e6
        holding.realised_usd_e6 -= settled.revenue_usd_e6 - settled.cost_usd_e6
        holding.fees_usd_e6 -= settled.fee_usd_e6
        holding.position_e2, holding.cost_usd_e6 = settled.position_e2, settled.cost_usd_e6
        holding.settled = None
    return settled


def _take_back(account: ShardAccount, holding: Holding, fill: LedgerFill) -> list[LedgerFill]:
    """Undo the fills that happened after this one, and return them: what a position cost depends on their order."""
    later: list[LedgerFill] = []
    while holding.trades and holding.trades[-1].fill.happened_after(fill):
        traded = holding.trades.pop()
        holding.position_e2, holding.cost_usd_e6 = traded.position_e2, traded.cost_usd_e6
        holding.opened_wall_ns = traded.opened_wall_ns
        holding.realised_usd_e6 -= traded.realised_usd_e6
        holding.fees_usd_e6 -= traded.fill.fee_usd_e6
        account.cash_usd_e6 -= traded.cash_usd_e6
        later.append(traded.fill)
    return later[::-1]


def _trade(account: ShardAccount, holding: Holding, fill: LedgerFill) -> None:
    """Close what the fill closes, open what is left of it, and pay its fee."""
    signed_e2 = fill.qty_e2 if fill.side == "bid" else -fill.qty_e2
    held_e2 = abs(holding.position_e2)
    is_opposite = holding.position_e2 * signed_e2 < 0
    closed_e2 = min(held_e2, fill.qty_e2) if is_opposite else 0
    opened_e2 = fill.qty_e2 - closed_e2
    own_e4 = own_price_e4(fill.side, fill.price_e4)

    removed_e6 = holding.cost_usd_e6 * closed_e2 // held_e2 if closed_e2 else 0
    proceeds_e6 = (PRICE_ONE_E4 - own_e4) * closed_e2  # a netted pair pays $1, and the new half of it cost own_e4
    spent_e6 = own_e4 * opened_e2

    cash_e6, realised_e6 = proceeds_e6 - spent_e6 - fill.fee_usd_e6, proceeds_e6 - removed_e6

    holding.trades.append(
        Traded(
            fill=fill, position_e2=holding.position_e2, cost_usd_e6=holding.cost_usd_e6,
            opened_wall_ns=holding.opened_wall_ns, realised_usd_e6=realised_e6, cash_usd_e6=cash_e6,
        )
    )  # fmt: skip
    del holding.trades[:-TRADES_KEPT]
    account.cash_usd_e6 += cash_e6
    holding.cost_usd_e6 += spent_e6 - removed_e6
    holding.realised_usd_e6 += realised_e6
    holding.fees_usd_e6 += fill.fee_usd_e6
    if opened_e2 and closed_e2 == held_e2:  # from flat, or across zero
        holding.opened_wall_ns = fill.exchange_wall_ns
    holding.position_e2 += signed_e2
