"""Configuration: what wins, where values come from, and what each refusal says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from common import config
from common.config import KEYS, load
from common.errors import ConfigError

KEY_ID = "6c1b2a9e-0000-4000-8000-00000000c0de"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def load_alone(file: Path | None = None, **more: object) -> config.Config:
    """Load without this machine's environment."""
    return load(file=file, **{"environment": {}, **more})  # type: ignore[arg-type]


def test_shipped_file_lists_every_setting_with_its_default() -> None:
    text = config.DEFAULT_FILE.read_text(encoding="utf-8")
    assert tomllib.loads(text).keys() == {key.section for key in KEYS.values()}
    written = tomllib.loads(re.sub(r"(?m)^#(\w+ = )", r"\1", text), parse_float=str)
    names = [f"{section}.{name}" for section, table in written.items() for name in table]
    assert names == list(KEYS)
    defaults = load_alone()
    assert set(defaults.origins.values()) == {"default"}
    for key in KEYS.values():
        value = key.read(written[key.section][key.name.partition(".")[2]], "test")
        section = defaults.keys if key.section == "keys" else getattr(defaults.settings, key.section)
        assert value == getattr(section, key.field.name), key.name


def test_later_layer_wins_and_every_value_knows_its_origin(file: Path) -> None:
    file.write_text("[limits]\nlive_orders = 7\norder_qty = 2\ndrawdown_percent = 4\n")
    environment = {"TRADER_LIMITS_ORDER_QTY": "3", "TRADER_LIMITS_DRAWDOWN_PERCENT": "3"}
    loaded = load({"limits.drawdown_percent": "2"}, file=file, environment=environment)
    assert loaded.settings.limits.live_orders == 7
    assert loaded.settings.limits.order_qty_e2 == 300
    assert loaded.settings.limits.drawdown_percent == 2
    assert loaded.origins["limits.live_orders"] == str(file)
    assert loaded.origins["limits.order_qty"] == "environment TRADER_LIMITS_ORDER_QTY"
    assert loaded.origins["limits.drawdown_percent"] == "command line"
    assert loaded.origins["limits.spread_price"] == "default"


@pytest.mark.parametrize("written", ["5", "5.0", "5.00", '"5"', '"5.000000"'])
def test_money_may_be_written_as_number_or_text_and_is_exact(file: Path, written: str) -> None:
    file.write_text(f"[limits]\norder_cost_usd = {written}\n")
    assert load_alone(file).settings.limits.order_cost_usd_e6 == 5_000_000


def test_decimal_never_passes_through_a_float(file: Path) -> None:
    file.write_text("[limits]\ntotal_loss_usd = 123456789012.345678\n")
    assert load_alone(file).settings.limits.total_loss_usd_e6 == 123_456_789_012_345_678


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[limits]\norder_qty = 1.001\n", ["limits.order_qty", "1.001", "mine.toml", "up to 2 decimals"]),
        ("[limits]\norder_qty = 0\n", ["limits.order_qty", "above 0"]),
        ("[limits]\norder_cost_usd = -1.00\n", ["limits.order_cost_usd", "-1.00"]),
        ("[limits]\norder_cost_usd = true\n", ["limits.order_cost_usd", "True"]),
        ("[limits]\nlive_orders = 0\n", ["limits.live_orders", "whole number from 1"]),
        ("[limits]\nlive_orders = 1.5\n", ["limits.live_orders", "whole number"]),
        ("[limits]\ndrawdown_percent = 101\n", ["limits.drawdown_percent", "from 1 to 100"]),
        ("[limits]\nspread = 1\n", ["limits.spread", "no such setting", "limits.spread_price"]),
        ("[limitz]\nspread = 1\n", ["limitz.spread", "no such setting", "limits"]),
        ("[limitz]\n", ["[limitz]", "no such section", "limits"]),
        ("live_orders = 1\n", ["live_orders", "[section]"]),
        ('[exchange]\nenvironment = "live"\n', ["exchange.environment", "live", "paper, demo, production"]),
        ("[exchange]\nmode = 1\n", ["exchange.mode", "trade, observe"]),
        ("[exchange]\nrest_url = 1\n", ["exchange.rest_url", "a text"]),
        ('[exchange]\nenvironment = "demo"\nrest_url = "http://x"\n', ["exchange.rest_url", "http://x", "https://"]),
        (
            "[limits]\nprice_low = 0.98\n",
            ["limits.price_low = 0.9800 (/", "mine.toml): allowed", "limits.price_high = 0.9700 (default)"],
        ),
        ("[limits\n", ["mine.toml", "line 1"]),
    ],
)
def test_refusal_names_the_setting_the_value_and_what_is_allowed(file: Path, text: str, words: list[str]) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_alone(file)
    for word in words:
        assert word in str(caught.value)


def test_unknown_variable_of_ours_is_refused_and_others_are_left_alone() -> None:
    load(environment={"KALSHI_API_BASE": "x", "PATH": "/bin"})
    with pytest.raises(ConfigError, match="TRADER_LIMITS_ORDER_QYT"):
        load(environment={"TRADER_LIMITS_ORDER_QYT": "1"})


@pytest.mark.parametrize("text", ["[limits]\norder_qtty = 5\n", "[paper]\nspeed = 'fast'\n", "[feed]\nbookz = 1\n"])
def test_mistake_in_a_section_that_nobody_asks_for_is_passed_over(file: Path, text: str) -> None:
    file.write_text(f"[exchange]\nsubaccount = 3\n{text}")
    environment = {"TRADER_LIMITS_ORDER_QYT": "1", "TRADER_SYNC_INTERVAL_S": "soon"}
    loaded = load({"limits.nothing": "1"}, file=file, environment=environment, only=("exchange", "keys"))
    assert loaded.settings.exchange.subaccount == 3
    with pytest.raises(ConfigError):
        load_alone(file)


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("[exchange]\nsubacount = 3\n", "PATH"),
        ("[exchang]\nsubaccount = 3\n", "PATH"),
        ("subaccount = 3\n", "PATH"),
        ("[exchange\n", "PATH"),
        ("", "TRADER_EXCHANGE_SUBACOUNT"),
        ("", "TRADER_EXCHANG_SUBACCOUNT"),
    ],
)
def test_mistake_that_may_be_meant_for_a_section_asked_for_is_refused(file: Path, text: str, variable: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError):
        load(file=file, environment={variable: "3"}, only=("exchange", "keys"))


def test_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: not found"):
        load_alone(tmp_path / "nowhere.toml")


def test_file_of_the_run_directory_comes_before_the_project_one(run_dir: Path) -> None:
    (run_dir / "trader.toml").write_text("[paper]\nseed = 5\n")
    assert load_alone(run_dir=run_dir).settings.paper.seed == 5


def test_run_directory_comes_from_command_line_then_environment_then_project() -> None:
    environment = {"TRADER_RUN_DIR": "/tmp/b"}
    assert load(run_dir=Path("/tmp/a"), environment=environment).run_dir == Path("/tmp/a")
    assert load(environment=environment).run_dir == Path("/tmp/b")
    assert load_alone().run_dir == config.DEFAULT_RUN_DIR


def test_run_directory_too_long_for_unix_sockets_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer than 74 bytes"):
        load_alone(run_dir=Path("/tmp") / ("ä" * 40))


@pytest.mark.parametrize("name", ["a%b", 'a"b', "a;b", "a\nb"])
def test_run_directory_that_supervisord_cannot_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="may not contain"):
        load_alone(run_dir=Path("/tmp") / name)


@pytest.mark.parametrize(
    "place", [config.PROJECT_DIR, config.DEFAULT_RUN_DIR / "..", config.PROJECT_DIR.parent, Path("/")]
)
def test_run_directory_in_which_the_project_lies_is_refused(place: Path) -> None:
    with pytest.raises(ConfigError, match="the project itself lies there"):
        load_alone(run_dir=place)
    with pytest.raises(ConfigError, match="the project itself lies there"):
        load(environment={"TRADER_RUN_DIR": str(place)})


def test_run_directory_of_another_name_in_which_the_project_lies_is_refused(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "link").symlink_to(config.PROJECT_DIR)
    with pytest.raises(ConfigError, match="the project itself lies there"):
        load_alone(run_dir=run_dir / "link")
    monkeypatch.chdir(config.PROJECT_DIR)
    with pytest.raises(ConfigError, match="the project itself lies there"):
        load_alone(run_dir=Path("."))


def test_run_directory_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no directory"):
        config.named_run_dir("")
    assert config.named_run_dir("a") == Path("a")


def test_run_directory_that_is_a_file_or_lies_below_one_is_refused(run_dir: Path) -> None:
    file = run_dir / "file"
    file.write_text("")
    for path in (file, file / "below" / "it"):
        with pytest.raises(ConfigError, match=f"run directory {path}: {file} is no directory"):
            load_alone(run_dir=path)


def test_production_refuses_to_trade_without_the_confirmation_sentence() -> None:
    production = {"exchange.environment": "production"}
    for confirmation in ("", "yes", "Real Money"):
        with pytest.raises(ConfigError, match="confirm_production"):
            load(production | {"exchange.confirm_production": confirmation}, environment={})
    assert load(production | {"exchange.confirm_production": "real money"}, environment={})
    assert load(production | {"exchange.mode": "observe"}, environment={})


def test_production_risks_less_until_somebody_says_how_much() -> None:
    production = {"exchange.environment": "production", "exchange.mode": "observe"}
    unset = load(production, environment={})
    assert unset.settings.limits.total_loss_usd_e6 == 50_000_000
    assert unset.origins["limits.total_loss_usd"] == "default for production"
    chosen = load(production | {"limits.total_loss_usd": "500.00"}, environment={})
    assert chosen.settings.limits.total_loss_usd_e6 == 500_000_000


def test_keys_come_from_the_names_that_other_kalshi_tools_use() -> None:
    environment = {"KALSHI_API_KEY_ID": KEY_ID, "KALSHI_PRIVATE_KEY_PATH": "/keys/kalshi.pem"}
    loaded = load(environment=environment)
    assert loaded.keys.trade_key_id == KEY_ID
    assert loaded.keys.trade_key_path == "/keys/kalshi.pem"
    own = load(environment=environment | {"TRADER_KEYS_TRADE_KEY_ID": "other"})
    assert own.keys.trade_key_id == "other"


def test_key_id_is_in_no_text_about_the_configuration() -> None:
    loaded = load(environment={"KALSHI_API_KEY_ID": KEY_ID, "KALSHI_READ_API_KEY_ID": KEY_ID})
    assert KEY_ID not in repr(loaded)
    assert KEY_ID not in str(loaded.rows())
    assert ("keys.trade_key_id", "(set, hidden)", "environment KALSHI_API_KEY_ID") in loaded.rows()


def test_refused_key_id_is_not_repeated(file: Path) -> None:
    file.write_text("[keys]\ntrade_key_id = 123456789\n")
    with pytest.raises(ConfigError, match=r"keys\.trade_key_id") as caught:
        load_alone(file)
    assert "123456789" not in str(caught.value)


def test_shown_values_can_be_written_back() -> None:
    loaded = load_alone()
    for name, shown, _ in loaded.rows():
        if not KEYS[name].is_secret:
            load({name: tomllib.loads(f"x = {shown}", parse_float=str)["x"]}, environment={})
