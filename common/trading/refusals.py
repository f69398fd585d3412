"""Refusals: why one of our own rules says no. A refusal is a value, not an exception: nothing was sent or broken."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """One word per rule; it travels in verdicts and replies, and statistics count by it."""

    # the verdict
    STATE = "state"
    INVALID = "invalid"  # an action that says too little
    STALE_DECISION = "stale_decision"
    BUSY = "busy"  # another action in this market is under way
    EPOCH = "epoch"
    STALE_VERDICT = "stale_verdict"
    # the market and its book
    MARKET = "market"
    STALE_BOOK = "stale_book"
    NO_QUOTE = "no_quote"
    CROSSED = "crossed"
    OFF_GRID = "off_grid"
    TOUCHES = "touches"  # an amended price less than one tick behind the opposite touch
    FEE_TERMS = "fee_terms"
    CLOSE_TIME = "close_time"
    PRICE_BAND = "price_band"
    SPREAD = "spread"
    DISTANCE = "distance"
    # the order
    LIVE_ORDER = "live_order"
    LIVE_ORDERS = "live_orders"
    RATE = "rate"
    ORDER_GROUP = "order_group"
    REPRICE_RATE = "reprice_rate"
    NOT_REDUCING = "not_reducing"
    FRACTION = "fraction"
    ORDER_SIZE = "order_size"
    ORDER_COST = "order_cost"
    # what we hold and could lose
    POSITION = "position"
    MARKET_LOSS = "market_loss"
    EVENT_LOSS = "event_loss"
    SERIES_LOSS = "series_loss"
    TOTAL_LOSS = "total_loss"
    DAY_LOSS = "day_loss"  # a limit of the day is passed and may yet halt
    ACCOUNT_UNKNOWN = "account_unknown"
    CASH = "cash"


class Refusal(NamedTuple):
    """The rule, and the numbers that made it say no."""

    code: Code
    reason: str
