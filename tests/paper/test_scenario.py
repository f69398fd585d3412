"""Scenario files are read strictly: whatever is wrong is named with its place, its value and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from common.paper.scenario import load_scenario, parse_scenario, scenario_names

HEAD = """
title = "t"
[[series]]
ticker = "KXA"
title = "A"
[[event]]
ticker = "KXA-1"
series = "KXA"
title = "A 1"
[[crowd]]
name = "few"
deltas_per_s = 1
depth = [10]
"""
MARKET = """
[[market]]
ticker = "KXA-1-X"
event = "KXA-1"
title = "X"
yes = "Yes"
no = "No"
closes_s = 100
"""
ROLLING = """
[[rolling]]
series = "KXA"
title = "A again"
every_s = 60
first_closes_s = 60
"""
CROWD = "[[crowd]]\nname = 'x'\ndeltas_per_s = 1\ndepth = [1]\n"
CROSSED = """
standing = [{side = "bid", price = "0.45", count = "1"}, {side = "ask", price = "0.45", count = "1"}]
"""


@pytest.mark.parametrize("name", scenario_names())
def test_every_packaged_scenario_is_valid(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.market or name == "replay"
    assert scenario.account[0].name == "default"


def test_packaged_scenarios_are_those_the_documents_name() -> None:
    assert {"default", "quiet", "dense", "stress", "two_shards", "sub_cent"} <= set(scenario_names())


def test_account_opens_with_ten_thousand_dollars_and_the_advanced_tier_unless_told() -> None:
    account = parse_scenario(HEAD, "t").account[0]
    assert (account.cash, account.tier) == (("10000.00",), "advanced")


def test_scenario_file_is_loaded_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + MARKET)
    assert load_scenario(str(path)).market[0].ticker == "KXA-1-X"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (HEAD + CROWD + "deltas_per_min = 5", ["crowd[1]", "'deltas_per_min'", "5", "deltas_per_s"]),
        (HEAD + MARKET + "grid = 'cents'", ["market[0].grid", "'cents'", "'linear_cent'", "'tapered_deci_cent'"]),
        (HEAD + MARKET + "value = { kind = 'walk', start = 1.5 }", ["market[0].value.start", "1.5", "< 1"]),
        (HEAD + MARKET + "result = 'maybe'", ["market[0].result", "'maybe'", "'yes'"]),
        (HEAD + MARKET + "crowd = 'many'", ["KXA-1-X", "crowd", "'many'", "'few'"]),
        (HEAD + MARKET + "shard = 1", ["KXA-1-X", "shard = 1", "0 to 0"]),
        (HEAD + MARKET + "opens_s = 200", ["KXA-1-X", "closes_s = 100"]),
        (HEAD + MARKET + MARKET, ["market", "'KXA-1-X'", "twice"]),
        (HEAD + MARKET.replace('event = "KXA-1"', 'event = "KXB"'), ["event", "'KXB'", "'KXA-1'"]),
        (HEAD + MARKET.replace('yes = "Yes"\n', ""), ["market[0]", "'yes'", "missing"]),
        (
            HEAD + MARKET + "standing = [{ side = 'bid', price = '0.455', count = '1' }]",
            ["KXA-1-X", "'0.455'", "linear_cent"],
        ),
        (HEAD + MARKET + "standing = [{ side = 'bid', price = '0.45', count = 'many' }]", ["KXA-1-X", "'many'"]),
        (
            HEAD + MARKET + CROSSED,
            ["KXA-1-X", "standing", "cross"],
        ),
        (HEAD + "[[account]]\nname = 'a'\ncash = ['1.00', '2.00']", ["account a", "at most 1"]),
        (HEAD + "[[account]]\nname = 'a'\ncash = ['lots']", ["account a", "'lots'"]),
        (HEAD + "[[account]]\nname = 'a'\ntier = 'gold'", ["account[0].tier", "'gold'", "'advanced'"]),
        (HEAD + ROLLING + ROLLING, ["rolling", "'KXA'", "twice"]),
        (HEAD + ROLLING.replace("KXA", "KXB"), ["rolling KXB", "'KXB'", "'KXA'"]),
        ("title = 3", ["title", "3"]),
        ("title = ", ["t"]),
    ],
)
def test_mistake_is_named_with_its_place_its_value_and_what_is_allowed(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        parse_scenario(text, "t.toml")
    message = str(error.value)
    assert "t.toml" in message
    for part in parts:
        assert part in message, message


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'nothing'.*default \| dense"):
        load_scenario("nothing")


def test_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml"):
        load_scenario(str(tmp_path / "absent.toml"))
