"""`zmq tap`"""

from __future__ import annotations

import shutil
import signal
import sys
import time

import click
import msgspec

from common import clock
from common.bus.frames import REPLY_ECHO, REQUEST_ECHO
from common.bus.tap import Heard, Tap
from common.cli.context import Context
from common.cli.tap_text import words
from common.clock import NS_PER_MS, NS_PER_S, NS_PER_US, Now, iso
from common.errors import ExitCode, Failure
from common.registry import PROCESSES, TOPICS

_WIDTH = 400  # where nobody knows how wide the output is
_REPORT_S = 5.0  # between lines about losses


@click.command(name="tap")
@click.argument("patterns", metavar="[PATTERN...]", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: the envelope with the whole body.")
@click.option("-n", "count", type=click.IntRange(min=1), help="Stop after so many messages.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), help="Stop after so many seconds.")
@click.pass_obj
def command(
    context: Context, patterns: tuple[str, ...], as_json: bool, count: int | None, timeout_s: float | None
) -> None:
    """Print messages of the bus as they come, state first as it is retained.

    A PATTERN is a topic (order), or a subject's beginning (book/KXBTC); none means everything. `request/` and
    `reply/` show what processes ask each other. When it cannot keep up it loses messages, says how many, and slows
    nobody. A line shows what fits, with units; --json shows everything, as it is. With -n it exits with 5 when
    --timeout comes first.

    Example: zmq tap --json order fill | jq .body
    """
    prefixes = [_prefix(pattern) for pattern in patterns] or [""]
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends it without a word
    run_dir = context.find()
    if not any(run_dir.living(process) for process in PROCESSES):
        click.echo(f"zmq tap: nothing runs in {run_dir.root} yet; waiting for it", err=True)
    with Tap(run_dir, prefixes) as tap:
        try:
            printed = _print(tap, as_json, count, timeout_s)
        except KeyboardInterrupt:
            printed = count = 0
        _report(tap)
    if count is not None and printed < count:
        raise Failure(f"{printed} of {count} messages came within {timeout_s:g} s", ExitCode.TIMED_OUT)


def _prefix(pattern: str) -> str:
    """Return the beginning of the subjects that a pattern means."""
    topic, slash, _ = pattern.partition("/")
    known = (*TOPICS, REQUEST_ECHO, REPLY_ECHO)
    if topic not in known:
        raise click.BadParameter(f"{pattern!r}: there is no topic {topic!r}; there are {', '.join(known)}")
    return pattern if slash else f"{pattern}/"


def _print(tap: Tap, as_json: bool, count: int | None, timeout_s: float | None) -> int:
    """Print until enough came or time is up; return how many were printed."""
    printed = 0
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    started_s = reported_s = time.monotonic()
    reported = (0, 0)
    while count is None or printed < count:
        now_s = time.monotonic()
        left_s = _REPORT_S if timeout_s is None else started_s + timeout_s - now_s
        if left_s <= 0:
            break
        if now_s - reported_s > _REPORT_S and reported != (tap.lost, tap.bad_frames):
            reported_s, reported = now_s, (tap.lost, tap.bad_frames)
            _report(tap)
        if not tap.wait(round(min(left_s, _REPORT_S) * 1_000)):
            continue
        now = clock.read()
        for heard in tap.receive()[: None if count is None else count - printed]:
            sys.stdout.write((json_line(heard, now) if as_json else line(heard, now, width)) + "\n")
            printed += 1
        sys.stdout.flush()
    return printed


def _report(tap: Tap) -> None:
    if tap.lost or tap.bad_frames:
        click.echo(f"zmq tap: {tap.lost} messages lost, {tap.bad_frames} unreadable", err=True)


def line(heard: Heard, now: Now, width: int) -> str:
    """Return a message for a person in one line: time, subject, age, body."""
    topic, key, header, body = heard.frame
    age_ns = now.mono_ns - header.sent_ns
    age = f"{age_ns / NS_PER_S:.1f}s" if age_ns > NS_PER_S else f"{age_ns / NS_PER_MS:.1f}ms"
    lost = f" (lost {heard.lost})" if heard.lost else ""
    sent = iso(now.wall_ns - age_ns)[11:23]
    text = f"{sent} {topic}{f'/{key}' if key else ''} {age}{lost} {words(topic, key, body, width)}"
    return text if len(text) <= width else f"{text[: width - 1]}…"


def json_line(heard: Heard, now: Now) -> str:
    """Return a message as its envelope."""
    topic, key, header, body = heard.frame
    envelope = {
        "topic": topic,
        "key": key,
        "seq": header.seq,
        "number": header.number,
        "publisher": header.publisher,
        "session": header.session,
        "sent_ns": header.sent_ns,
        "age_us": (now.mono_ns - header.sent_ns) // NS_PER_US,
        "lost": heard.lost,
        "body": _decoded(body),
    }
    return msgspec.json.encode(envelope).decode()


def _decoded(body: bytes) -> object:
    """Return a body as JSON knows it; one that is no JSON as a text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
