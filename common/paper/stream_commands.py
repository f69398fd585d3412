"""stream_commands: what a client may say on its WebSocket, and what it is answered.

`handle` carries out one text message. A message that is no JSON object or has a value of the wrong type is error 1; a
command is checked whole before any of it is done, so a refused one has no effect. Of a `subscribe` with several
channels all acknowledgements go out first, then the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from common.paper.frames import text
from common.paper.hub import Hub
from common.paper.sessions import CHANNELS, Channel, Session, StreamError, Subscription

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Params(msgspec.Struct, frozen=True):
    """The parameters of all commands; which of them count depends on the command. null is as good as absent."""

    channels: list[str] | None = None
    market_ticker: str | None = None
    market_tickers: list[str] | None = None
    market_id: str | None = None
    market_ids: list[str] | None = None
    send_initial_snapshot: bool | None = None
    skip_ticker_ack: bool | None = None
    use_yes_price: bool | None = None
    sid: _Count | None = None
    sids: list[_Count] | None = None
    action: str | None = None


class Envelope(msgspec.Struct, frozen=True):
    """One command; id 0 is no id."""

    id: _Count = 0
    cmd: str = ""
    params: Params | None = None


class _Numbered(msgspec.Struct, frozen=True):
    id: _Count = 0


_decode = msgspec.json.Decoder(Envelope).decode
_decode_id = msgspec.json.Decoder(_Numbered).decode


class Refused(Exception):
    """A command is answered with an error; `about` is the subscription that the error is scoped to."""

    def __init__(self, code: StreamError, about: Subscription | None = None, tickers: Sequence[str] = ()) -> None:
        super().__init__(code.name)
        self.code = code
        self.about = about
        self.tickers = tickers


def handle(hub: Hub, session: Session, message: bytes | str, now_ns: int) -> None:
    """Carry out one message of a client."""
    hub.now_ns = now_ns
    if not session.take_command(now_ns):
        session.fail(StreamError.TOO_MANY_REQUESTS, now_ns)
        return
    try:
        command = _parse(message, session.options.command_bytes)
    except ValueError:
        session.fail(StreamError.UNABLE_TO_PROCESS, now_ns, _id_of(message, session.options.command_bytes))
        return
    try:
        _carry_out(hub, session, command)
    except Refused as refused:
        session.fail(refused.code, now_ns, command.id, refused.about, refused.tickers)


def _parse(message: bytes | str, bytes_max: int) -> Envelope:
    """Decode a message; raise ValueError (which msgspec's errors are) for anything that is not a command."""
    if len(message) > bytes_max:
        raise ValueError("too long")
    try:
        return _decode(message)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _id_of(message: bytes | str, bytes_max: int) -> int:
    """Return the id of a message that is no command, 0 if it has none that can be read."""
    if len(message) > bytes_max:
        return 0
    try:
        return _decode_id(message).id
    except (ValueError, RecursionError):
        return 0


def _carry_out(hub: Hub, session: Session, command: Envelope) -> None:
    if command.cmd == "list_subscriptions":
        rows = [{"channel": each.channel.name, "sid": each.sid} for each in session.subscriptions.values()]
        session.reply("ok", hub.now_ns, command.id, text(rows))
        return
    if command.cmd not in ("subscribe", "unsubscribe", "update_subscription"):
        raise Refused(StreamError.UNKNOWN_COMMAND)
    if command.params is None:
        raise Refused(StreamError.PARAMS_REQUIRED)
    match command.cmd:
        case "subscribe":
            _subscribe(hub, session, command.id, command.params)
        case "unsubscribe":
            _unsubscribe(hub, session, command.id, command.params)
        case _:
            _update(hub, session, command.id, command.params)


# --- subscribe ---


def _subscribe(hub: Hub, session: Session, command_id: int, params: Params) -> None:
    if not params.channels:
        raise Refused(StreamError.CHANNELS_REQUIRED)
    if any(name not in CHANNELS for name in params.channels):
        raise Refused(StreamError.UNKNOWN_CHANNEL)
    channels = [CHANNELS[name] for name in params.channels]
    filters = [_filter_of(hub, channel, params) for channel in channels]
    use_yes_price = bool(params.use_yes_price)
    for channel in channels:
        known = session.find(channel)
        if known is not None and channel.name == "orderbook_delta" and known.use_yes_price != use_yes_price:
            raise Refused(StreamError.INVALID_PARAMETER, known)  # one subscription has one price leg
    _check_limit(hub, session, sum(len(tickers or ()) for tickers in filters))
    added = [
        _join(hub, session, command_id, channel, tickers, params)
        for channel, tickers in zip(channels, filters, strict=True)
    ]
    for subscription, tickers in added:
        _send_initial(hub, subscription, tickers, bool(params.send_initial_snapshot))


def _join(
    hub: Hub, session: Session, command_id: int, channel: Channel, tickers: list[str] | None, params: Params
) -> tuple[Subscription, list[str]]:
    """Open a subscription or widen the one that the channel has; acknowledge, and return it with its new markets."""
    known = session.find(channel)
    if known is not None:
        new = _widen(hub, known, tickers)
        _acknowledge(hub, known, command_id)
        return known, new
    subscription = session.open(channel)
    subscription.use_yes_price = bool(params.use_yes_price)
    subscription.is_quiet = bool(params.skip_ticker_ack)
    subscription.by_id = params.market_id is not None or params.market_ids is not None
    hub.set_filter(subscription, None if tickers is None else set(tickers))
    body = text({"channel": channel.name, "sid": subscription.sid})
    session.reply("subscribed", hub.now_ns, command_id, body)
    return subscription, list(hub.exchange.markets) if tickers is None else tickers


def _widen(hub: Hub, subscription: Subscription, tickers: list[str] | None) -> list[str]:
    """Add markets to a subscription's filter (None: all there are); return those that it did not have."""
    if subscription.tickers is None:
        return []
    had = subscription.tickers
    wanted = list(hub.exchange.markets) if tickers is None else tickers
    hub.set_filter(subscription, None if tickers is None else had | set(tickers))
    return [ticker for ticker in wanted if ticker not in had]


def _send_initial(hub: Hub, subscription: Subscription, tickers: list[str], with_tickers: bool) -> None:
    """Send the state of newly added markets: books always, tickers when asked for."""
    is_book = subscription.channel.name == "orderbook_delta"
    if not is_book and not (with_tickers and subscription.channel.name == "ticker"):
        return
    for ticker in tickers:
        market = hub.exchange.markets[ticker]
        if is_book:
            hub.send_snapshot(subscription, market)
        else:
            hub.send_ticker(subscription, market)


def _filter_of(hub: Hub, channel: Channel, params: Params) -> list[str] | None:
    """Return the markets that a channel is asked for, each once, in the order asked for; None: no filter."""
    if channel.filter == "none":
        return None
    tickers = _markets_of(hub, channel, params)
    if not tickers and channel.filter == "required":
        raise Refused(StreamError.MARKET_TICKER_REQUIRED)
    return tickers


def _markets_of(hub: Hub, channel: Channel, params: Params, about: Subscription | None = None) -> list[str] | None:
    """Return the markets that the parameters name; refuse two ways of naming, unknown markets and empty lists."""
    given = [
        value
        for value in (params.market_ticker, params.market_tickers, params.market_id, params.market_ids)
        if value is not None
    ]
    if not given:
        return None
    if len(given) > 1:
        raise Refused(StreamError.INVALID_PARAMETER, about)
    names = [given[0]] if isinstance(given[0], str) else given[0]
    if not names:
        raise Refused(StreamError.MARKET_TICKER_REQUIRED, about)
    if params.market_id is not None or params.market_ids is not None:
        if not channel.takes_ids:
            code = StreamError.MARKET_TICKER_REQUIRED if channel.filter == "required" else StreamError.INVALID_PARAMETER
            raise Refused(code, about)
        by_id = {market.market_id: ticker for ticker, market in hub.exchange.markets.items()}
        names = [by_id.get(name, name) for name in names]
    if unknown := [name for name in names if name not in hub.exchange.markets]:
        raise Refused(StreamError.INVALID_PARAMETER, about, unknown[:100])
    return list(dict.fromkeys(names))


def _check_limit(hub: Hub, session: Session, more: int, about: Subscription | None = None) -> None:
    if session.market_count() + more > hub.options.markets_per_session:
        raise Refused(StreamError.MARKET_LIMIT, about)


def _acknowledge(hub: Hub, subscription: Subscription, command_id: int) -> None:
    """Answer `ok` with the whole market list of a subscription, sorted."""
    body: dict[str, list[str]] = {}
    if subscription.tickers is not None and not subscription.is_quiet:
        tickers = sorted(subscription.tickers)
        if subscription.by_id:
            body["market_ids"] = [hub.exchange.markets[ticker].market_id for ticker in tickers]
        else:
            body["market_tickers"] = tickers
    seq = subscription.next_seq() if hub.options.ok_consumes_seq else None
    subscription.session.reply("ok", hub.now_ns, command_id, text(body), subscription, seq)


# --- unsubscribe and update_subscription ---


def _unsubscribe(hub: Hub, session: Session, command_id: int, params: Params) -> None:
    if not params.sids:
        raise Refused(StreamError.SIDS_REQUIRED)
    for sid in params.sids:
        subscription = session.subscriptions.get(sid)
        if subscription is None:
            session.fail(StreamError.UNKNOWN_SID, hub.now_ns, command_id)
            continue
        hub.remove(subscription)
        seq = subscription.next_seq() if hub.options.ok_consumes_seq else max(1, subscription.seq)
        session.reply("unsubscribed", hub.now_ns, command_id, about=subscription, seq=seq)


def _update(hub: Hub, session: Session, command_id: int, params: Params) -> None:
    subscription = _one_subscription(session, params)
    action = _action_of(subscription, params)
    tickers = _markets_of(hub, subscription.channel, params, subscription)
    if tickers is None:
        raise Refused(StreamError.MARKET_TICKER_REQUIRED, subscription)
    if action == "get_snapshot":
        for ticker in tickers:
            hub.send_snapshot(subscription, hub.exchange.markets[ticker], command_id)
        return
    if action == "add_markets":
        _check_limit(hub, session, len(tickers), subscription)
        new = _widen(hub, subscription, tickers)
        _acknowledge(hub, subscription, command_id)
        _send_initial(hub, subscription, new, bool(params.send_initial_snapshot))
        return
    if subscription.tickers is None:  # "all but these" cannot be said
        raise Refused(StreamError.INVALID_PARAMETER, subscription)
    hub.set_filter(subscription, subscription.tickers - set(tickers))
    _acknowledge(hub, subscription, command_id)


def _one_subscription(session: Session, params: Params) -> Subscription:
    sids = ([] if params.sid is None else [params.sid]) + (params.sids or [])
    if len(sids) != 1:
        raise Refused(StreamError.ONE_SID_REQUIRED)
    subscription = session.subscriptions.get(sids[0])
    if subscription is None:
        raise Refused(StreamError.UNKNOWN_SID)
    return subscription


def _action_of(subscription: Subscription, params: Params) -> str:
    if not params.action:
        raise Refused(StreamError.ACTION_REQUIRED, subscription)
    possible = {"add_markets", "delete_markets"} if subscription.channel.filter != "none" else set()
    if subscription.channel.name == "orderbook_delta":
        possible.add("get_snapshot")
    if params.action not in possible:
        raise Refused(StreamError.UNSUPPORTED_ACTION, subscription)
    return params.action
