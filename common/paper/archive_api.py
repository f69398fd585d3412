"""archive_api: what clients may ask for and this exchange has little or nothing of.

Nothing here is old enough to be archived, money comes and goes without a bank, and there are no combos, milestones or
programs. So the lists are empty in the shape that clients expect, and what they name singly is not found.
"""

from __future__ import annotations

from collections.abc import Callable

from common.clock import NS_PER_S
from common.paper.call import Call, Response, reply
from common.paper.refusals import refuse_missing
from common.units import format_usd_e4


def none_of(name: str, with_cursor: bool = True) -> Callable[[Call], Response]:
    """Return the answer to a list that is always empty."""
    body: dict[str, object] = {name: []}
    return lambda call: _nothing(call, body | ({"cursor": ""} if with_cursor else {}))


def _nothing(call: Call, body: dict[str, object]) -> Response:
    call.query.limit(low=0)
    return reply(200, body)


def get_nothing(call: Call) -> Response:
    """Answer for one thing of which there is none."""
    raise refuse_missing()


def get_archived_positions(call: Call) -> Response:
    """Answer GET /historical/positions."""
    call.query.limit(low=0)
    return reply(200, {"market_positions": [], "event_positions": [], "cursor": ""})


def get_tags(call: Call) -> Response:
    """Answer GET /search/tags_by_categories: the categories there are, without tags."""
    categories = dict.fromkeys(series.category for series in call.exchange.series.values())
    return reply(200, {"tags_by_categories": {category: [] for category in categories}})


def get_sport_filters(call: Call) -> Response:
    """Answer GET /search/filters_by_sport."""
    return reply(200, {"filters_by_sports": {}, "sport_ordering": []})


def get_event_metadata(call: Call) -> Response:
    """Answer GET /events/{event_ticker}/metadata: no pictures, no sources."""
    if call.parts[0] not in call.exchange.events:
        raise refuse_missing()
    return reply(200, {"image_url": "", "market_details": [], "settlement_sources": []})


def get_subaccount_netting(call: Call) -> Response:
    """Answer GET /portfolio/subaccounts/netting: it is off, and cannot be switched on here."""
    configs = [
        {"subaccount_number": number, "enabled": False, "exchange_index": shard}
        for number, portfolio in sorted(call.account.portfolios.items())
        for shard in range(len(portfolio.cash_e6))
    ]
    return reply(200, {"netting_configs": configs})


def get_subaccount_balances(call: Call) -> Response:
    """Answer GET /portfolio/subaccounts/balances: the cash of each, shard by shard."""
    balances = [
        {
            "subaccount_number": number,
            "exchange_index": shard,
            "balance": format_usd_e4(cash_e6),
            "updated_ts": call.as_of_ns // NS_PER_S,
        }
        for number, portfolio in sorted(call.account.portfolios.items())
        for shard, cash_e6 in enumerate(portfolio.cash_e6)
    ]
    return reply(200, {"subaccount_balances": balances})
