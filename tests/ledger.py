"""The operator of a running exchange: asks for faults, acts, and reads the ledger, which knows what really happened."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from common.paper.ledger import Ledger, LedgerAccount

Json = dict[str, Any]


class Operator:
    """Talks to the control endpoint that an exchange's ready line names; a connection for each call."""

    def __init__(self, ready: Mapping[str, Any]) -> None:
        self._address = urlsplit(ready["control"])
        self._token = Path(ready["control_token_path"]).read_text(encoding="ascii").strip()

    @property
    def netloc(self) -> str:
        """Return host and port of the exchange."""
        return str(self._address.netloc)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
        """Ask for a path below the control endpoint; return status and body."""
        connection = http.client.HTTPConnection(self._address.netloc, timeout=20)
        given = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        try:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, self._address.path + path, data, given)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        status, data = self.call(method, path, body)
        assert status < 300, (status, data)
        return json.loads(data)

    def fault(self, kind: str, **table: Any) -> int:
        """Put a rule in force; return its number."""
        return int(self._ask("POST", "/faults", {"kind": kind, **table})["id"])

    def act(self, kind: str, **table: Any) -> Json:
        """Do an action, or schedule it; it must not be refused."""
        row: Json = self._ask("POST", "/actions", {"kind": kind, **table})
        return row

    def remove(self, number: int) -> None:
        """Take one fault out of force."""
        self._ask("DELETE", f"/faults/{number}")

    def clear(self) -> None:
        """Take all faults out of force."""
        self._ask("DELETE", "/faults")

    def counts(self) -> dict[str, int]:
        """Return how often each kind of fault took effect in this life of the exchange."""
        counts: dict[str, int] = self._ask("GET", "/faults")["counts"]
        return counts

    def state(self) -> Json:
        """Return the exchange's clocks and sizes."""
        state: Json = self._ask("GET", "/state")
        return state

    def ledger(self, account: str = "") -> Ledger:
        """Return the truth, of all accounts or of one."""
        status, data = self.call("GET", f"/ledger?account={account}" if account else "/ledger")
        assert status == 200, (status, data)
        return msgspec.json.decode(data, type=Ledger)

    def account(self, name: str = "default") -> LedgerAccount:
        """Return the truth about one account."""
        (account,) = self.ledger(name).accounts
        return account
