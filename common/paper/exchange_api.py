"""exchange_api: the exchange's own state, and what an account may do here: status, schedule, limits, costs, keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.paper.call import API_PREFIX, Call, Response, reply
from common.paper.frames import stamp
from common.paper.model import UpgradeAccount
from common.paper.rate import COSTS, DEFAULT_COST, GRANTED_TIER, LOWEST_TIER, TIERS
from common.paper.refusals import refuse_forbidden
from common.paper.render import Json

if TYPE_CHECKING:
    from common.paper.exchange import Exchange

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WHOLE_DAY = [{"open_time": "00:00", "close_time": "00:00"}]
_EPOCH = stamp(0)


def render_status(exchange: Exchange) -> Json:
    """Render the status body; error answers of this endpoint carry it too."""
    shards = range(exchange.options.shards)
    return {
        "exchange_active": exchange.exchange_active(0),
        "trading_active": exchange.trading_active(0),
        "intra_exchange_transfers_active": False,  # there are none here
        "exchange_estimated_resume_time": None,
        "exchange_index_statuses": [
            {
                "exchange_index": shard,
                "description": f"paper exchange shard {shard}",
                "exchange_active": exchange.exchange_active(shard),
                "trading_active": exchange.trading_active(shard),
                "intra_exchange_transfers_active": False,
            }
            for shard in shards
        ],
    }


def get_status(call: Call) -> Response:
    """Answer GET /exchange/status."""
    return reply(200, render_status(call.exchange))


def get_schedule(call: Call) -> Response:
    """Answer GET /exchange/schedule: always open, without planned maintenance."""
    week: Json = {"start_time": "2024-01-01T00:00:00Z", "end_time": "2200-01-01T00:00:00Z"}
    week |= dict.fromkeys(_WEEKDAYS, _WHOLE_DAY)
    return reply(200, {"schedule": {"standard_hours": [week], "maintenance_windows": []}})


def get_user_data_timestamp(call: Call) -> Response:
    """Answer GET /exchange/user_data_timestamp: when the private reads were last true."""
    return reply(200, {"as_of_time": stamp(call.as_of_ns)})


def get_historical_cutoff(call: Call) -> Response:
    """Answer GET /historical/cutoff: so long ago that nothing lies before it."""
    names = ("market_settled_ts", "trades_created_ts", "orders_updated_ts", "market_positions_last_updated_ts")
    return reply(200, dict.fromkeys(names, _EPOCH))


def get_limits(call: Call) -> Response:
    """Answer GET /account/limits."""
    name = call.desk.tier(call.key.account)
    tier = TIERS[name]
    grant = {"exchange_instance": "event_contract", "level": GRANTED_TIER, "source": "manual"}
    body = {
        "usage_tier": name,
        "read": {"refill_rate": tier.read_per_s, "bucket_capacity": tier.read_capacity},
        "write": {"refill_rate": tier.write_per_s, "bucket_capacity": tier.write_capacity},
        "grants": [] if name == call.desk.accounts.tier(call.key.account) else [grant],
    }
    return reply(200, body)


def upgrade_usage_level(call: Call) -> Response:
    """Answer POST /account/api_usage_level/upgrade; an account that has as much already keeps what it has."""
    if call.desk.tier(call.key.account) == LOWEST_TIER:
        call.desk.execute(UpgradeAccount(account=call.key.account), call.now_ns)
    return reply(201, {})


def get_endpoint_costs(call: Call) -> Response:
    """Answer GET /account/endpoint_costs: the operations that do not cost the default."""
    costs = [
        {"method": method, "path": API_PREFIX + path.replace("{", ":").replace("}", ""), "cost": cost}
        for (method, path), cost in COSTS.items()
    ]
    return reply(200, {"default_cost": DEFAULT_COST, "endpoint_costs": costs})


def get_api_keys(call: Call) -> Response:
    """Answer GET /api_keys."""
    keys = []
    for key in call.desk.accounts.keys_of(call.key.account):
        row: Json = {"api_key_id": key.key_id, "name": key.name, "scopes": sorted(key.scopes)}
        if key.subaccount is not None:
            row["subaccount"] = key.subaccount
        keys.append(row)
    return reply(200, {"api_keys": keys})


def create_api_key(call: Call) -> Response:
    """Answer POST /api_keys: left to tiers that may bring their own keys, which no account of ours is."""
    raise refuse_forbidden()
