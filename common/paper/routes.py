"""routes: every REST operation in one table, and the search for the one that a request means.

An operation knows its name (it appears in error texts), who may call it, what body it takes and what it costs: which
bucket, and for writes which shard's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote

import msgspec

from common.paper import archive_api, exchange_api, groups_api, markets_api, orders_api, portfolio_api
from common.paper.bodies import (
    AmendOrderV2Request,
    BatchCancelOrdersV2Request,
    BatchCreateOrdersV2Request,
    Body,
    CreateOrderGroupRequest,
    CreateOrderV2Request,
    DecreaseOrderV2Request,
    UpdateOrderGroupLimitRequest,
)
from common.paper.call import API_PREFIX, Call, Response
from common.paper.query import Query
from common.paper.rate import COSTS, DEFAULT_COST, UNSCOPED
from common.paper.refusals import refuse, refuse_missing, refuse_old_endpoint

Bucket = Literal["read", "write", "balance"]
Handler = Callable[[Call], Response]
ShardOf = Callable[[Query, Body | None], int | None]
"""Which shard's write bucket pays; None: every shard's."""

_PREFIX = f"{API_PREFIX}/"
_AUTO_ROUTE = -1
_MAX_SEGMENTS = 12


def _unscoped(query: Query, body: Body | None) -> int | None:
    return UNSCOPED


def _ticker_routed(query: Query, body: Body | None) -> int | None:
    """Creates and amends always name a ticker, so they are routed by it unless they name a shard."""
    index = getattr(body, "exchange_index", None)
    return None if index == _AUTO_ROUTE else index


def _body_routed(query: Query, body: Body | None) -> int | None:
    return _routed(getattr(body, "exchange_index", None), getattr(body, "market_ticker", None))


def _query_routed(query: Query, body: Body | None) -> int | None:
    return _routed(query.integer("exchange_index"), query.text("market_ticker"))


def _routed(index: int | None, ticker: str | None) -> int | None:
    """Cancels and decreases go to shard 0 when they name neither shard nor ticker."""
    if index is not None and index != _AUTO_ROUTE:
        return index
    return None if ticker else UNSCOPED


def _body_shard(query: Query, body: Body | None) -> int | None:
    return getattr(body, "exchange_index", None) or UNSCOPED


def _query_shard(query: Query, body: Body | None) -> int | None:
    return query.integer("exchange_index") or UNSCOPED


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One operation."""

    operation: str
    method: str
    path: str  # below the prefix; {names} stand for one segment each
    handler: Handler
    scope: str = ""  # what a key must hold; "" for public operations
    any_subaccount: bool = False  # not for keys that are locked to one subaccount
    bucket: Bucket = "read"
    body: type[Body] | None = None
    shard_of: ShardOf = _unscoped

    @property
    def cost(self) -> int:
        """Return the tokens that the operation costs, a batch for each of its orders."""
        return COSTS.get((self.method, self.path), DEFAULT_COST)


def _public(operation: str, path: str, handler: Handler) -> Route:
    return Route(operation=operation, method="GET", path=path, handler=handler)


def _private(
    operation: str,
    path: str,
    handler: Handler,
    scope: str = "read",
    bucket: Bucket = "read",
    any_subaccount: bool = False,
) -> Route:
    return Route(
        operation=operation,
        method="GET",
        path=path,
        handler=handler,
        scope=scope,
        any_subaccount=any_subaccount,
        bucket=bucket,
    )


def _write(
    operation: str,
    method: str,
    path: str,
    handler: Handler,
    shard_of: ShardOf = _unscoped,
    body: type[Body] | None = None,
    any_subaccount: bool = False,
) -> Route:
    return Route(
        operation=operation,
        method=method,
        path=path,
        handler=handler,
        scope="write::trade",
        any_subaccount=any_subaccount,
        bucket="write",
        body=body,
        shard_of=shard_of,
    )


def _old_endpoint(call: Call) -> Response:
    raise refuse_old_endpoint()


def _old(method: str, path: str) -> Route:
    return _write("OldOrderEndpoint", method, path, _old_endpoint)


_ORDERS = "/portfolio/orders"
_EVENT_ORDERS = "/portfolio/events/orders"
_EVENT_ORDER = f"{_EVENT_ORDERS}/{{order_id}}"
_BATCH = f"{_EVENT_ORDERS}/batched"
_GROUPS = "/portfolio/order_groups"
_GROUP = f"{_GROUPS}/{{order_group_id}}"
_CANDLES = "/series/{series_ticker}/markets/{ticker}/candlesticks"
_EVENT_CANDLES = "/series/{series_ticker}/events/{event_ticker}/candlesticks"
_COLLECTIONS = "/multivariate_event_collections"
_RESTING_VALUE = "/portfolio/summary/total_resting_order_value"

_PUBLIC = (
    _public("GetExchangeStatus", "/exchange/status", exchange_api.get_status),
    _public("GetExchangeSchedule", "/exchange/schedule", exchange_api.get_schedule),
    _public("GetUserDataTimestamp", "/exchange/user_data_timestamp", exchange_api.get_user_data_timestamp),
    _public("GetHistoricalCutoff", "/historical/cutoff", exchange_api.get_historical_cutoff),
    _public("GetAccountEndpointCosts", "/account/endpoint_costs", exchange_api.get_endpoint_costs),
    _public("GetMarkets", "/markets", markets_api.get_markets),
    _public("GetMarket", "/markets/{ticker}", markets_api.get_market),
    _public("GetMarketOrderbook", "/markets/{ticker}/orderbook", markets_api.get_book),
    _public("GetMarketOrderbooks", "/markets/orderbooks", markets_api.get_books),
    _public("GetTrades", "/markets/trades", markets_api.get_trades),
    _public("BatchGetMarketCandlesticks", "/markets/candlesticks", markets_api.get_candles_of_many),
    _public("GetMarketCandlesticks", _CANDLES, markets_api.get_candles),
    _public("GetEvents", "/events", markets_api.get_events),
    _public("GetEventFeeChanges", "/events/fee_changes", markets_api.get_event_fee_changes),
    _public("GetEvent", "/events/{event_ticker}", markets_api.get_event),
    _public("GetSeriesList", "/series", markets_api.get_series_list),
    _public("GetSeriesFeeChanges", "/series/fee_changes", markets_api.get_series_fee_changes),
    _public("GetSeries", "/series/{series_ticker}", markets_api.get_series),
)

_PRIVATE = (
    _private("GetAccountApiLimits", "/account/limits", exchange_api.get_limits),
    _private("GetApiKeys", "/api_keys", exchange_api.get_api_keys, any_subaccount=True),
    _private(
        "GetBalance", "/portfolio/balance", portfolio_api.get_balance, scope="read::portfolio_balance", bucket="balance"
    ),
    _private("GetPositions", "/portfolio/positions", portfolio_api.get_positions),
    _private("GetFills", "/portfolio/fills", portfolio_api.get_fills),
    _private("GetSettlements", "/portfolio/settlements", portfolio_api.get_settlements),
    _private(
        "GetPortfolioRestingOrderTotalValue", _RESTING_VALUE, portfolio_api.get_resting_value, any_subaccount=True
    ),
    _private("GetOrders", _ORDERS, orders_api.get_orders),
    _private("GetOrderQueuePositions", f"{_ORDERS}/queue_positions", orders_api.get_queue_positions),
    _private("GetOrder", f"{_ORDERS}/{{order_id}}", orders_api.get_order),
    _private("GetOrderQueuePosition", f"{_ORDERS}/{{order_id}}/queue_position", orders_api.get_queue_position),
    _private("GetOrderGroups", _GROUPS, groups_api.get_groups),
    _private("GetOrderGroup", _GROUP, groups_api.get_group),
)

_WRITES = (
    _write("CreateOrderV2", "POST", _EVENT_ORDERS, orders_api.create_order, _ticker_routed, CreateOrderV2Request),
    _write("CancelAllOrders", "DELETE", _EVENT_ORDERS, orders_api.cancel_all),
    _write("BatchCreateOrdersV2", "POST", _BATCH, orders_api.batch_create, body=BatchCreateOrdersV2Request),
    _write("BatchCancelOrdersV2", "DELETE", _BATCH, orders_api.batch_cancel, body=BatchCancelOrdersV2Request),
    _write("CancelOrderV2", "DELETE", _EVENT_ORDER, orders_api.cancel_order, _query_routed),
    _write(
        "AmendOrderV2", "POST", f"{_EVENT_ORDER}/amend", orders_api.amend_order, _ticker_routed, AmendOrderV2Request
    ),
    _write(
        "DecreaseOrderV2",
        "POST",
        f"{_EVENT_ORDER}/decrease",
        orders_api.decrease_order,
        _body_routed,
        DecreaseOrderV2Request,
    ),
    _write(
        "CreateOrderGroup", "POST", f"{_GROUPS}/create", groups_api.create_group, _body_shard, CreateOrderGroupRequest
    ),
    _write("DeleteOrderGroup", "DELETE", _GROUP, groups_api.delete_group, _query_shard),
    _write("ResetOrderGroup", "PUT", f"{_GROUP}/reset", groups_api.reset_group, _query_shard),
    _write("TriggerOrderGroup", "PUT", f"{_GROUP}/trigger", groups_api.trigger_group, _query_shard),
    _write(
        "UpdateOrderGroupLimit",
        "PUT",
        f"{_GROUP}/limit",
        groups_api.limit_group,
        _query_shard,
        UpdateOrderGroupLimitRequest,
    ),
    _write("CreateApiKey", "POST", "/api_keys", exchange_api.create_api_key, any_subaccount=True),
    _old("POST", _ORDERS),
    _old("POST", f"{_ORDERS}/batched"),
    _old("DELETE", f"{_ORDERS}/batched"),
    _old("DELETE", f"{_ORDERS}/{{order_id}}"),
    _old("POST", f"{_ORDERS}/{{order_id}}/amend"),
    _old("POST", f"{_ORDERS}/{{order_id}}/decrease"),
)

_SUBACCOUNTS = "/portfolio/subaccounts"
_UPGRADE = "/account/api_usage_level/upgrade"
_ARCHIVED_MARKET = "/historical/markets/{ticker}"

# Not in the part of the API that the trader needs; clients of others ask for them.
RARE = (
    _public("GetEventMetadata", "/events/{event_ticker}/metadata", archive_api.get_event_metadata),
    _public("GetEventCandlesticks", _EVENT_CANDLES, markets_api.get_event_candles),
    _public("GetMultivariateEvents", "/events/multivariate", archive_api.none_of("events")),
    _public("GetHistoricalMarkets", "/historical/markets", archive_api.none_of("markets")),
    _public("GetHistoricalMarket", _ARCHIVED_MARKET, archive_api.get_nothing),
    _public("GetMarketCandlesticksHistorical", f"{_ARCHIVED_MARKET}/candlesticks", archive_api.get_nothing),
    _public("GetTradesHistorical", "/historical/trades", archive_api.none_of("trades")),
    _public("GetMilestones", "/milestones", archive_api.none_of("milestones")),
    _public("GetMilestone", "/milestones/{milestone_id}", archive_api.get_nothing),
    _public("GetStructuredTargets", "/structured_targets", archive_api.none_of("structured_targets")),
    _public("GetStructuredTarget", "/structured_targets/{structured_target_id}", archive_api.get_nothing),
    _public("GetIncentivePrograms", "/incentive_programs", archive_api.none_of("incentive_programs")),
    _public("GetMultivariateEventCollections", _COLLECTIONS, archive_api.none_of("multivariate_contracts")),
    _public("GetMultivariateEventCollection", f"{_COLLECTIONS}/{{collection_ticker}}", archive_api.get_nothing),
    _public("GetTagsForSeriesCategories", "/search/tags_by_categories", archive_api.get_tags),
    _public("GetFiltersForSports", "/search/filters_by_sport", archive_api.get_sport_filters),
    _write(
        "UpgradeAccountApiUsageLevel", "POST", _UPGRADE, exchange_api.upgrade_usage_level, any_subaccount=True
    ),
    _private("GetFillsHistorical", "/historical/fills", archive_api.none_of("fills")),
    _private("GetHistoricalOrders", "/historical/orders", archive_api.none_of("orders")),
    _private("GetHistoricalPositions", "/historical/positions", archive_api.get_archived_positions),
    _private("GetDeposits", "/portfolio/deposits", archive_api.none_of("deposits"), any_subaccount=True),
    _private("GetWithdrawals", "/portfolio/withdrawals", archive_api.none_of("withdrawals"), any_subaccount=True),
    _private(
        "GetSubaccountBalances", f"{_SUBACCOUNTS}/balances", archive_api.get_subaccount_balances, any_subaccount=True
    ),
    _private(
        "GetSubaccountNetting", f"{_SUBACCOUNTS}/netting", archive_api.get_subaccount_netting, any_subaccount=True
    ),
    _private(
        "GetSubaccountTransfers", f"{_SUBACCOUNTS}/transfers", archive_api.none_of("transfers"), any_subaccount=True
    ),
)  # fmt: skip

ROUTES = _PUBLIC + _PRIVATE + _WRITES + RARE


class _Node:
    """One path, as a branch of the tree of all paths."""

    __slots__ = ("children", "routes", "wildcard")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.wildcard: _Node | None = None
        self.routes: dict[str, Route] = {}  # by method

    def grow(self, segment: str) -> _Node:
        """Return the branch for a segment of a route's path, new if need be."""
        if not segment.startswith("{"):
            return self.children.setdefault(segment, _Node())
        if self.wildcard is None:
            self.wildcard = _Node()
        return self.wildcard


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...] = ROUTES) -> None:
        self._root = _Node()
        for route in routes:
            node = self._root
            for segment in route.path[1:].split("/"):
                node = node.grow(segment)
            assert route.method not in node.routes, f"{route.method} {route.path} is there twice"
            node.routes[route.method] = route
        self._literal = {(each.method, _PREFIX + each.path[1:]): each for each in routes if "{" not in each.path}

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """Return the route and the path's parameters; raise the 404 or 405 `Refusal`. Literal segments go first."""
        literal = self._literal.get((method, path))
        if literal is not None:
            return literal, ()
        if not path.startswith(_PREFIX):
            raise refuse_missing()
        segments = path[len(_PREFIX) :].split("/", _MAX_SEGMENTS)
        found = _descend(self._root, segments, 0, ())
        if not found:
            raise refuse_missing()
        for node, parts in found:
            if method in node.routes:
                return node.routes[method], tuple([unquote(part) for part in parts])
        raise refuse(405, "method_not_allowed")


def _descend(
    node: _Node, segments: list[str], depth: int, parts: tuple[str, ...]
) -> list[tuple[_Node, tuple[str, ...]]]:
    """Return the nodes that the segments lead to, those with fewer wildcards first."""
    if depth == len(segments):
        return [(node, parts)] if node.routes else []
    segment = segments[depth]
    found = []
    if segment in node.children:
        found += _descend(node.children[segment], segments, depth + 1, parts)
    if node.wildcard is not None and segment:
        found += _descend(node.wildcard, segments, depth + 1, (*parts, segment))
    return found
