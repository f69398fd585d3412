"""A hub over a small exchange, and clients that listen to it: the WebSocket's meaning without sockets."""

from __future__ import annotations

import json
from typing import Any

from common.paper import stream_commands
from common.paper.hub import Hub
from common.paper.sessions import StreamOptions
from tests.paper.kit import Floor

Json = dict[str, Any]


class Listener:
    """One client."""

    def __init__(self, stage: Stage, account: str, subaccount: int | None) -> None:
        self.stage = stage
        self.session = stage.hub.open(account, f"user-{account}", subaccount)

    def say(self, cmd: str, **params: Any) -> None:
        """Send a command with id 1."""
        message = json.dumps({"id": 1, "cmd": cmd, "params": params})
        stream_commands.handle(self.stage.hub, self.session, message, self.stage.floor.now_ns)

    def subscribe(self, *channels: str, **params: Any) -> None:
        """Subscribe and forget the acknowledgements and initial data."""
        self.say("subscribe", channels=list(channels), **params)
        self.frames()

    def frames(self) -> list[Json]:
        """Return what was sent since the last call."""
        frames = []
        while taken := self.session.take():
            frames += [json.loads(frame) for frame in taken]
        return frames

    def bodies(self, kind: str) -> list[Json]:
        """Return the bodies of the frames of one type that were sent since the last call."""
        return [frame["msg"] for frame in self.frames() if frame["type"] == kind]


class Stage:
    """An exchange with a hub."""

    def __init__(self, options: StreamOptions | None = None, **floor: Any) -> None:
        self.floor = Floor(**floor)
        self.hub = Hub(self.floor.exchange, options)

    def listen(self, account: str = "ann", subaccount: int | None = None) -> Listener:
        """Connect a client."""
        return Listener(self, account, subaccount)

    def publish(self) -> None:
        """Send what the exchange has to tell."""
        self.hub.publish(self.floor.exchange.drain(), self.floor.now_ns)

    def wait(self, seconds: float) -> None:
        """Let time pass, also for the hub."""
        self.floor.wait(seconds)
        self.publish()
