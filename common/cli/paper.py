"""`trader paper`: the paper exchange of the run directory."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from common.bus.run_dir import RunDir
from common.cli import paper_operator
from common.cli.context import Context
from common.cli.supervision import Supervisor, is_serving, wait_until_serving
from common.endpoints import PAPER_FILE, PaperExchange, read_paper_exchange
from common.errors import ExitCode, Failure
from common.server import state_dir


@click.group(name="paper")
def command() -> None:
    """Look at the paper exchange, or start it anew.

    Example: trader paper info
    """


@command.command()
@click.option("--json", "as_json", is_flag=True, help="Print what the exchange says about itself, its key id included.")
@click.option("--only", type=click.Choice(["rest", "ws", "control"]), help="Print this address alone, for scripts.")
@click.pass_obj
def info(context: Context, as_json: bool, only: str | None) -> None:
    """Print where the paper exchange listens and which markets it has; exit 3 when it is not running.

    Example: trader paper info --only rest
    """
    run_dir = context.find().root
    paper = read_paper_exchange(run_dir)
    if not is_serving(paper):
        raise Failure(f"no paper exchange runs in {run_dir}; scripts/run starts it", ExitCode.NOT_RUNNING)
    if only is not None:
        click.echo(getattr(paper, only))
    else:
        click.echo(msgspec.json.encode(paper) if as_json else _describe(paper, run_dir))


def _describe(paper: PaperExchange, run_dir: Path) -> str:
    rows = [
        ("REST", paper.rest),
        ("stream", paper.ws),
        ("control", paper.control),
        ("private key", paper.private_key_path),
        ("key id", f"in {run_dir / PAPER_FILE}"),
        ("control token", f"in {paper.control_token_path}"),
        ("markets", " ".join(paper.tickers)),
    ]
    return "\n".join(f"{name:<14} {value}" for name, value in rows)


@command.command()
@click.pass_obj
def reset(context: Context) -> None:
    """Throw away the paper exchange's accounts, orders, markets and keys, and start it anew if it was running.

    The trader's journals go with it: what they know is about an account that no longer exists. With them goes your last
    word: a trader that you stopped or paused trades again.

    Example: trader --run-dir /tmp/trader-2 paper reset
    """
    config = context.load()
    if config.settings.exchange.environment != "paper":
        environment = config.settings.exchange.environment
        raise Failure(f"the environment is {environment}: there is no paper exchange to reset", ExitCode.REFUSED)
    supervisor = Supervisor(config.run_dir)
    is_running = supervisor.pid() is not None
    if is_running:
        supervisor.stop_processes()
    state_dir.reset((config.run_dir / PAPER_FILE).parent)
    had_journals = RunDir(config.run_dir).journal("coordinator").exists()
    for journal in RunDir(config.run_dir).journals.glob("*"):
        journal.unlink()
    if is_running:
        supervisor.start_processes()
        wait_until_serving(config, supervisor)
    click.echo("The paper exchange is new." if is_running else "The next paper exchange will be new.")
    if had_journals:
        click.echo("The trader began anew with it: a stop or a pause from before is forgotten, HALTED is not.")


for verb in (paper_operator.faults, paper_operator.fault, paper_operator.ledger):
    command.add_command(verb)
