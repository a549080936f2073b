"""What the databases say after a run: the proof that money and stock add up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from examples.database import rows


@dataclass(frozen=True)
class Books:
    """Read from the SQLite files; amounts in cents."""

    charged: int
    refunded: int
    kept: int
    shipped: int
    """Orders with a label that was not cancelled."""
    shipped_amount: int
    """Charged for those."""
    pieces_left: int
    pieces_sold: int
    asked_again: int
    """Charges that were asked for more than once."""
    charged_twice: int
    """Orders with more than one charge in the ledger."""
    mails: int

    def faults(self, pieces: int, fulfilled: int) -> list[str]:
        """What does not add up, for a warehouse that had so many pieces and so many fulfilled orders."""
        checks = {
            "what was kept is what was charged less what was given back": self.kept == self.charged - self.refunded,
            "what was kept is the price of what was shipped": self.kept == self.shipped_amount,
            "each fulfilled order was shipped": self.shipped == fulfilled,
            "each fulfilled order has its mail": self.mails == fulfilled,
            "no piece was lost": self.pieces_left + self.pieces_sold == pieces,
            "no order was charged twice": self.charged_twice == 0,
        }
        return [claim for claim, holds in checks.items() if not holds]


def read(directory: Path) -> Books:
    payment, inventory, shipping = (directory / f"{name}.db" for name in ("payment", "inventory", "shipping"))
    charged = dict(rows(payment, "SELECT order_id, amount FROM entries WHERE account = 'shop' AND amount > 0"))
    shipped = [order for (order,) in rows(shipping, "SELECT order_id FROM labels WHERE state = 'sold'")]
    return Books(
        charged=_one(payment, "SELECT SUM(amount) FROM entries WHERE account = 'shop' AND amount > 0"),
        refunded=_one(payment, "SELECT SUM(amount) FROM entries WHERE account = 'customer' AND amount > 0"),
        kept=_one(payment, "SELECT SUM(amount) FROM entries WHERE account = 'shop'"),
        shipped=len(shipped),
        shipped_amount=sum(charged.get(order, 0) for order in shipped),
        pieces_left=_one(inventory, "SELECT SUM(pieces) FROM stock"),
        pieces_sold=_one(inventory, "SELECT SUM(pieces) FROM reservations WHERE state = 'reserved'"),
        asked_again=_one(
            payment,
            "SELECT COUNT(*) FROM (SELECT key FROM requests WHERE path = '/charge' GROUP BY key HAVING COUNT(*) > 1)",
        ),
        charged_twice=_one(
            payment,
            "SELECT COUNT(*) FROM (SELECT order_id FROM entries WHERE account = 'shop' AND amount > 0 "
            "GROUP BY order_id HAVING COUNT(*) > 1)",
        ),
        mails=sum(1 for _ in (directory / "mail").glob("*.eml")),
    )


def _one(path: Path, query: str) -> int:
    return int(rows(path, query)[0][0] or 0)
