"""A desk for tracking: it and sync over one exchange whose crowd quotes two markets."""

from __future__ import annotations

from common.clock import NS_PER_S
from common.messages import (
    Account,
    Market,
    MarketMode,
    Reconciliation,
)
from common.paper.model import MarketAction
from common.settings import Settings, SyncSettings
from processes.sync import Sync
from processes.tracking import Tracking
from tests.paper.rest import CENT, TAPERED
from tests.processes.kit import Stage

OPENING_E6 = 10_000_000_000


class Desk:
    """tracking and sync over one exchange whose crowd quotes two markets."""

    def __init__(self, corrections: bool = True, **stage: int) -> None:
        self.stage = Stage(**stage)  # type: ignore[arg-type]
        self.stage.quote(CENT)
        self.stage.quote(TAPERED)
        self.settings = Settings(sync=SyncSettings(corrections=corrections))
        self.sync = self.stage.run_core("sync", Sync(), self.settings)
        self.tracking = self.stage.run_core("tracking", Tracking(), self.settings)

    @property
    def core(self) -> Tracking:
        assert isinstance(self.tracking.core, Tracking)
        return self.tracking.core

    def open(self) -> Desk:
        """Let the books be opened, and nothing be missing between them and the stream."""
        self.stage.until(lambda: self.tracking.last(Account).known and self.tracking.last(Account).stream_up)
        return self

    def buy(self, count: str = "1.00", price: str = "0.5500", ticker: str = CENT) -> str:
        return self.stage.trade(ticker, "bid", count, price)

    def sell(self, count: str = "1.00", price: str = "0.4500", ticker: str = CENT) -> str:
        return self.stage.trade(ticker, "ask", count, price)

    def market(self, ticker: str = CENT, status: str = "active", closes_in_s: int = 3_600) -> None:
        """Tell of a market, as the feed does."""
        now_ns = self.stage.now.wall_ns
        market = Market(
            ticker=ticker, event_ticker="KXRAIN-26SEP21", series_ticker="KXRAIN", mode=MarketMode.TRADABLE,
            status=status, close_wall_ns=now_ns + closes_in_s * NS_PER_S,
        )  # fmt: skip
        for name in ("tracking", "sync"):
            self.stage.send(name, market)

    def settle(self, ticker: str = CENT, result: str = "yes") -> None:
        self.stage.paper.apply(MarketAction(ticker=ticker, action="close"))
        self.stage.paper.apply(MarketAction(ticker=ticker, action="determine", result=result))  # type: ignore[arg-type]
        self.stage.pass_time(6)  # the settlement timer is 5 s
        self.market(ticker, "finalized", -10)

    def restart(self) -> None:
        self.stage.kill("tracking")
        self.tracking = self.stage.run_core("tracking", Tracking(), self.settings)

    def leap(self, seconds: int) -> None:
        """Let much time pass with nobody alive, and start everybody again."""
        self.stage.kill("tracking")
        self.stage.kill("sync")
        self.stage.pass_time(seconds)
        self.sync = self.stage.run_core("sync", Sync(), self.settings)
        self.tracking = self.stage.run_core("tracking", Tracking(), self.settings)
        self.stage.pass_time(5)

    def assert_equal(self) -> None:
        """Hold our ledger against the exchange's own account."""
        ours = {name: row.position_e2 for name, row in self.core.books.ledger.holdings.items() if row.position_e2}
        assert ours == self.stage.positions()
        assert self.core.books.ledger.account(0).cash_usd_e6 == self.stage.cash_e6()

    def rounds(self) -> list[Reconciliation]:
        return self.sync.said(Reconciliation)
