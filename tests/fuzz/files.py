"""Files: logs, tapes, configuration and what else lies in a run directory, cut, flipped and rewritten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from common import effects
from common.bus import input_log
from common.bus.frames import encode_json
from common.bus.latch import CrashMarks, Latch
from common.bus.run_dir import RunDir
from common.clock import Now
from common.config import KEYS, load
from common.endpoints import PaperExchange, read_paper_exchange
from common.errors import ConfigError, ExitCode, Failure, LogDamaged
from common.log import tapes
from common.log.format import encode_header, encode_records, scan
from common.messages import Done
from common.server.state_dir import StateDir
from tests.bus import support
from tests.fuzz.mutation import NUMBERS, OTHERS, TEXTS, mutate_bytes, mutate_json
from tests.fuzz.target import REFUSED, TAKEN, Attempt, Target

RECORDS = [b"first", b"", b"x" * 700, bytes(range(256)), b"\0" * 40, b"last"]
TRADER_TOML = (Path(__file__).parents[2] / "trader.toml").read_bytes()


def place() -> Path:
    """Return a directory that goes with the process, for cases that need a real file."""
    return Path(_directory().name)


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="f")


def put(name: str, data: bytes) -> Path:
    """Write a file of a case."""
    path = place() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- logs ---


def _log() -> Attempt:
    """A log that was changed gives a prefix of what was written, or is damaged: never anything else."""
    good = encode_header("journal") + encode_records(RECORDS)

    def attempt(random: Random) -> str:
        data = good
        for _ in range(random.choice((1, 1, 2))):
            data = mutate_bytes(random, data)
        try:
            found = scan(data, "journal", "test")
        except LogDamaged as error:
            assert "offset" in str(error)
            return REFUSED
        # A changed file may end with a copy of its own whole records; nothing else can have the right checksums.
        assert all(record in RECORDS for record in found.records)
        return TAKEN

    return attempt


STEPS: list[tuple[Any, Now]] = [
    (effects.Start(session="1-s", entropy=1, epoch=1, config=b"{}"), Now(1, 2)),
    (effects.Wake(), Now(2, 3)),
    (support.book("T"), Now(3, 4)),
    (effects.Answered(request_id="r", reply=Done(success=True)), Now(4, 5)),
]


def _inputs() -> Attempt:
    """Records whose checksums are right and whose content is not: written by another version, or by nobody."""
    records = [b"I" + input_log._TIMES.pack(*now) + encode_json(message) for message, now in STEPS]
    records.insert(2, b"E" + input_log._CHECK.pack(7))

    def attempt(random: Random) -> str:
        changed = list(records)
        at = random.randrange(len(changed))
        head, body = changed[at][:17], changed[at][17:]
        changed[at] = random.choice((mutate_bytes(random, changed[at]), head + mutate_bytes(random, body)))
        path = put("inputs.log", encode_header(input_log.KIND) + encode_records(changed))
        try:
            steps = list(input_log.read_life(path))
        except (LogDamaged, Failure) as error:
            assert str(path) in str(error)
            return REFUSED
        assert len(steps) <= len(STEPS)
        return TAKEN

    return attempt


def _tapes() -> Attempt:
    record = tapes.Record(Now(1, 2), b"book/T/", b'{"publisher":"feed"}', b'{"ticker":"T"}')
    good = tapes.encode(record)

    def attempt(random: Random) -> str:
        directory = place() / "tapes"
        data = encode_header(tapes.KIND) + encode_records([good, mutate_bytes(random, good)])
        path = put("tapes/1.tape", data)
        try:
            (first, _) = list(tapes.read(directory))
        except LogDamaged as error:
            assert str(path) in str(error)
            return REFUSED
        assert first == record
        return TAKEN

    return attempt


# --- configuration ---


def _refused_or_loaded(read: Callable[[], object]) -> str:
    """Only a `ConfigError` that says something, in a few lines, is a refusal."""
    try:
        read()
    except ConfigError as error:
        assert 0 < len(str(error)) < 8_000, len(str(error))
        return REFUSED
    return TAKEN


def _toml() -> Attempt:
    def attempt(random: Random) -> str:
        lines = TRADER_TOML.split(b"\n")
        at = random.randrange(len(lines))
        match random.randrange(4):
            case 0:
                data = mutate_bytes(random, TRADER_TOML)
            case 1:
                lines[at] = mutate_bytes(random, lines[at])
                data = b"\n".join(lines)
            case 2:
                key = random.choice(list(KEYS.values()))
                section, name = key.name.split(".")
                data = f"[{section}]\n{name} = {_toml_value(random)}\n".encode("utf-8", "surrogatepass")
            case _:
                data = random.choice((b"x = " + b"[" * 5_000, b"x = " + b"{a=" * 5_000, b"[" + b"a." * 5_000 + b"a]"))
        file = put("trader.toml", data)
        return _refused_or_loaded(lambda: load(file=file, run_dir=place(), environment={}))

    return attempt


def _toml_value(random: Random) -> str:
    text = msgspec.json.encode(random.choice(TEXTS[:18])).decode()
    number = random.choice((*map(str, NUMBERS), "9" * 5_000, "0x" + "f" * 5_000, "1e400", "2026-11-27", "-0x1"))
    return random.choice((text, number, "[]", "{}", "[[[]]]", "true", '["a", 1]'))


def _environment() -> Attempt:
    names = [*(key.variable for key in KEYS.values()), "KALSHI_API_KEY_ID", "TRADER_NOBODY_KNOWS", "TRADER_RUN_DIR"]

    def attempt(random: Random) -> str:
        values = [text for text in TEXTS if "\0" not in text and text.isprintable()]
        chosen = {random.choice(names): random.choice((*values, *map(str, NUMBERS))) for _ in range(2)}
        return _refused_or_loaded(lambda: load(file=put("default.toml", b""), environment=chosen))

    return attempt


def _command_line() -> Attempt:
    def attempt(random: Random) -> str:
        value = random.choice((*TEXTS, *NUMBERS, *OTHERS))
        overrides = {random.choice([*KEYS, "limits.none", "nothing", ""]): value}
        file = put("default.toml", b"")
        return _refused_or_loaded(lambda: load(overrides, file=file, run_dir=place(), environment={}))

    return attempt


# --- the run directory ---

PAPER = PaperExchange(
    rest="http://127.0.0.1:1/trade-api/v2", ws="ws://127.0.0.1:1/", control="http://127.0.0.1:1/control", key_id="k",
    private_key_path="/nowhere/key.pem", control_token_path="/nowhere/token", tickers=["T"],
)  # fmt: skip


def _exchange_json() -> Attempt:
    def attempt(random: Random) -> str:
        put("exchange/exchange.json", mutate_json(random, msgspec.to_builtins(PAPER)))
        return _refused_or_loaded(lambda: read_paper_exchange(place()))

    return attempt


def _settings_json() -> Attempt:
    """The settings of the paper exchange's own directory."""

    def attempt(random: Random) -> str:
        put("state/settings.json", mutate_json(random, {"port": 4711, "key_ids": {"default": "id"}}))
        return _refused_or_loaded(lambda: StateDir.open(place() / "state").close())

    return attempt


def _latch() -> Attempt:
    """A latch holds whatever is written in it; a mark that is none is no crash."""

    def attempt(random: Random) -> str:
        run_dir = RunDir(place() / "latch")
        run_dir.crashes.mkdir(parents=True, exist_ok=True)
        path = put("latch/halted", mutate_bytes(random, b"daily loss limit"))
        reason = Latch(run_dir).reason()
        assert reason
        mark = put(f"latch/crashes/feed.{random.choice(('1x', '9' * 30, '٣', '0', '-1', ''))}", b"")
        assert CrashMarks(run_dir, "feed").prepare(10**12) == 0
        mark.unlink(missing_ok=True)
        path.unlink()
        return REFUSED

    return attempt


def _journal_id() -> Attempt:
    """The id of the journals is in every order's name: a file that holds none is refused."""

    def attempt(random: Random) -> str:
        run_dir = RunDir(place() / "ids")
        put("ids/journals/id", mutate_bytes(random, b"0a1b2c3d"))
        try:
            found = run_dir.journal_id()
        except (ConfigError, Failure) as error:
            assert not isinstance(error, Failure) or error.code is ExitCode.CONFIGURATION
            return REFUSED
        assert len(found) == 8
        int(found, 16)
        return TAKEN

    return attempt


TARGETS = (
    Target("logs", _log, 200),
    Target("input logs", _inputs, 100),
    Target("tapes", _tapes, 80),
    Target("configuration file", _toml, 60),
    Target("environment", _environment, 200),
    Target("command line", _command_line, 200),
    Target("exchange.json", _exchange_json, 80),
    Target("settings.json", _settings_json, 60),
    Target("latch and crash marks", _latch, 60),
    Target("journal id", _journal_id, 100),
)
