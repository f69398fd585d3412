"""`trader config`"""

from __future__ import annotations

import click
import msgspec

from common.cli.context import Context


@click.command(name="config")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def command(context: Context, as_json: bool) -> None:
    """Print every setting, its effective value and where it comes from. Key ids are never shown.

    Example: trader --set limits.order_cost_usd=5 config
    """
    config = context.load()
    rows = config.rows()
    if as_json:
        settings = {name: {"value": value, "origin": origin} for name, value, origin in rows}
        known = {"run_dir": str(config.run_dir), "file": str(config.file or ""), "settings": settings}
        click.echo(msgspec.json.encode(known))
        return
    click.echo(f"run directory  {config.run_dir}\nfile           {config.file or '(none)'}\n")
    widest_name = max(len(name) for name, _, _ in rows)
    widest_value = max(len(value) for _, value, _ in rows)
    for name, value, origin in rows:
        click.echo(f"{name:<{widest_name}}  {value:<{widest_value}}  {origin}")
