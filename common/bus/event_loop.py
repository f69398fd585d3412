"""Event loop: drives the shell of a process that speaks with the exchange, on asyncio (uvloop).

It watches the descriptor of every socket. Such a descriptor is edge-triggered and tells of more than messages: it
becomes readable once, and any call on its socket may use that up. So after every turn, which may have sent on any
socket, all of them are asked again, and another turn follows if one has something.
"""

from __future__ import annotations

import asyncio

import uvloop

from common.bus import sockets
from common.bus.link import Link
from common.bus.poll_loop import STOP_SIGNALS, Stop
from common.bus.shell import Shell
from common.effects import Start

_MS_PER_S = 1_000


def event_loop(shell: Shell, start: Start, link: Link) -> None:
    """Run a shell with a link to the exchange until a signal asks to stop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Driver(shell, link).run(start))


class _Driver:
    """Turns a shell on the running event loop."""

    def __init__(self, shell: Shell, link: Link) -> None:
        self._shell = shell
        self._link = link
        self._news = asyncio.Event()
        self._stop = Stop()
        self._failure: BaseException | None = None

    async def run(self, start: Start) -> None:
        """Turn until a signal asks to stop; raise what the core, the shell or the link raised."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._asked_to_stop)
        descriptors = [sockets.descriptor(door) for door in self._shell.sockets]
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._news.set)
        self._link.attach(self._news.set, self._failed)
        try:
            self._shell.start(start)
            while not self._stop.is_set:
                await self._turn(loop)
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            await self._link.close()

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._news.clear()
        self._shell.turn(self._shell.wait(0))
        if self._shell.wait(0):
            await asyncio.sleep(0)  # the link's tasks have their turn, too
        else:
            timer = loop.call_later(self._shell.idle_ms() / _MS_PER_S, self._news.set)
            await self._news.wait()
            timer.cancel()
        if self._failure is not None:
            raise self._failure

    def _asked_to_stop(self) -> None:
        self._stop.set()
        self._news.set()

    def _failed(self, error: BaseException) -> None:
        self._failure = error
        self._news.set()
