"""Stock, and where it lies."""

from decimal import Decimal

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, key, reference


class InventoryItem(Kibray, table=True):
    """A thing in stock and the quantity below which somebody should order."""

    __tablename__ = "core_inventoryitem"

    id: int | None = key()
    name: str = Field(max_length=120)
    category: str = Field(max_length=20)
    unit: str = Field(max_length=20)
    low_stock_threshold: Decimal | None = amount(8, null=True)
    default_threshold: Decimal | None = amount(8, null=True)
    active: bool
    no_threshold: bool


class InventoryLocation(Kibray, table=True):
    """A place where stock lies: a storage or a project."""

    __tablename__ = "core_inventorylocation"

    id: int | None = key()
    name: str = Field(max_length=120)
    project_id: int | None = reference("core_project.id", null=True)
    is_storage: bool


class ProjectInventory(Kibray, table=True):
    """How much of an item lies at a location."""

    __tablename__ = "core_projectinventory"
    __table_args__ = (UniqueConstraint("item_id", "location_id"),)

    id: int | None = key()
    item_id: int = reference("core_inventoryitem.id")
    location_id: int = reference("core_inventorylocation.id")
    quantity: Decimal = amount()
