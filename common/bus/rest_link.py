"""Rest link: sends the calls of one process, each at most once, and tells what came of each.

It imports the HTTP library, which costs tenths of a second at each restart: only processes that call import it.
"""

from __future__ import annotations

from common import effects
from common.clock import NS_PER_S
from common.effects import RestFailure, RestReply
from common.endpoints import Endpoints
from common.kalshi.auth import Signer
from common.kalshi.outcomes import Answer
from common.kalshi.rest import RestClient, Timeouts
from common.settings import TimeoutSettings


class RestLink:
    """One client of the exchange's REST API, in the terms of our effects."""

    def __init__(self, hosts: Endpoints, signer: Signer, timeouts: TimeoutSettings) -> None:
        self._client = RestClient(
            hosts.rest_url, signer, write_timeouts=_write_timeouts(timeouts), read_timeouts=_read_timeouts(timeouts)
        )

    async def open(self) -> None:
        """Begin to use the network."""
        await self._client.__aenter__()

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.__aexit__(None, None, None)

    async def send(self, call: effects.RestCall) -> RestReply | RestFailure:
        """Send a call; return its one answer."""
        answer = await self._client.send(
            call.method,
            call.path,
            query=call.query,
            body=call.body,
            write=call.write,
            total_s=None if call.timeout_ns is None else call.timeout_ns / NS_PER_S,
            leave_by_mono_ns=call.leave_by_mono_ns,
        )
        if isinstance(answer, Answer):
            return RestReply(
                call_id=call.call_id,
                status=answer.status,
                body=answer.body,
                sent_mono_ns=answer.sent_mono_ns,
                received_mono_ns=answer.received_mono_ns,
                signed_wall_ns=answer.signed_wall_ns,
                date_wall_ns=answer.date_wall_ns,
            )
        return RestFailure(
            call_id=call.call_id,
            maybe_sent=answer.maybe_sent,
            reason=answer.reason,
            signed_wall_ns=answer.signed_wall_ns,
        )


def _write_timeouts(settings: TimeoutSettings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_ms / 1_000,
        write_s=settings.order_write_ms / 1_000,
        read_s=settings.order_read_ms / 1_000,
        total_s=settings.order_total_ms / 1_000,
    )


def _read_timeouts(settings: TimeoutSettings) -> Timeouts:
    return Timeouts(
        connect_s=settings.connect_ms / 1_000,
        write_s=settings.order_write_ms / 1_000,
        read_s=settings.account_read_ms / 1_000,
        total_s=settings.account_read_ms / 1_000,
    )
