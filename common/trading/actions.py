"""Action tables: what a policy may choose from, by index and by name.

A table is versioned and named; a model is trained on one table and refuses to run on another. Index 0 is always HOLD.
"""

from __future__ import annotations

import hashlib

import msgspec

from common.messages import ActionKind, Pricing, Purpose, Side
from common.units import QTY_ONE_E2


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy decided for one market at one moment, and why."""

    kind: ActionKind
    reason: str
    side: Side | None = None
    qty_e2: int = 0
    pricing: Pricing | None = None
    purpose: Purpose = Purpose.OPEN


def hold(reason: str) -> Choice:
    """Return the choice to do nothing."""
    return Choice(kind=ActionKind.HOLD, reason=reason)


class ActionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an action table."""

    name: str
    kind: ActionKind
    side: Side | None = None
    qty_e2: int = 0
    pricing: Pricing | None = None


class ActionTable(msgspec.Struct, frozen=True, kw_only=True):
    """The actions of a policy, in the order of their indices."""

    name: str
    version: int
    rows: tuple[ActionRow, ...]

    @property
    def layout(self) -> str:
        """Name, version and a digest of the rows: equal only for equal tables."""
        digest = hashlib.sha256(msgspec.json.encode(self.rows)).hexdigest()[:12]
        return f"{self.name}-v{self.version}-{digest}"


def _sized(size: int) -> tuple[ActionRow, ...]:
    qty_e2 = size * QTY_ONE_E2
    return tuple(
        ActionRow(
            name=f"{verb}_{pricing.value}_{size}", kind=ActionKind.PLACE, side=side, qty_e2=qty_e2, pricing=pricing
        )
        for verb, side in _VERBS
        for pricing in (Pricing.AGGRESSIVE, Pricing.PASSIVE)
    )


_VERBS: tuple[tuple[str, Side], ...] = (("buy", "bid"), ("sell", "ask"))

FREE = ActionTable(name="free", version=1, rows=(ActionRow(name="hold", kind=ActionKind.HOLD),))
"""For rule policies, which build their choices themselves."""

TOUCH = ActionTable(
    name="touch",
    version=1,
    rows=(
        ActionRow(name="hold", kind=ActionKind.HOLD),
        ActionRow(name="cancel", kind=ActionKind.CANCEL),
        *_sized(1),
        *_sized(5),
    ),
)
"""For models: one side, one pricing, two sizes."""

TABLES = {table.name: table for table in (FREE, TOUCH)}
