"""schemathesis, a program that we did not write, asks a running exchange whatever its OpenAPI file allows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.openapi import ABSENT, OPENAPI
from tests.probe import ROOT, ExchangeProcess, Probe, running

pytestmark = pytest.mark.skipif(not OPENAPI.exists(), reason=ABSENT)

CHECKS = "not_a_server_error,response_schema_conformance,content_type_conformance"
EXAMPLES = 8  # random requests for each operation, after the systematic ones
QUIET = ROOT / "common" / "paper" / "scenarios" / "quiet.toml"


def run_schemathesis(exchange: ExchangeProcess, work: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "EXCHANGE_READY": json.dumps(exchange.ready),
        "SCHEMATHESIS_HOOKS": "tests.contract.schemathesis_hooks",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(OPENAPI), "--url", exchange.ready["rest"]),
            *("--mode", "positive", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
            *("--continue-on-failure", "--no-color", "--suppress-health-check", "all"),
        ],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )  # fmt: skip


def test_every_operation_stands_schemathesis(tmp_path: Path) -> None:
    scenario = tmp_path / "quiet.toml"
    # Budgets that are not in the way, and no cancel-all that reaches the orders which later requests are about.
    quiet = QUIET.read_text().replace('tier = "advanced"', 'tier = "prestige"')
    scenario.write_text(f"{quiet}\n[options]\ncancel_all_reach_s = 0\n")
    with running(tmp_path / "state", "--scenario", str(scenario)) as exchange:
        result = run_schemathesis(exchange, tmp_path)
        assert result.returncode == 0, result.stdout[-8_000:] + result.stderr[-2_000:]
        assert "Selected: 42/42" in result.stdout
        probe = Probe(exchange.ready)
        _, orders = probe.call("GET", "/portfolio/orders")
        probe.close()
        assert orders["orders"], "some of the requests must have been orders that the exchange took"
