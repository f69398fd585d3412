"""The client's part of `scripts/bench`: from the bytes of a frame to a book that knows its best prices.

Beside our own path stands pykalshi's, and beside our socket aiohttp's: the same frames in the same run.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import struct
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from random import Random
from time import process_time_ns

import aiohttp
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from pykalshi.feed import _parse_message
from pykalshi.orderbook import OrderbookManager

from common.kalshi.auth import Signer
from common.kalshi.book_keeper import BookKeeper
from common.kalshi.parse import parse_frame
from common.kalshi.stream import Stream, StreamEvent, StreamFrame
from common.kalshi.types import BookDelta, BookSnapshot
from common.units import PRICE_ONE_E4, format_price, format_qty

TICKER = "KXBTC15M-26NOV221030-30"
MARKET_ID = "9b0f6b43-5b68-4f9f-9f02-9a2d1b8ac1b8"
DELTAS = 20_000
RECEIVED = 100_000
SIZES_E2 = (200, 1_000, 7_500, 40_000, 100, 5_000, 1_500, 12_345, 163)  # the real flow's favourites, some odd ones


def make_frames() -> list[bytes]:
    """Return a snapshot and deltas about as a busy market has them: half adds, 7 % of them new levels."""
    rng = Random(1)
    levels = {(side, cents * 100): 50_000 for side in ("yes", "no") for cents in range(1, 46)}
    sides = {
        side: [
            [format_price(price_e4), format_qty(qty_e2)] for (own, price_e4), qty_e2 in levels.items() if own == side
        ]
        for side in ("yes", "no")
    }
    names = f'"market_ticker":"{TICKER}","market_id":"{MARKET_ID}"'
    book = f'"yes_dollars_fp":{sides["yes"]},"no_dollars_fp":{sides["no"]}'.replace("'", '"')
    frames = [f'{{"type":"orderbook_snapshot","sid":1,"seq":1,"msg":{{{names},"clock":1,{book}}}}}']
    for number in range(2, DELTAS + 2):
        side, price_e4 = (
            rng.choice(list(levels)) if number < 3 else (rng.choice(("yes", "no")), rng.randrange(1, 46) * 100)
        )
        held_e2 = levels[side, price_e4]
        draw = rng.random()
        delta_e2 = (
            -held_e2 if draw < 0.07 else -min(held_e2, rng.choice(SIZES_E2)) if draw < 0.5 else rng.choice(SIZES_E2)
        )
        levels[side, price_e4] = held_e2 + delta_e2
        micros = rng.randrange(1_000_000)
        body = f'"clock":{number},"price_dollars":"{format_price(price_e4)}","delta_fp":"{format_qty(delta_e2)}"'
        times = f'"side":"{side}","ts":"2026-11-22T10:31:29.{micros:06d}Z","ts_ms":{1_795_343_489_000 + micros // 1000}'
        frames.append(
            f'{{"type":"orderbook_delta","sid":1,"seq":{number},"msg":{{{names},{body},{times}}}'
            f',"sending_ts_ms":1795343489958}}'
        )
    return [frame.encode() for frame in frames]


def parse_all(frames: list[bytes]) -> int:
    """Decode, validate, convert."""
    for data in frames:
        parse_frame(data, yes_prices=False)
    return len(frames)


def our_books(frames: list[bytes]) -> int:
    """Decode, validate, convert, check the sequence, apply, know the best prices."""
    keeper = BookKeeper()
    keeper.watch(TICKER)
    book = keeper.books[TICKER].book
    for data in frames:
        frame = parse_frame(data, yes_prices=False)
        assert isinstance(frame, BookDelta | BookSnapshot)
        if keeper.check(frame):
            keeper.apply(frame, 0, 0)
    assert not book.is_stale
    assert book.best_bid_e4 is not None
    assert book.best_bid_e4 < PRICE_ONE_E4
    return len(frames)


def their_books(frames: list[bytes]) -> int:
    """Do the same with pykalshi: parse, apply, ask for the best bid (it checks no sequence)."""
    book = OrderbookManager(TICKER)
    for data in frames:
        kind, _, message, _ = _parse_message(data)
        if kind == "orderbook_snapshot":
            book.apply_snapshot(message.yes_dollars, message.no_dollars)
        else:
            book.apply_delta(message.side, message.price_dollars, message.delta_fp)
        assert book.best_bid is not None
    return len(frames)


# --- the socket ---


def _serve(frames: list[bytes], port: Connection) -> None:
    """Send the frames in bursts to whoever connects, in a process of its own."""
    burst = b"".join(b"\x81\x7e" + struct.pack(">H", len(frame)) + frame for frame in frames[1:101])

    class Sender(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            self.transport, self.left, self.open = transport, RECEIVED // 100, True
            asyncio.get_running_loop().call_soon(self.resume_writing)

        def pause_writing(self) -> None:
            self.open = False

        def resume_writing(self) -> None:
            self.open = True
            while self.open and self.left:
                self.left -= 1
                self.transport.underlying_transport.write(burst)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()

    def accept(_request: WSUpgradeRequest) -> WSListener:
        return Sender()

    async def serve() -> None:
        server = await ws_create_server(accept, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(serve())


async def _receive_ours(url: str) -> int:
    """Receive through our stream; return CPU nanoseconds."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    done, seen, start_ns = asyncio.Event(), 0, 0

    def take(event: StreamEvent) -> None:
        nonlocal seen, start_ns
        if isinstance(event, StreamFrame):
            start_ns = start_ns or process_time_ns()
            seen += 1
            if seen == RECEIVED:
                done.set()

    task = asyncio.create_task(Stream(url, Signer("bench", pem), take).run())
    await done.wait()
    spent_ns = process_time_ns() - start_ns
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return spent_ns


async def _receive_aiohttp(url: str) -> int:
    """Receive with aiohttp; return CPU nanoseconds."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.receive()
        start_ns = process_time_ns()
        for _ in range(RECEIVED - 1):
            await socket.receive()
        return process_time_ns() - start_ns


def receive_ns(frames: list[bytes]) -> tuple[float, float]:
    """Return CPU nanoseconds per frame received, by our stream and by aiohttp, on the same loop (uvloop)."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(frames, theirs), daemon=True)
    server.start()
    try:
        url = f"ws://127.0.0.1:{ours.recv()}/trade-api/ws/v2"

        def best(receive: Callable[[str], Awaitable[int]]) -> float:
            return min(uvloop.run(receive(url)) for _ in range(3)) / RECEIVED  # type: ignore[arg-type]

        return best(_receive_ours), best(_receive_aiohttp)
    finally:
        server.terminate()
        server.join()
