"""Poll loop: drives the shell of a process that does not speak with the exchange; waits in ZeroMQ's own poll."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from common.bus.shell import Shell
from common.effects import Start

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """Set when a signal asks to stop."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, *_: object) -> None:
        """Ask to stop."""
        self.is_set = True


def poll_loop(shell: Shell, start: Start) -> None:
    """Run a shell until a signal asks to stop."""
    with stopped_by_signals(shell) as stop:
        shell.start(start)
        while not stop.is_set:
            shell.turn(shell.wait(shell.idle_ms()))


@contextmanager
def stopped_by_signals(shell: Shell) -> Iterator[Stop]:
    """Yield what a signal sets; it also ends the shell's waiting."""
    stop = Stop()
    with _woken_by_signals(stop) as descriptor:
        shell.watch(descriptor)
        yield stop


@contextmanager
def _woken_by_signals(stop: Stop) -> Iterator[int]:
    """Let the signals set `stop`; yield a descriptor that becomes readable with them, to end a poll that waits."""
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        handlers = [signal.signal(number, stop.set) for number in STOP_SIGNALS]
        yield reader.fileno()
        for number, handler in zip(STOP_SIGNALS, handlers, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
