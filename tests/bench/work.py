"""What is measured: a job, the plain SQL for the same work, and what both have to come to."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.world import World

DAY = "2025-11-24"
"""A Monday: every job finds something to do."""


@dataclass(frozen=True)
class Dialect:
    """The few words in which the two engines differ."""

    engine: str

    def _pick(self, postgresql: str, sqlite: str) -> str:
        return postgresql if self.engine == "postgresql" else sqlite

    @property
    def now(self) -> str:
        return self._pick("now()", "datetime('now')")

    def numbers(self, first: int, last: int) -> str:
        """Return something to select from: the numbers i from the first to the last."""
        recursive = f"WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})"
        return self._pick(f"generate_series({first}, {last}) AS n(i)", f"({recursive} SELECT i FROM n) AS n")

    def day(self, offset: int | str = 0) -> str:
        """Return a day, so many days after the Monday."""
        return self._pick(f"(date '{DAY}' + ({offset})::int)", f"date('{DAY}', ({offset}) || ' days')")

    def days_since(self, day: str) -> str:
        return self._pick(f"(date '{DAY}' - {day})", f"(julianday('{DAY}') - julianday({day}))")

    def moment(self, base: str, seconds: int | str = 0) -> str:
        """Return a moment, so many seconds after another in UTC."""
        return self._pick(
            f"(timestamptz '{base}+00' + ({seconds}) * interval '1 second')",
            f"datetime('{base}', ({seconds}) || ' seconds')",
        )

    def joined(self, expression: str) -> str:
        return self._pick(f"string_agg({expression}, ', ')", f"group_concat({expression}, ', ')")

    def array_of(self, expression: str) -> str:
        return self._pick(f"jsonb_agg({expression})", f"json_group_array({expression})")

    def object_of(self, key: str, inner: str, value: str) -> str:
        """Return an object with an object of one value under each key."""
        return self._pick(
            f"jsonb_object_agg({key}::text, jsonb_build_object('{inner}', {value}))",
            f"json_group_object({key}, json_object('{inner}', {value}))",
        )


@dataclass(frozen=True)
class Work:
    """One job, or an operator's action."""

    command: tuple[str, ...]
    at: str
    plain: Callable[[World], float]
    """Does the same by hand and returns the seconds that it took."""
    state: Callable[[World], Any]
    """What both have to come to."""
    before: tuple[tuple[str, str], ...] = ()
    """Jobs that have run before, by their documented names, and when."""
    arguments: tuple[str, ...] = ()
    """What is typed behind the command of an action."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The same, as the job's function takes it."""


def by_sql(statements: Callable[[Dialect], Sequence[str]]) -> Callable[[World], float]:
    """Return what executes statements on an open connection, their commit included."""

    def execute(world: World) -> float:
        spoken = statements(Dialect(world.engine))
        with world.connect() as connection:
            begin = time.perf_counter()
            for statement in ("BEGIN", *spoken, "COMMIT"):
                connection.execute(statement)
            return time.perf_counter() - begin

    return execute


def run_sql(world: World, statement: str) -> None:
    """Execute a statement in which % is no placeholder."""
    with world.connect() as connection:
        connection.execute(statement)


NOTIFY = """
INSERT INTO core_notification (user_id, notification_type, title, message, related_object_type, related_object_id,
    link_url, is_read, created_at, project_id)
"""
LEDGER = "INSERT INTO kibray_ops_alert (kind, subject_id, subject_date, recipient_id, stage, told_at, run_id)"
ADMIN = "u.is_active AND (u.is_staff OR u.is_superuser)"


def told(world: World) -> Any:
    """Return who was told of what, by the ledger and by the notifications of it."""
    ledger = world.sql("SELECT kind, subject_id, recipient_id, stage FROM kibray_ops_alert ORDER BY 1, 2, 3")
    about = "user_id, related_object_id, link_url, project_id"
    return ledger, world.sql(f"SELECT {about} FROM core_notification WHERE created_at > ? ORDER BY {about}", DAY)
