"""The cores decide the same whatever the interpreter's hash seed is: no set's order reaches an effect."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from common.effects import Effect
from common.paper.model import MarketAction
from processes.feed import Feed
from processes.sync import Sync
from processes.tracking import Tracking
from tests.paper.rest import CENT
from tests.processes.kit import Stage

ROOT = Path(__file__).resolve().parents[2]
HASH_SEEDS = ("1", "2", "3")


def play() -> list[Effect]:
    """Play a scene with many markets, a gap, a reconnect and a settlement; return everything that the cores did."""
    stage = Stage()
    tickers = [f"KXRAIN-26SEP21-N{number}" for number in range(8)]
    for ticker in tickers:
        stage.paper.add_market(ticker)
    for ticker in (CENT, *tickers):
        stage.quote(ticker)
    actors = [
        stage.run_core(name, core) for name, core in (("sync", Sync()), ("tracking", Tracking()), ("feed", Feed()))
    ]
    stage.pass_time(6)
    for ticker in tickers:
        stage.trade(ticker, "bid", "2.00", "0.5500")
    stage.pass_time(3)
    lost: list[bytes] = []

    def lose_one(frame: bytes) -> list[bytes]:
        if lost or not frame.startswith(b'{"type":"orderbook_delta"'):
            return [frame]
        lost.append(frame)
        return []

    stage.actors["feed"].tamper = lose_one
    stage.trade(tickers[0], "ask", "3.00", "0.4500")
    stage.trade(tickers[1], "ask", "3.00", "0.4500")
    stage.pass_time(1)
    stage.cut("feed", "market")
    stage.cut("tracking", "private")
    stage.paper.apply(MarketAction(ticker=tickers[0], action="close"))
    stage.paper.apply(MarketAction(ticker=tickers[0], action="determine", result="yes"))
    stage.pass_time(30)
    return [effect for actor in actors for effect in actor.effects]


def digest() -> str:
    return hashlib.sha256("\n".join(map(repr, play())).encode()).hexdigest()


def test_no_order_of_a_set_reaches_an_effect() -> None:
    program = "from tests.processes.test_determinism import digest; print(digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True, text=True,
        ).stdout
        for seed in HASH_SEEDS
    }  # fmt: skip
    assert len(digests) == 1
    assert digests != {""}
