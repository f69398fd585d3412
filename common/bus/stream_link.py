"""Stream link: one stream of one process, whose events it tells in the terms of our inputs.

It imports the WebSocket library, which costs tenths of a second at each restart: only processes with streams import it.
"""

from __future__ import annotations

from collections.abc import Callable

from common import effects
from common.effects import Input
from common.endpoints import Endpoints
from common.kalshi import stream as wire
from common.kalshi.auth import Signer


class StreamLink:
    """A stream that is kept connected for as long as `run` runs."""

    def __init__(
        self, name: str, hosts: Endpoints, signer: Signer, silence_s: float, tell: Callable[[Input], None]
    ) -> None:
        self._name = name
        self._tell = tell
        self._stream = wire.Stream(hosts.stream_url, signer, self._hear, wire.StreamSettings(silence_s=silence_s))

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        await self._stream.run()

    def send(self, data: bytes, connection: int) -> None:
        """Send a command on that connection."""
        self._stream.send(data, connection)

    def reset(self, reason: str) -> None:
        """Drop the connection, or end the pause between two tries."""
        self._stream.reset(reason)

    def _hear(self, event: wire.StreamEvent) -> None:
        """Pass a stream's news on; the next turn of the shell takes all that one read of the socket brought."""
        match event:
            case wire.StreamFrame(connection, data, mono_ns, wall_ns):
                self._tell(
                    effects.StreamFrame(
                        stream=self._name, connection=connection, data=data, received_mono_ns=mono_ns,
                        received_wall_ns=wall_ns,
                    )
                )  # fmt: skip
            case wire.StreamAlive(connection, round_trip_ns):
                self._tell(effects.StreamAlive(stream=self._name, connection=connection, round_trip_ns=round_trip_ns))
            case wire.StreamUp(connection):
                self._tell(effects.StreamUp(stream=self._name, connection=connection))
            case wire.StreamDown(reason, status):
                self._tell(effects.StreamDown(stream=self._name, reason=reason, status=status))
