"""`trader halt`: the stop that works whatever is left of the group.

The latch comes first, so that nothing trades on or is started into trading. Then whoever can cancel and prove it is
asked in turn: the coordinator, execution, and at last the exchange itself, with the key and by this command alone.
Only that last step reads settings, and of them only those of the exchange: no mistake in a file keeps the others away.
"""

from __future__ import annotations

import asyncio

import click

from common import clock
from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli import bus_client
from common.cli.context import Context
from common.clock import NS_PER_S
from common.config import Config
from common.endpoints import endpoints, read_key, trade_key
from common.errors import ConfigError, ExitCode, Failure
from common.kalshi.calls import Call
from common.kalshi.emergency import EmergencyStop, Verdict
from common.kalshi.keyfile import load_signer
from common.kalshi.rest import RestClient
from common.messages import Done, Halt

COORDINATOR_S = 3.0  # its proof usually takes two; after this nobody waits for it
EXECUTION_S = 4.0  # the same proof, asked of who makes it; after this nobody waits for that either
ALONE_S = 60.0

_EXIT_CODES = {
    "unproven": ExitCode.TIMED_OUT,
    "unauthorised": ExitCode.FAILED,
    "refused": ExitCode.REFUSED,
}


@click.command(name="halt")
@click.option("--reason", default="emergency stop", metavar="TEXT", help="Kept with the latch.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=1.0), default=ALONE_S, show_default=True, metavar="SECONDS",
    help="How long this command goes on trying by itself where no process proves it.",
)  # fmt: skip
@click.pass_obj
def command(context: Context, reason: str, timeout_s: float) -> None:
    """Stop at once: cancel every order of the (sub)account, prove it, and stay stopped over restarts.

    Latches HALTED first. Works in every state and without any process: what the coordinator does not prove execution is
    asked for, and what execution does not prove this command does itself, with the trade key. A broken configuration
    does not matter but for that last step, which needs [exchange] and [keys]. Exits 0 once nothing rests, 5 if that
    could not be proven in time; HALTED stays latched either way.

    Example: trader halt --reason 'news'
    """
    run_dir = context.locate()
    if not run_dir.root.is_dir():
        message = f"{run_dir.root} is not there: no group has run in it, and nothing was cancelled"
        raise Failure(message, ExitCode.NOT_RUNNING)
    latch = Latch(run_dir)
    try:
        latch.halt(reason)
    except OSError as error:  # cancelling is worth more than the latch
        click.echo(f"HALTED could not be latched ({error}); cancelling all the same", err=True)
    context.warn()
    try:
        proof = _ask_group(run_dir, reason) or _act_alone(context, run_dir, timeout_s)
    except ConfigError as error:
        raise ConfigError(
            f"{_words(latch)}, but this command can cancel nothing itself: {error}. No process proved that nothing "
            "rests, so orders may: repair this and say `trader halt` again"
        ) from error
    except Failure as error:
        raise Failure(f"{_words(latch)}, but {error}", error.code) from error
    if not latch.reason():
        raise Failure(f"{proof}; but {_words(latch)}: stop the group before it trades on", ExitCode.FAILED)
    click.echo(f"{_words(latch)}; {proof}")


def _words(latch: Latch) -> str:
    return "HALTED is latched" if latch.reason() else "HALTED is not latched"


def _ask_group(run_dir: RunDir, reason: str) -> str:
    """Have the group cancel and prove it; return its words, "" where it did not."""
    for owner, timeout_s, next_one in (
        ("coordinator", COORDINATOR_S, "asking execution itself"),
        ("execution", EXECUTION_S, "asking the exchange itself"),
    ):
        try:
            done = bus_client.ask_done(run_dir, owner, Halt(reason=reason), timeout_s)
        except Failure as failure:
            done = Done(success=False, detail=str(failure))
        if done.success:
            return done.detail
        click.echo(f"{done.detail or done.code}; {next_one}", err=True)
    return ""


def _act_alone(context: Context, run_dir: RunDir, timeout_s: float) -> str:
    """Cancel and prove it by ourselves, on the account that the group traded on and no other."""
    config = context.load_exchange()
    run_dir.check_account(config.account)
    may_cancel = config.settings.exchange.mode == "trade"
    stop = EmergencyStop(
        config.settings.exchange.subaccount, clock.read, lambda words: click.echo(words, err=True),
        round(timeout_s * NS_PER_S), may_cancel,
    )  # fmt: skip
    verdict = asyncio.run(_converse(config, stop, may_cancel))
    if verdict.code == "proven":
        return verdict.detail
    raise Failure(verdict.detail, _EXIT_CODES[verdict.code])


async def _converse(config: Config, stop: EmergencyStop, may_cancel: bool) -> Verdict:
    """Move the bytes of a conversation."""
    key = trade_key(config) if may_cancel else read_key(config)
    signer = load_signer(key.key_id, key.path)
    async with RestClient(endpoints(config).rest_url, signer) as client:
        talk, answer = stop.talk(), None
        while True:
            try:
                step = talk.send(answer)
            except StopIteration as ended:
                verdict: Verdict = ended.value
                return verdict
            answer = None
            if isinstance(step, Call):
                answer = await client.send(step.method, step.path, query=step.query, body=step.body, write=step.write)
            else:
                await asyncio.sleep(step.for_ns / NS_PER_S)
