"""kibray-ops inventory check-shortages: which stock is below its threshold, told once a day."""

from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, or_, select, type_coerce

from kibray_ops import alerts
from kibray_ops.alerts import Notice, Topic
from kibray_ops.catalog import table_of
from kibray_ops.job import WARNING, Outcome, Problem, Run, printable, warnings
from kibray_ops.messages import NAMED, Shortage
from kibray_ops.models.kibray.inventory import InventoryItem, InventoryLocation, ProjectInventory
from kibray_ops.models.types import LARGEST, Amount
from kibray_ops.payroll import trimmed

ITEMS, LOCATIONS, STOCK = table_of(InventoryItem), table_of(InventoryLocation), table_of(ProjectInventory)
SMALLEST = Decimal("0.01")
TOPIC: Topic[list[Shortage]] = Topic(
    kind="inventory_shortage",
    notification_type="task_alert",
    related_object_type="inventory",
    one=lambda texts, shortages: texts.low_stock(shortages),
)


def check_shortages(run: Run) -> Outcome:
    """Tell admins which stock is below its threshold.

    An item's threshold is its own, else the default one; 0 counts as none. What lies at all locations together counts
    as its stock. Every admin gets one summary a day, as long as something is missing.
    """
    rows = [_row(found) for found in run.session.execute(_short())]
    rows.sort(key=lambda row: (row["have"] / row["need"], -row["short"], row["item"], row["item_id"]))
    people, missing = alerts.admins(run, "stock")
    shortages = [Shortage(row["item"], row["unit"], row["have"], row["need"]) for row in rows]
    notices = [Notice(tuple(people.values()), 0, run.business_date, shortages, "/inventory/")] if shortages else []
    planned = alerts.plan(run, TOPIC, notices)
    if not run.dry_run:
        alerts.tell(run, planned)
    unwatched = [_called(found) for found in run.session.execute(_unwatched())]
    return Outcome(
        result={
            "date": run.business_date,
            "low_stock_count": len(rows),
            "items_checked": run.session.execute(_checked()).scalar_one(),
            "without_threshold": len(unwatched),
            **planned.counts(),
        },
        rows=rows,
        problems=[*missing, *_odd_stock(run), *_no_threshold(unwatched)],
    )


def _need() -> ColumnElement[Any]:
    """Return the quantity below which an item is short; NULL where no threshold is set."""
    own, default = (ITEMS.c[name] for name in ("low_stock_threshold", "default_threshold"))
    return case(*((threshold.between(SMALLEST, LARGEST), threshold) for threshold in (own, default)))


def _is_watched() -> ColumnElement[bool]:
    """Return the condition for an item of which somebody wants to have enough."""
    return and_(ITEMS.c.active, ~ITEMS.c.no_threshold)


def _is_quantity() -> ColumnElement[bool]:
    """Return the condition for a quantity that one can count with: PostgreSQL's may be NaN."""
    return STOCK.c.quantity.between(-LARGEST, LARGEST)


def _short() -> Any:
    total = func.sum(case((_is_quantity(), STOCK.c.quantity), else_=0))
    stock = select(STOCK.c.item_id, total.label("total")).group_by(STOCK.c.item_id).subquery("stock")
    # Rounded: SQLite adds decimals up as binary fractions, where 0.7 + 0.1 + 0.2 is less than 1.
    have = func.round(func.coalesce(stock.c.total, 0), 2)
    return (
        select(
            ITEMS.c.id,
            ITEMS.c.name,
            ITEMS.c.category,
            ITEMS.c.unit,
            type_coerce(have, Amount(14)).label("have"),
            _need().label("need"),
        )
        .outerjoin(stock, stock.c.item_id == ITEMS.c.id)
        .where(_is_watched(), have < _need())
    )


def _checked() -> Any:
    return select(func.count()).select_from(ITEMS).where(_is_watched(), _need().is_not(None))


def _unwatched() -> Any:
    """Return the items without a threshold that are not exempt from having one."""
    return select(ITEMS.c.id, ITEMS.c.name).where(_is_watched(), _need().is_(None)).order_by(ITEMS.c.name, ITEMS.c.id)


def _called(found: Any) -> str:
    return printable(found.name) or f"item {found.id}"


def _row(found: Any) -> dict[str, Any]:
    return {
        "item_id": found.id,
        "item": _called(found),
        "category": printable(found.category),
        "unit": printable(found.unit),
        "have": found.have,
        "need": found.need,
        "short": found.need - found.have,
    }


def _no_threshold(names: list[str]) -> list[Problem]:
    if not names:
        return []
    some = f"{', '.join(names[:NAMED])}{f' and {len(names) - NAMED} more' if len(names) > NAMED else ''}"
    return [Problem(WARNING, "no_threshold", some, "without a threshold nobody hears when it runs out")]


def _odd_stock(run: Run) -> list[Problem]:
    """Return what nobody can have in stock: it counts as it stands where it is a number, else as 0."""
    quantity = case((_is_quantity(), STOCK.c.quantity))
    statement = (
        select(ITEMS.c.id, ITEMS.c.name, LOCATIONS.c.name.label("location"), STOCK.c.location_id, quantity)
        .join_from(STOCK, ITEMS, ITEMS.c.id == STOCK.c.item_id)
        .outerjoin(LOCATIONS, LOCATIONS.c.id == STOCK.c.location_id)
        .where(_is_watched(), or_(STOCK.c.quantity < 0, ~_is_quantity()))
        .order_by(ITEMS.c.name, STOCK.c.id)
    )
    odd = [
        (_called(found), f"{_said(found[-1])} at {printable(found.location or '') or f'location {found.location_id}'}")
        for found in run.session.execute(statement)
    ]
    return warnings("odd_stock", odd, "quantities")


def _said(quantity: Decimal | None) -> str:
    return "has a quantity that is no number, counted as 0," if quantity is None else f"has {trimmed(quantity)}"
