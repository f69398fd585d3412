"""The README's examples, run as they stand there against a living paper exchange."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.cli.supervision import Supervisor
from common.config import PROJECT_DIR

README = (PROJECT_DIR / "README.md").read_text(encoding="utf-8")
CURLS = re.findall(r"(?m)^curl .+$", README)
(PYTHON,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory that looks like the reader's checkout, its group running in a run directory of its own."""
    run_dir = tmp_path_factory.mktemp("r")
    checkout = tmp_path_factory.mktemp("c")
    (checkout / "run").symlink_to(run_dir)
    (checkout / ".venv").symlink_to(sys.prefix)
    command = [sys.executable, "-P", "-m", "common.cli.run", "--run-dir", str(run_dir), "--detach"]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    yield checkout
    Supervisor(run_dir).stop()


def run(words: list[str], checkout: Path) -> str:
    """Run an example as a reader would and return what it prints."""
    environment = {"PATH": "/usr/bin:/bin", "TRADER_RUN_DIR": str((checkout / "run").resolve())}
    done = subprocess.run(
        words, cwd=checkout, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl", path="/usr/bin:/bin") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", CURLS)
def test_curl_examples_answer_with_living_data(checkout: Path, line: str) -> None:
    answer = json.loads(run(["/bin/sh", "-c", line], checkout))
    assert answer.get("markets") or answer.get("trades") is not None


def test_python_example_trades_with_a_client_that_we_did_not_write(checkout: Path) -> None:
    pytest.importorskip("pykalshi")
    order = ""
    for _ in range(5):  # the ask may move before the order is there: then it rests, as anybody's would
        market, order, *_ = run([sys.executable, "-c", PYTHON], checkout).splitlines()
        assert re.fullmatch(r"\S+ bid 0\.\d+ ask 0\.\d+", market)
        if "EXECUTED" in order:
            break
    assert "EXECUTED" in order
