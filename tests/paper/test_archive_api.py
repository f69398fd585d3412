"""What clients may ask for and this exchange has nothing of: empty lists in the shape that they expect."""

from __future__ import annotations

import pytest

from tests.paper.rest import Paper

PUBLIC = {
    "/events/multivariate": "events",
    "/historical/markets": "markets",
    "/historical/trades": "trades",
    "/milestones": "milestones",
    "/structured_targets": "structured_targets",
    "/incentive_programs": "incentive_programs",
    "/multivariate_event_collections": "multivariate_contracts",
}
PRIVATE = {
    "/historical/fills": "fills",
    "/historical/orders": "orders",
    "/portfolio/deposits": "deposits",
    "/portfolio/withdrawals": "withdrawals",
    "/portfolio/subaccounts/transfers": "transfers",
}


@pytest.mark.parametrize(("path", "name"), PUBLIC.items())
def test_public_list_is_empty_and_ends(path: str, name: str) -> None:
    assert Paper().ask("GET", path, "limit=5").json == {name: [], "cursor": ""}


@pytest.mark.parametrize(("path", "name"), PRIVATE.items())
def test_private_list_is_empty_and_needs_a_key(path: str, name: str) -> None:
    paper = Paper()
    assert paper.client("alice").get(path).json == {name: [], "cursor": ""}
    assert paper.ask("GET", path).status == 401


@pytest.mark.parametrize(
    "path", ["/historical/markets/X", "/historical/markets/X/candlesticks", "/milestones/X", "/events/X/metadata"]
)
def test_what_is_not_there_is_not_found(path: str) -> None:
    assert Paper().ask("GET", path).status == 404


def test_page_length_is_checked_as_everywhere() -> None:
    assert Paper().ask("GET", "/historical/trades", "limit=1001").status == 400


def test_event_has_metadata_and_categories_have_no_tags() -> None:
    paper = Paper()
    metadata = paper.ask("GET", "/events/KXRAIN-26SEP21/metadata").json
    assert metadata == {"image_url": "", "market_details": [], "settlement_sources": []}
    assert list(paper.ask("GET", "/search/tags_by_categories").json["tags_by_categories"].values()) == [[]]
    assert paper.ask("GET", "/search/filters_by_sport").json == {"filters_by_sports": {}, "sport_ordering": []}


def test_subaccounts_show_their_cash_on_each_shard() -> None:
    client = Paper(shards=2).client("alice")
    balances = client.get("/portfolio/subaccounts/balances").json["subaccount_balances"]
    assert [(row["subaccount_number"], row["exchange_index"]) for row in balances] == [(0, 0), (0, 1)]
    assert balances[0]["balance"] == client.get("/portfolio/balance", "exchange_index=0").json["balance_dollars"]
    configs = client.get("/portfolio/subaccounts/netting").json["netting_configs"]
    assert [(row["exchange_index"], row["enabled"]) for row in configs] == [(0, False), (1, False)]
