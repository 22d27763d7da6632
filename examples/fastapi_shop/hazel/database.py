"""The shop's own database: products, and the orders of its customers."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

FILE = Path(__file__).parent.parent / "shop.db"

TABLES = """
CREATE TABLE products (id TEXT PRIMARY KEY, name TEXT, cents INTEGER);
CREATE TABLE orders (number INTEGER PRIMARY KEY, customer TEXT, product TEXT, status TEXT);
INSERT INTO products VALUES
    ('house', 'House blend, 500 g', 1250), ('sidamo', 'Sidamo, 250 g', 980), ('grinder', 'Hand grinder', 5900);
INSERT INTO orders VALUES
    (1001, 'ada', 'grinder', 'on its way, arrives on Friday'), (1002, 'ada', 'house', 'delivered'),
    (1003, 'bob', 'sidamo', 'being roasted');
"""


@contextmanager
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(FILE)) as opened, opened:
        opened.row_factory = sqlite3.Row
        yield opened


def create() -> None:
    """Make the database, unless it is there."""
    if not FILE.exists():
        with connection() as opened:
            opened.executescript(TABLES)


def products() -> list[sqlite3.Row]:
    with connection() as opened:
        return opened.execute("SELECT * FROM products ORDER BY cents").fetchall()


def orders(customer: str) -> list[dict[str, str]]:
    """The orders of a customer, the latest first."""
    query = """
        SELECT orders.number, products.name, orders.status FROM orders JOIN products ON products.id = orders.product
        WHERE orders.customer = ? ORDER BY orders.number DESC
        """
    with connection() as opened:
        rows = opened.execute(query, (customer,)).fetchall()
    return [{"order": f"HC-{row['number']}", "product": row["name"], "status": row["status"]} for row in rows]


def place_order(customer: str, product: str) -> None:
    """Raises `LookupError` for a product that there is none."""
    with connection() as opened:
        if opened.execute("SELECT 1 FROM products WHERE id = ?", (product,)).fetchone() is None:
            raise LookupError(product)
        opened.execute("INSERT INTO orders (customer, product, status) VALUES (?, ?, 'paid')", (customer, product))
