"""`trader paper faults`, `fault` and `ledger`: what the operator of a paper exchange may ask of it."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import click
import msgspec

from common.cli.context import Context
from common.endpoints import read_paper_exchange
from common.errors import ExitCode, Failure
from common.paper.fault_catalogue import ACTION_KINDS, RULE_KINDS, AnyFault

_TIMEOUT_S = 10.0


@click.command(name="faults")
@click.option("--clear", is_flag=True, help="Take all faults out of force.")
@click.option("--json", "as_json", is_flag=True, help="Print what the exchange answers.")
@click.option("--kinds", is_flag=True, help="Print what can be asked for instead.")
@click.pass_obj
def faults(context: Context, clear: bool, as_json: bool, kinds: bool) -> None:
    """Print the faults that were asked for and how often each took effect.

    Example: trader paper faults --kinds
    """
    answer = _ask(context, "DELETE" if clear else "GET", "/faults")
    if as_json:
        click.echo(msgspec.json.encode(answer))
    elif kinds:
        click.echo("\n".join(f"{kind:<18} {text}" for kind, text in answer["kinds"].items()))
    else:
        click.echo("\n".join(_describe(row) for row in answer["faults"]) or "No fault was asked for.")


@click.command(name="fault")
@click.argument("kind", type=click.Choice([*RULE_KINDS, *ACTION_KINDS]), metavar="KIND")
@click.option("--param", "params", metavar="NAME=VALUE", multiple=True, help="One parameter of the fault.")
@click.pass_obj
def fault(context: Context, kind: str, params: tuple[str, ...]) -> None:
    """Have the paper exchange do something wrong, or something that operators and other people do.

    Example: trader paper fault stale_read --param ms=500 --param count=3
    """
    path = "/faults" if kind in RULE_KINDS else "/actions"
    click.echo(_describe(_ask(context, "POST", path, _table(kind, params))))


@click.command(name="ledger")
@click.option("--account", default="", help="Of this account alone.")
@click.pass_obj
def ledger(context: Context, account: str) -> None:
    """Print the exact truth of the paper exchange as JSON: accounts, orders, fills, cash, all in integers.

    Example: trader paper ledger --account default
    """
    query = f"?account={quote(account)}" if account else ""
    click.echo(msgspec.json.format(msgspec.json.encode(_ask(context, "GET", f"/ledger{query}"))))


def _table(kind: str, params: tuple[str, ...]) -> object:
    """Turn NAME=VALUE texts into the fault they mean; what makes no sense goes as it is, and the exchange says why."""
    table = {"kind": kind}
    for param in params:
        name, equals, value = param.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{param!r} is not NAME=VALUE", param_hint="--param")
        table[name] = value
    try:
        return msgspec.convert(table, cast("type[AnyFault]", AnyFault), strict=False)
    except msgspec.ValidationError:
        return table


def _describe(row: dict[str, Any]) -> str:
    table = {key: value for key, value in row["fault"].items() if key != "kind"}
    refused = f", refused {row['refused']} times ({row['refusal']})" if row["refused"] else ""
    words = " ".join(f"{key}={value}" for key, value in table.items() if value not in ("", None))
    return f"{row['id']:>4}  {row['state']:<7} {row['fault']['kind']:<18} {row['injected']} times{refused}  {words}"


def _ask(context: Context, method: str, path: str, table: Any = None) -> Any:
    """Ask the run directory's exchange; its refusal becomes the command's."""
    paper = read_paper_exchange(context.find().root)
    address = urlsplit(paper.control)
    headers = {
        "Authorization": f"Bearer {Path(paper.control_token_path).read_text(encoding='ascii').strip()}",
        "Content-Type": "application/json",
    }
    connection = HTTPConnection(address.netloc, timeout=_TIMEOUT_S)
    try:
        data = None if table is None else msgspec.json.encode(table)
        connection.request(method, address.path + path, data, headers)
        answer = connection.getresponse()
        status, body = answer.status, msgspec.json.decode(answer.read())
    except (OSError, HTTPException) as error:
        raise Failure(
            f"the paper exchange does not answer at {paper.control}: {error}", ExitCode.NOT_RUNNING
        ) from error
    finally:
        connection.close()
    if status >= 400:
        complaint = body["error"]
        raise Failure(complaint.get("details") or complaint["message"], ExitCode.REFUSED)
    return body
