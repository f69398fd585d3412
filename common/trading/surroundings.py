"""What execution hears of the world: the latest state of everything that an order depends on. Pure.

What its owner no longer vouches for is forgotten where that makes us careful (a book, the trader's state, the cash),
and kept where forgetting would make us bold (a position that is not flat).
"""

from __future__ import annotations

from common.effects import SubjectStale
from common.messages import Account, Book, Exchange, Market, Message, Position, State, TraderState


class Surroundings:
    """The states of the others."""

    def __init__(self) -> None:
        self.trader: TraderState | None = None
        self.highest_epoch = 0
        self.books: dict[str, Book] = {}
        self.markets: dict[str, Market] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.positions: dict[str, Position] = {}
        self.accounts: dict[int, Account] = {}
        self.has_order_list = False  # a complete picture of the account was heard in this life

    @property
    def is_trading(self) -> bool:
        """Say whether the trader may send orders of its policy."""
        return self.trader is not None and self.trader.state in (State.READY, State.ACTING)

    def is_fresh(self, ticker: str) -> bool:
        """Say whether the last book of a market was fresh."""
        book = self.books.get(ticker)
        return book is not None and book.fresh

    def note(self, message: Message) -> None:
        """Take a state."""
        match message:
            case Book():
                self.books[message.ticker] = message
            case Market():
                self.markets[message.ticker] = message
            case Position():
                self.positions[message.ticker] = message
            case Account():
                self.accounts[message.shard] = message
            case Exchange():
                self.exchanges[message.shard] = message

    def note_trader(self, trader: TraderState) -> bool:
        """Take the trader's state; say whether it counts: one of an earlier coordinator does not."""
        if trader.epoch < self.highest_epoch:
            return False
        self.highest_epoch = trader.epoch
        self.trader = trader
        return True

    def forget(self, stale: SubjectStale) -> None:
        """Forget what nobody vouches for any more."""
        match stale.topic:
            case "book":
                self.books.pop(stale.key, None)
            case "trader_state":
                self.trader = None
            case "account":
                self.accounts.pop(int(stale.key), None)
            case "exchange":
                self.exchanges.pop(int(stale.key), None)
            case "position":
                forget_flat(self.positions, stale.key)

    def contained_number(self, ticker: str, shard: int, is_settled_in: bool) -> int:
        """Return up to which `fill` event both the market's position and its shard's cash are published.

        A market without a position has none, once everybody had the time to tell (`is_settled_in`).
        """
        account, position = self.accounts.get(shard), self.positions.get(ticker)
        in_cash = account.last_fill_number if account is not None else 0
        if position is not None:
            return min(position.last_fill_number, in_cash)
        return in_cash if is_settled_in else 0


def forget_flat(positions: dict[str, Position], ticker: str) -> None:
    """Drop a position that nobody vouches for any more; one that we hold stays until we hear its end."""
    position = positions.get(ticker)
    if position is not None and not position.position_e2:
        del positions[ticker]
