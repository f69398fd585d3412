"""The hard limits that execution holds an order to: one function each, from plain numbers to a refusal or None.

A limit itself is allowed, what is beyond it is not. The values and their units stand in `LimitSettings`. Which orders a
limit applies to, and in which order they are asked, is for `admission` to say.
"""

from __future__ import annotations

from collections import deque

from common.clock import NS_PER_MS, NS_PER_S
from common.messages import Book, Market, MarketMode, Pricing, Purpose
from common.settings import LimitSettings
from common.trading.fees import has_bound
from common.trading.refusals import Code, Refusal
from common.units import QTY_ONE_E2, format_dollars, format_price, format_qty

# --- the market and its book ---


def check_book(book: Book | None) -> Refusal | None:
    """No order at all leaves on a book that is not fresh."""
    if book is None:
        return Refusal(Code.STALE_BOOK, "no book")
    return None if book.fresh else Refusal(Code.STALE_BOOK, book.stale_reason or "the book is not fresh")


def check_mode(market: Market, is_reducing: bool) -> Refusal | None:
    """A blocked market takes no order, a reduce-only one no opening."""
    if market.mode is MarketMode.TRADABLE or (market.mode is MarketMode.REDUCE_ONLY and is_reducing):
        return None
    return Refusal(Code.MARKET, f"{market.ticker} is {market.mode}{': ' if market.reason else ''}{market.reason}")


def check_fee_terms(market: Market) -> Refusal | None:
    """Open only where the fee has a bound."""
    if has_bound(market.fee_type):
        return None
    return Refusal(Code.FEE_TERMS, f"fee type {market.fee_type!r} has no known bound")


def check_price_band(price_e4: int, limits: LimitSettings) -> Refusal | None:
    """Open only where both outcomes are still possible."""
    if limits.price_low_e4 <= price_e4 <= limits.price_high_e4:
        return None
    band = f"{format_price(limits.price_low_e4)} to {format_price(limits.price_high_e4)}"
    return Refusal(Code.PRICE_BAND, f"price {format_price(price_e4)} is outside of {band}")


def check_spread(best_bid_e4: int | None, best_ask_e4: int | None, limits: LimitSettings) -> Refusal | None:
    """Open only in a market with two sides that are close to each other."""
    if best_bid_e4 is None or best_ask_e4 is None:
        return Refusal(Code.NO_QUOTE, "opening needs both sides of the book")
    spread_e4 = best_ask_e4 - best_bid_e4
    if spread_e4 <= 0:
        return Refusal(Code.CROSSED, f"bid {format_price(best_bid_e4)}, ask {format_price(best_ask_e4)}")
    if spread_e4 <= limits.spread_price_e4:
        return None
    return Refusal(Code.SPREAD, f"spread {format_price(spread_e4)} is above {format_price(limits.spread_price_e4)}")


def check_distance(
    price_e4: int, best_bid_e4: int | None, best_ask_e4: int | None, pricing: Pricing, limits: LimitSettings
) -> Refusal | None:
    """Open only near the mid; a passive order may be farther away."""
    if best_bid_e4 is None or best_ask_e4 is None:
        return Refusal(Code.NO_QUOTE, "there is no mid to be near to")
    is_passive = pricing is Pricing.PASSIVE
    most_e4 = limits.passive_distance_price_e4 if is_passive else limits.distance_price_e4
    doubled_e4 = abs(2 * price_e4 - best_bid_e4 - best_ask_e4)  # doubled, for a mid between two units
    if doubled_e4 <= 2 * most_e4:
        return None
    return Refusal(Code.DISTANCE, f"{format_price(-(-doubled_e4 // 2))} from the mid is above {format_price(most_e4)}")


def check_time_to_close(now_wall_ns: int, close_wall_ns: int, limits: LimitSettings) -> Refusal | None:
    """Open only while there is time to get out; a market without a closing time is not understood."""
    left_ns = close_wall_ns - now_wall_ns
    if left_ns >= limits.no_opening_before_close_s * NS_PER_S:
        return None
    left = f"closes in {left_ns / NS_PER_S:.1f} s" if close_wall_ns else "has no closing time"
    return Refusal(Code.CLOSE_TIME, f"{left}; no opening under {limits.no_opening_before_close_s} s")


def expiry_wall_s(now_wall_ns: int, close_wall_ns: int, limits: LimitSettings) -> int:
    """Return the Unix second at which a resting order sent now expires: after its life, and before the close."""
    last_ns = close_wall_ns - limits.cancel_before_close_s * NS_PER_S
    return min(now_wall_ns + limits.order_lifetime_s * NS_PER_S, last_ns) // NS_PER_S


# --- the order ---


def check_reducing(purpose: Purpose, opening_qty_e2: int) -> Refusal | None:
    """What is meant to close must not open."""
    if opening_qty_e2 == 0:
        return None
    return Refusal(Code.NOT_REDUCING, f"{purpose} order: {format_qty(opening_qty_e2)} contracts of it could open")


def check_whole_contracts(opening_qty_e2: int) -> Refusal | None:
    """Whole contracts open; only closing takes the exact fraction."""
    if opening_qty_e2 % QTY_ONE_E2 == 0:
        return None
    return Refusal(Code.FRACTION, f"{format_qty(opening_qty_e2)} contracts would open: not a whole number")


def check_order_size(qty_e2: int, limits: LimitSettings) -> Refusal | None:
    """One order opens only so many contracts."""
    return _above(Code.ORDER_SIZE, "order of", qty_e2, limits.order_qty_e2)


def check_order_cost(cost_usd_e6: int, limits: LimitSettings) -> Refusal | None:
    """One order commits only so much money."""
    return _above_usd(Code.ORDER_COST, "order cost", cost_usd_e6, limits.order_cost_usd_e6)


def check_live_in_market(live_in_market: int) -> Refusal | None:
    """One live order per market, whatever it is for."""
    if live_in_market == 0:
        return None
    return Refusal(Code.LIVE_ORDER, f"{live_in_market} live in this market; its end must be proven first")


def check_live_orders(live: int, limits: LimitSettings) -> Refusal | None:
    """One more order must not be too many; `live` counts those there are."""
    if live < limits.live_orders:
        return None
    return Refusal(Code.LIVE_ORDERS, f"{live} live orders of at most {limits.live_orders}")


# --- what could be held and lost: as it would be with the order ---


def check_position(worst_position_e2: int, limits: LimitSettings) -> Refusal | None:
    """A market's position, with every order of one side filled."""
    return _above(Code.POSITION, "position could be", worst_position_e2, limits.position_qty_e2)


def check_market_loss(loss_usd_e6: int, limits: LimitSettings) -> Refusal | None:
    """A market's worst loss."""
    return _above_usd(Code.MARKET_LOSS, "worst loss of the market", loss_usd_e6, limits.market_loss_usd_e6)


def check_event_loss(loss_usd_e6: int, limits: LimitSettings) -> Refusal | None:
    """An event's worst loss: the sum over its markets."""
    return _above_usd(Code.EVENT_LOSS, "worst loss of the event", loss_usd_e6, limits.event_loss_usd_e6)


def check_series_loss(loss_usd_e6: int, limits: LimitSettings) -> Refusal | None:
    """A series' worst loss: the sum over its markets."""
    return _above_usd(Code.SERIES_LOSS, "worst loss of the series", loss_usd_e6, limits.series_loss_usd_e6)


def check_total_loss(loss_usd_e6: int, equity_usd_e6: int | None, limits: LimitSettings) -> Refusal | None:
    """The worst loss of everything: an amount, or a share of what the account is worth, whichever is smaller."""
    if equity_usd_e6 is None:
        return Refusal(Code.ACCOUNT_UNKNOWN, "what the account is worth is not known")
    share_usd_e6 = max(0, equity_usd_e6) * limits.total_loss_equity_percent // 100
    most_usd_e6 = min(limits.total_loss_usd_e6, share_usd_e6)
    return _above_usd(Code.TOTAL_LOSS, "worst loss of all", loss_usd_e6, most_usd_e6)


def check_cash(reserved_usd_e6: int, cash_usd_e6: int | None) -> Refusal | None:
    """The shard's cash must cover every reservation."""
    if cash_usd_e6 is None:
        return Refusal(Code.ACCOUNT_UNKNOWN, "the shard's cash is not known")
    if reserved_usd_e6 <= cash_usd_e6:
        return None
    return Refusal(
        Code.CASH, f"{format_dollars(reserved_usd_e6)} would be reserved of {format_dollars(cash_usd_e6)} cash"
    )


# --- rates ---


FIRST_NS = 3 * NS_PER_S  # the coordinator asks for an exit again after two


class OrderRate:
    """How often we create and amend: a window of one second over all, and a pause per market between re-prices.

    Its state is at most a few seconds old, so it is not kept on disk; a restart takes longer.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._most = limits.creates_and_amends_per_s
        self._reprice_interval_ns = limits.reprice_interval_ms * NS_PER_MS
        self._sent_ns: deque[int] = deque(maxlen=self._most)
        self._repriced_ns: dict[str, int] = {}
        self._first_until_ns = 0  # an order of an exit rule, a flatten or a recovery was refused: the next is its

    def check(self, now_mono_ns: int, goes_first: bool = False) -> Refusal | None:
        """Refuse a create or an amend that would be one too many within a second, or whose turn is another's."""
        if len(self._sent_ns) < self._most or now_mono_ns - self._sent_ns[0] >= NS_PER_S:
            if goes_first:
                self._first_until_ns = 0
            if now_mono_ns >= self._first_until_ns:
                return None
            return Refusal(Code.RATE, "an order that closes a position goes first")
        if goes_first:
            self._first_until_ns = now_mono_ns + FIRST_NS
        return Refusal(Code.RATE, f"{self._most} creates and amends within the last second")

    def check_reprice(self, ticker: str, now_mono_ns: int) -> Refusal | None:
        """Refuse to re-price in a market too soon after the last time."""
        last_ns = self._repriced_ns.get(ticker)
        if last_ns is None or now_mono_ns - last_ns >= self._reprice_interval_ns:
            return None
        return Refusal(Code.REPRICE_RATE, f"re-priced {(now_mono_ns - last_ns) // NS_PER_MS} ms ago")

    def note(self, now_mono_ns: int) -> None:
        """Count a create or an amend that is being sent."""
        self._sent_ns.append(now_mono_ns)

    def note_reprice(self, ticker: str, now_mono_ns: int) -> None:
        """Count a re-price, and drop those that no longer matter."""
        self._repriced_ns[ticker] = now_mono_ns
        oldest_ns = now_mono_ns - self._reprice_interval_ns
        self._repriced_ns = {name: at_ns for name, at_ns in self._repriced_ns.items() if at_ns > oldest_ns}


def _above(code: Code, what: str, qty_e2: int, most_e2: int) -> Refusal | None:
    if qty_e2 <= most_e2:
        return None
    return Refusal(code, f"{what} {format_qty(qty_e2)} contracts is above {format_qty(most_e2)}")


def _above_usd(code: Code, what: str, usd_e6: int, most_usd_e6: int) -> Refusal | None:
    if usd_e6 <= most_usd_e6:
        return None
    return Refusal(code, f"{what} {format_dollars(usd_e6)} is above {format_dollars(most_usd_e6)}")
