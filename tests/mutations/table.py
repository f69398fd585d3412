"""All mutations, by name."""

from __future__ import annotations

from tests.mutations.money_bugs import MONEY_BUGS
from tests.mutations.order_bugs import ORDER_BUGS
from tests.mutations.state_bugs import STATE_BUGS

MUTATIONS = {mutation.name: mutation for mutation in (*ORDER_BUGS, *MONEY_BUGS, *STATE_BUGS)}
