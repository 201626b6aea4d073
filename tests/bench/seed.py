"""One believable database: rows are copied from a model row in sets, in proportion to a scale."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.bench.work import Dialect, run_sql
from tests.world import World

ADMINS, ACCOUNTANTS, MANAGERS, CUSTOMERS = 3, 2, 30, 60
FIRST_MANAGER = ADMINS + ACCOUNTANTS + 1
FIRST_WORKER = FIRST_MANAGER + MANAGERS
"""The first login of an employee."""


@dataclass(frozen=True)
class Seed:
    """A database that is being filled."""

    world: World
    scale: float
    """1 is the normal size."""

    @cached_property
    def say(self) -> Dialect:
        """Return the engine's words."""
        return Dialect(self.world.engine)

    def count(self, normal: int) -> int:
        """Return how many there are at this scale of what there is so much of at the normal size."""
        return max(2, round(normal * self.scale))

    @property
    def employees(self) -> int:
        return self.count(2_000)

    @property
    def projects(self) -> int:
        return self.count(2_000)

    def copies(self, table: str, count: int, model: int = 1, **new: str) -> None:
        """Add rows like the model's, but for the expressions of i, which counts from 1."""
        self.copies_from(table, self.say.numbers(1, count), f"m.id = {model}", **new)

    def copies_from(self, table: str, source: str, where: str = "m.id = 1", **new: str) -> None:
        """Add a row like the model m's for every row of a source, but for some expressions of it."""
        kept = [name for name in self.columns(table) if name not in ("id", *new)]
        run_sql(
            self.world,
            f"INSERT INTO {table} ({', '.join((*new, *kept))}) SELECT "
            f"{', '.join((*new.values(), *(f'm.{name}' for name in kept)))} FROM {table} m, {source} WHERE {where}",
        )

    def columns(self, table: str) -> list[str]:
        """Return the names of a table's columns."""
        found: dict[str, Any] = self.world.sql(f"SELECT * FROM {table} LIMIT 1")[0]
        return list(found)

    def people_and_projects(self) -> None:
        """Employ people, all with a login, and open projects, all with an address."""
        world = self.world
        office = [world.user(*name) for name in (("owner",), *((f"admin{number}",) for number in range(1, ADMINS)))]
        office += [world.user(f"accountant{number}", staff=False) for number in range(ACCOUNTANTS)]
        office += [world.user(f"manager{number}", staff=False) for number in range(MANAGERS)]
        assert office[-1] + 1 == FIRST_WORKER
        for user in office[ADMINS : ADMINS + ACCOUNTANTS]:
            world.accountant(user)
        for user in office[::2]:
            world.add("core_profile", user_id=user, language="es")
        self.copies(
            "auth_user",
            self.employees,
            FIRST_MANAGER,
            username="'worker' || i",
            email="'worker' || i || '@example.com'",
        )
        world.employee("Model Person", "20.00")
        self.copies(
            "core_employee",
            self.employees - 1,
            last_name="'Person ' || i",
            hourly_rate="18 + i % 15",
            social_security_number="'s' || i",
            employee_key="'k' || i",
        )
        world.project("Project 0", client="Customer 0", address="model")
        self.copies(
            "core_project",
            self.projects - 1,
            project_code="'C' || i",
            name="'Project ' || i",
            client=f"'Customer ' || i % {CUSTOMERS}",
            address="i || ' Elm St, Denver, CO'",
        )
