"""All targets, by name."""

from __future__ import annotations

from tests.fuzz import parsers

TARGETS = {target.name: target for module in (parsers,) for target in module.TARGETS}
