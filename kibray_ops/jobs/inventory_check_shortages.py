"""kibray-ops inventory check-shortages: which stock is below its threshold, told once a day."""

from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, or_, select, type_coerce

from kibray_ops import alerts
from kibray_ops.alerts import Notice, Topic
from kibray_ops.catalog import some, table_of
from kibray_ops.job import WARNING, Outcome, Problem, Run, called, trimmed, warnings
from kibray_ops.messages import Shortage
from kibray_ops.models.kibray.inventory import InventoryItem, InventoryLocation, ProjectInventory
from kibray_ops.models.types import LARGEST, Amount, is_number
from kibray_ops.text import printable

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
    shortages = [_shortage(found) for found in run.session.execute(_short())]
    shortages.sort(key=lambda short: (short.have / short.need, -short.short, short.name, short.item_id))
    checked = run.session.execute(_checked()).scalar_one()
    unwatched = [called(found.name, found.id) for found in run.session.execute(_unwatched())]
    odd_stock = _odd_stock(run)
    people, missing = alerts.admins(run, "stock")
    planned = alerts.plan(run, TOPIC, [_notice(run, shortages, tuple(people.values()))] if shortages else [])
    if not run.dry_run:
        alerts.tell(run, planned)
    return Outcome(
        result={
            "date": run.business_date,
            "low_stock_count": len(shortages),
            "items_checked": checked,
            "without_threshold": len(unwatched),
            **planned.counts(),
        },
        rows=[
            {
                "item_id": short.item_id,
                "item": short.name,
                "category": short.category,
                "unit": short.unit,
                "have": short.have,
                "need": short.need,
                "short": short.short,
            }
            for short in shortages
        ],
        problems=[*missing, *odd_stock, *_no_threshold(unwatched)],
    )


def _need() -> ColumnElement[Any]:
    """Return the quantity below which an item is short; NULL where no threshold is set."""
    own, default = (ITEMS.c[name] for name in ("low_stock_threshold", "default_threshold"))
    return case(*((threshold.between(SMALLEST, LARGEST), threshold) for threshold in (own, default)))


def _is_watched() -> ColumnElement[bool]:
    """Return the condition for an item of which somebody wants to have enough."""
    return and_(ITEMS.c.active, ~ITEMS.c.no_threshold)


def _quantity() -> ColumnElement[Any]:
    """Return what lies at a location; NULL where it is no number."""
    return case((is_number(STOCK.c.quantity), STOCK.c.quantity))


def _short() -> Select[Any]:
    """Return the items that are below their threshold, with what there is of them at all locations."""
    stock = select(STOCK.c.item_id, func.sum(_quantity()).label("total")).group_by(STOCK.c.item_id).subquery("stock")
    # Rounded: SQLite adds decimals up as binary fractions, where 0.7 + 0.1 is less than 0.8.
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


def _checked() -> Select[Any]:
    """Return how many items have a threshold."""
    return select(func.count()).select_from(ITEMS).where(_is_watched(), _need().is_not(None))


def _unwatched() -> Select[Any]:
    """Return the items without a threshold that are not exempt from having one."""
    return select(ITEMS.c.id, ITEMS.c.name).where(_is_watched(), _need().is_(None)).order_by(ITEMS.c.name, ITEMS.c.id)


def _shortage(found: Row[Any]) -> Shortage:
    return Shortage(
        item_id=found.id,
        name=called(found.name, found.id),
        category=printable(found.category),
        unit=printable(found.unit),
        have=found.have,
        need=found.need,
    )


def _notice(run: Run, shortages: list[Shortage], people: tuple[alerts.Recipient, ...]) -> Notice[list[Shortage]]:
    return Notice(people, subject_id=0, subject_date=run.business_date, item=shortages, link="/inventory/")


def _no_threshold(names: list[str]) -> list[Problem]:
    words = "without a threshold nobody hears when it runs out"
    return [Problem(WARNING, "no_threshold", some(names), words)] if names else []


def _odd_stock(run: Run) -> list[Problem]:
    """Return a warning for each quantity that is below 0, or no number: the latter counts as 0."""
    statement = (
        select(
            ITEMS.c.id,
            ITEMS.c.name,
            LOCATIONS.c.name.label("location"),
            STOCK.c.location_id,
            _quantity().label("quantity"),
        )
        .join_from(STOCK, ITEMS, ITEMS.c.id == STOCK.c.item_id)
        .outerjoin(LOCATIONS, LOCATIONS.c.id == STOCK.c.location_id)
        .where(_is_watched(), or_(STOCK.c.quantity < 0, ~is_number(STOCK.c.quantity)))
        .order_by(ITEMS.c.name, STOCK.c.id)
    )
    odd = [
        (
            called(row.name, row.id),
            f"{_said(row.quantity)} at {printable(row.location or '') or f'location {row.location_id}'}",
        )
        for row in run.session.execute(statement)
    ]
    return warnings("odd_stock", odd, "quantities")


def _said(quantity: Decimal | None) -> str:
    return "has a quantity that is no number, counted as 0," if quantity is None else f"has {trimmed(quantity)}"
