"""The journals of a run directory belong to one account: what was meant for paper is never meant for real money."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.bus.run_dir import RunDir
from common.config import load
from common.errors import ConfigError


def prepared(root: Path) -> RunDir:
    run_dir = RunDir(root / "run")
    run_dir.prepare()
    return run_dir


def test_the_first_account_is_kept_and_the_same_is_welcome(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    run_dir.check_account("paper, subaccount 0")
    for _ in range(2):
        run_dir.claim("paper, subaccount 0")
    run_dir.check_account("paper, subaccount 0")


def test_another_account_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    run_dir = prepared(tmp_path)
    run_dir.claim("paper, subaccount 0")
    for ask in (run_dir.claim, run_dir.check_account):
        with pytest.raises(ConfigError, match=r"are of paper, subaccount 0.*says demo, subaccount 0.*--run-dir"):
            ask("demo, subaccount 0")


def test_a_configuration_names_its_account(tmp_path: Path) -> None:
    configured = {"exchange.environment": "demo", "exchange.subaccount": "3"}
    assert load(configured, run_dir=tmp_path).account == "demo, subaccount 3"
