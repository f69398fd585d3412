"""`trader doctor`: is everything there that trading needs? One line a question, each with what was found."""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from common.bus.journal import KIND
from common.bus.latch import Latch
from common.bus.run_dir import RunDir
from common.cli.context import Context
from common.cli.supervision import Supervisor, refusals, start_words
from common.cli.zmq_ps import listen
from common.clock import NS_PER_S
from common.config import Config
from common.endpoints import Endpoints, endpoints, read_key, trade_key
from common.errors import ExitCode, Expected, Failure, LogDamaged
from common.kalshi import calls
from common.kalshi.auth import Signer
from common.kalshi.keyfile import load_signer
from common.kalshi.outcomes import Answer, DefiniteReject, Ok, read_outcome, status_outcome
from common.kalshi.rest import RestClient
from common.log.files import read
from common.registry import PROCESSES

_CLOCK_OFF_S = 2.0  # the answer's date has whole seconds
_CONNECT_S = 3.0
_FREE_BYTES_MIN = 1 << 30


class Finding(NamedTuple):
    """The answer to one question."""

    is_well: bool
    question: str
    words: str


@click.command(name="doctor")
@click.pass_obj
def command(context: Context) -> None:
    """Check configuration, keys, run directory, journals, exchange, clock, account, stream, processes and latch.

    Exits with 6 if anything is wrong or the group does not run. Asks the exchange twice, connects to its stream's host
    once, and orders nothing. Bad configuration ends it at once with 78.

    Example: trader doctor
    """
    config = context.load()
    findings = []
    for finding in _examine(config):
        findings.append(finding)
        click.echo(f"{'ok  ' if finding.is_well else 'FAIL'} {finding.question:<14} {finding.words}")
    ill = [finding.question for finding in findings if not finding.is_well]
    if ill:
        raise Failure(f"not well: {', '.join(ill)}", ExitCode.UNHEALTHY)


def _examine(config: Config) -> Iterator[Finding]:
    exchange = config.settings.exchange
    yield Finding(True, "configuration", f"{config.file or 'defaults'}, {exchange.environment}, mode {exchange.mode}")
    yield _run_directory(config)
    yield _journals(RunDir(config.run_dir))
    yield _ask("trade key", lambda: _key_words(config, is_trade=True))
    yield _ask("read key", lambda: _key_words(config, is_trade=False))
    try:
        hosts, key = endpoints(config), read_key(config)
        signer = load_signer(key.key_id, key.path)
    except Expected as error:
        yield Finding(False, "exchange", str(error))
    else:
        yield from asyncio.run(_ask_exchange(hosts, signer))
    yield from _group(config)


def _ask(question: str, answer: Callable[[], str]) -> Finding:
    try:
        return Finding(True, question, answer())
    except Expected as error:
        return Finding(False, question, str(error))


def _run_directory(config: Config) -> Finding:
    root = config.run_dir
    if not root.is_dir():
        return Finding(False, "run directory", f"{root} is not there yet; scripts/run makes it")
    mode = stat.S_IMODE(root.stat().st_mode)
    free_bytes = shutil.disk_usage(root).free
    words = f"{root}, mode {mode:04o}, {free_bytes / 1e9:.1f} GB free"
    return Finding(mode == 0o700 and free_bytes >= _FREE_BYTES_MIN, "run directory", words)


def _journals(run_dir: RunDir) -> Finding:
    """Read every journal to its end without changing it; what a writer is at just now may look torn."""
    words, ill = [], []
    for row in PROCESSES.values():
        path = run_dir.journal(row.name)
        if row.journal and run_dir.has_lost_journal(row.name):
            ill.append(f"{path}: is missing")
        if not row.journal or not path.exists():
            continue
        try:
            words.append(f"{row.name} {len(read(path, KIND).records):,} records")
        except (LogDamaged, OSError) as error:
            ill.append(str(error))
    return Finding(not ill, "journals", "; ".join(ill or words) or "none yet")


def _key_words(config: Config, is_trade: bool) -> str:
    """Return where a key is; the id stays out of sight."""
    key = trade_key(config) if is_trade else read_key(config)
    load_signer(key.key_id, key.path)
    return f"{key.path}, readable by its owner only"


async def _ask_exchange(hosts: Endpoints, signer: Signer) -> list[Finding]:
    findings = []
    async with RestClient(hosts.rest_url, signer) as client:
        call = calls.exchange_status()
        answer = await client.send(call.method, call.path)
        status = status_outcome(answer)
        if isinstance(status, Ok):
            trades = "trades" if status.value.trading_active else "does not trade now"
            findings.append(Finding(True, "exchange", f"{hosts.rest_url}, {trades}"))
        else:
            findings.append(Finding(False, "exchange", f"{hosts.rest_url}: {_why(status)}"))
        if isinstance(answer, Answer) and answer.date_wall_ns is not None:
            offset_s = (answer.date_wall_ns - answer.signed_wall_ns) / NS_PER_S
            words = f"{abs(offset_s):.1f} s from the exchange's (its stamp has whole seconds)"
            findings.append(Finding(abs(offset_s) <= _CLOCK_OFF_S, "clock", words))
        findings.append(await _budget(client))
    findings.append(await _stream(hosts.stream_url))
    return findings


async def _budget(client: RestClient) -> Finding:
    """Ask for our limits, which also tells whether our signature is accepted."""
    call = calls.limits()
    outcome = read_outcome(await client.send(call.method, call.path), call.parse)
    if not isinstance(outcome, Ok):
        return Finding(False, "account", _why(outcome))
    limits = outcome.value
    words = f"tier {limits.tier}: {limits.read.refill_per_s} read and {limits.write.refill_per_s} write tokens a second"
    return Finding(True, "account", words)


async def _stream(url: str) -> Finding:
    """Look whether the stream's host takes connections; the handshake is left to the processes."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "wss" else 80)
    try:
        async with asyncio.timeout(_CONNECT_S):
            _, writer = await asyncio.open_connection(address.hostname, port)
        writer.close()
        await writer.wait_closed()
    except OSError as error:  # TimeoutError is one
        why = str(error) or f"no connection within {_CONNECT_S:.0f} s"
        return Finding(False, "stream", f"{url}: {type(error).__name__}: {why}")
    return Finding(True, "stream", url)


def _why(outcome: object) -> str:
    if isinstance(outcome, DefiniteReject):
        return f"HTTP {outcome.status} {outcome.code} {outcome.message}".strip()
    return str(getattr(outcome, "reason", outcome))


def _group(config: Config) -> Iterator[Finding]:
    """Look whether every process lives, and whether the latch is set."""
    run_dir = RunDir(config.run_dir)
    beats = listen(run_dir)
    missing = [row.name for row in PROCESSES.values() if row.on_bus and row.name not in beats]
    ill = [f"{name} ({beat.summary})" for name, (beat, _) in beats.items() if not beat.healthy]
    supervisor = Supervisor(config.run_dir)
    refused = refusals(supervisor)
    silent = [f"{name} is silent" for name in missing if name not in refused]
    down = [f"{name} refuses to start: {why}; {start_words(supervisor, name)}" for name, why in refused.items()]
    words = "; ".join([*silent, *down, *ill]) or f"all {len(beats)} live and are well"
    yield Finding(not missing and not down and not ill, "processes", words)
    halted = Latch(run_dir).reason()
    yield Finding(not halted, "latch", f"HALTED: {halted}" if halted else "not set")
