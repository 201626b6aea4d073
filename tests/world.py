"""A Kibray database for one test: built from schema.json, on SQLite or PostgreSQL, in one of two schema versions."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.types.json import Jsonb

from kibray_ops import registry, settings
from kibray_ops.clock import Clock
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from tests.fork import Fork

SCHEMA: dict[str, Any] = json.loads((Path(__file__).parent / "schema.json").read_text())
VERSIONS = tuple(SCHEMA)
ENGINES = ("sqlite", "postgresql")
ZONE = "America/Denver"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
AWKWARD = ("x" * 100, ("👩‍🎨" * 34)[:100], ("áéíóúñ" * 17)[:100], "", "[red]", "a\nb\x1b[31m")
"""Names that a project may have (100 characters at most), and a terminal or a title may not like."""
PATH = f"{Path(__file__).parent / 'bin'}:{os.environ['PATH']}"
"""Where commands find programs: first a `crontab` that touches nobody's real one."""
NO_SERVICES = {f"KIBRAY_OPS_{name}_BASE_URL": "http://127.0.0.1:9" for name in ("WEATHER", "GEOCODER", "PLACES")}
"""Nothing listens there: a test that wants the weather has `sky` say it."""
ALL_JOBS = {job.name: job for job in (*registry.JOBS, *registry.ACTIONS)}


@dataclass(frozen=True)
class Simulated(Clock):
    """A machine's clock that stands at a moment: unlike with --as-of, run records have it too."""

    moment: datetime = LONG_AGO

    def now(self) -> datetime:
        return self.moment

    def real(self) -> datetime:
        return self.moment


@dataclass
class World:
    """One database, and what a test does with it."""

    url: str
    engine: str
    version: str
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    # ---- the application's side

    @contextmanager
    def connect(self) -> Iterator[Any]:
        """Open a connection as the application would; every statement commits."""
        connection = self._open()
        try:
            yield connection
        finally:
            connection.close()

    def _open(self) -> Any:
        if self.engine == "sqlite":
            connection = sqlite3.connect(self.path, isolation_level=None)
            connection.row_factory = sqlite3.Row
            return connection
        return psycopg.connect(
            self.url,
            autocommit=True,
            prepare_threshold=None,  # a prepared statement would not notice what a test does to the tables
            row_factory=psycopg.rows.dict_row,  # type: ignore[arg-type]
        )

    @contextmanager
    def _at_hand(self) -> Iterator[Any]:
        """Give the test's own thread one connection for all it does: each has to get to know the tables."""
        if threading.current_thread() is not threading.main_thread():
            with self.connect() as connection:
                yield connection
            return
        if self.url not in self._kept or getattr(self._kept[self.url], "closed", False):
            self._kept[self.url] = self._open()
        yield self._kept[self.url]

    def hang_up(self) -> None:
        """Close the connections that are kept."""
        for kept in self._kept.values():
            kept.close()

    @property
    def path(self) -> str:
        return self.url.removeprefix("sqlite:///")

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """Execute a statement with `?` marks and return its rows."""
        if self.engine == "postgresql":
            statement = statement.replace("?", "%s")
        with self._at_hand() as connection:
            cursor = connection.execute(statement, [self.bound(value) for value in values])
            return [dict(row) for row in cursor.fetchall()] if cursor.description else []

    def add(self, table: str, **values: Any) -> int:
        """Insert a row as the application does, every NOT NULL column filled; return its id."""
        columns = SCHEMA[self.version][table]["columns"]
        known = {column["name"] for column in columns}
        row = {
            column["name"]: empty(column["postgresql"], table, column["name"])
            for column in columns
            if not column["null"] and column["name"] != "id"
        }
        row |= {name: value for name, value in values.items() if name in known}
        names = ", ".join(row)
        marks = ", ".join("?" for _ in row)
        return int(self.sql(f"INSERT INTO {table} ({names}) VALUES ({marks}) RETURNING id", *row.values())[0]["id"])

    def rows(self, table: str, where: str = "1 = 1", *values: Any) -> list[dict[str, Any]]:
        """Return rows as the application reads them: Decimals, aware moments, parsed JSON."""
        kinds = {c["name"]: c["postgresql"] for c in SCHEMA[self.version].get(table, {"columns": []})["columns"]}
        found = self.sql(f"SELECT * FROM {table} WHERE {where} ORDER BY 1", *values)
        return [{name: self._read(value, kinds.get(name, "")) for name, value in row.items()} for row in found]

    def dump(self, *, own: bool = True) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of every table, as stored."""
        if self.engine == "sqlite":
            listed = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        else:
            listed = self.sql("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        names = [row["name"] for row in listed if own or not row["name"].startswith("kibray_ops_")]
        stored = {
            name: [tuple(map(str, row.values())) for row in self.sql(f"SELECT * FROM {name} ORDER BY 1")]
            for name in names
        }
        if not own and "sqlite_sequence" in stored:
            stored["sqlite_sequence"] = [
                row for row in stored["sqlite_sequence"] if not row[0].startswith("kibray_ops_")
            ]
        return stored

    def bound(self, value: Any) -> Any:
        """Return a value as the application stores it."""
        if isinstance(value, list | dict):
            return json.dumps(value) if self.engine == "sqlite" else Jsonb(value)
        if self.engine == "postgresql":
            return value
        if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
        return str(value) if isinstance(value, Decimal | date | time) else value

    def _read(self, value: Any, kind: str) -> Any:
        if value is None or self.engine == "postgresql":
            return value
        if kind.startswith("numeric"):
            places = int(kind.rstrip(")").rpartition(",")[2])
            return Decimal(str(value)).quantize(Decimal(1).scaleb(-places))
        if kind == "jsonb":
            return json.loads(value)
        if kind == "date":
            return date.fromisoformat(value)
        if kind.startswith("timestamp"):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        return bool(value) if kind == "boolean" else value

    # ---- our side

    @property
    def environ(self) -> dict[str, str]:
        """Return the whole environment of a command."""
        return {
            "PATH": PATH,
            "HOME": str(self.directory),
            "KIBRAY_OPS_DATABASE_URL": self.url,
            "KIBRAY_OPS_TIMEZONE": ZONE,
            **NO_SERVICES,
            "KIBRAY_OPS_EMAIL_BACKEND": "file",
            "KIBRAY_OPS_EMAIL_DIR": str(self.directory / "mail"),
            "KIBRAY_OPS_EMAIL_FROM": "Kibray <office@example.com>",
            **self.environment,
        }

    def command(self, *words: str, **popen: Any) -> subprocess.Popen[str]:
        """Start `kibray-ops` as a process of its own."""
        arguments = [sys.executable, "-m", "kibray_ops", *words]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(arguments, env=self.environ, cwd=self.directory, **(streams | popen))

    def fork(self, *words: str) -> Fork:
        """Start `kibray-ops` as a process of its own that has imported everything already."""
        return Fork(words, self.environ, self.directory)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `kibray-ops` to its end."""
        return self.fork(*words).run()

    @property
    def settings(self) -> settings.Settings:
        return settings.load(environ=self.environ).checked()

    def execute(
        self,
        job: str | registry.Job,
        *,
        at: str = "2025-11-24T07:00",
        trigger: Trigger = Trigger.MANUAL,
        dry_run: bool = False,
        **options: Any,
    ) -> Report:
        """Execute a job in this process; `at` is wall time in the business zone."""
        found = self.settings
        return execute(
            ALL_JOBS[job] if isinstance(job, str) else job,
            settings=found,
            clock=Clock(found.zone).at(datetime.fromisoformat(at)),
            trigger=trigger,
            dry_run=dry_run,
            options=options,
        )

    def at(self, wall: str) -> Simulated:
        """Return a machine's clock at wall time in the business zone."""
        zone = self.settings.zone
        return Simulated(zone, moment=datetime.fromisoformat(wall).replace(tzinfo=zone).astimezone(UTC))

    def move(self, zone: str) -> None:
        """Let the business be in another time zone, and its database know."""
        self.environment["KIBRAY_OPS_TIMEZONE"] = zone
        self.sql("UPDATE kibray_ops_state SET value = ? WHERE key = 'zone'", zone)

    def runs(self) -> list[dict[str, Any]]:
        """Return our run records, oldest first."""
        return self.sql("SELECT * FROM kibray_ops_run ORDER BY id")

    # ---- people

    def user(self, name: str = "owner", *, staff: bool = True, active: bool = True) -> int:
        """Add a login, or return the one of that name."""
        if found := self.sql("SELECT id FROM auth_user WHERE username = ?", name):
            return int(found[0]["id"])
        return self.add("auth_user", username=name, is_staff=staff, is_active=active, email=f"{name}@example.com")

    def office(self) -> int:
        """Employ an admin who is accounting too, so that somebody is there to be told; return the user's id."""
        owner = self.user()
        self.accountant(owner)
        return owner

    def accountant(self, user: int) -> None:
        """Put a user into accounting's group."""
        found = self.sql("SELECT id FROM auth_group WHERE name = 'Accounting'")
        group = found[0]["id"] if found else self.add("auth_group", name="Accounting")
        if not self.sql("SELECT id FROM auth_user_groups WHERE user_id = ? AND group_id = ?", user, group):
            self.add("auth_user_groups", user_id=user, group_id=group)

    def employee(self, name: str = "Ana Ruiz", rate: str = "20.00", *, active: bool = True, **columns: Any) -> int:
        first, _, last = name.partition(" ")
        number = f"{len(self.sql('SELECT id FROM core_employee')) + 1}"
        unique = {"social_security_number": number, "employee_key": number}
        values = {"first_name": first, "last_name": last, "hourly_rate": Decimal(rate), "is_active": active}
        return self.add("core_employee", **{"overtime_multiplier": Decimal("1.50"), **values, **unique, **columns})

    def project(self, name: str = "Elm St", **columns: Any) -> int:
        number = f"P{len(self.sql('SELECT id FROM core_project')) + 1}"
        return self.add("core_project", name=name, project_code=number, start_date=date(2025, 1, 1), **columns)

    def invoice(
        self, number: str, status: str, due: str | None, total: str = "100.00", paid: str = "0.00", **columns: Any
    ) -> int:
        """Add an invoice, to the first project unless another is given; it is made where there is none."""
        projects = self.sql("SELECT min(id) AS id FROM core_project")
        project = columns.pop("project_id", None) or projects[0]["id"] or self.project()
        return self.add(
            "core_invoice",
            invoice_number=number,
            project_id=project,
            status=status,
            due_date=None if due is None else date.fromisoformat(due),
            total_amount=Decimal(total),
            amount_paid=Decimal(paid),
            **columns,
        )

    def item(self, name: str, need: str | None, *stock: str, **columns: Any) -> int:
        """Add a thing in stock, with its threshold and the quantities at the first location, the second …"""
        low = None if need is None else Decimal(need)
        item = self.add("core_inventoryitem", **{"name": name, "low_stock_threshold": low, "active": True} | columns)
        for number, quantity in enumerate(stock, 1):
            known = self.sql("SELECT id FROM core_inventorylocation WHERE name = ?", f"Place {number}")
            place = known[0]["id"] if known else self.add("core_inventorylocation", name=f"Place {number}")
            self.add("core_projectinventory", item_id=item, location_id=place, quantity=Decimal(quantity))
        return item

    def touchup(self, project: int, priority: str = "high", status: str = "Pendiente", **columns: Any) -> int:
        """Add a touch-up among the tasks."""
        values = {"title": "Drip", "is_touchup": True, "created_at": datetime(2025, 11, 20, 12, tzinfo=UTC)}
        return self.add("core_task", project_id=project, priority=priority, status=status, **(values | columns))

    def plan(self, project: int, day: str, creator: int | None = None, status: str = "DRAFT", **columns: Any) -> int:
        """Add a daily plan, due at 17:00 of the day before."""
        on = date.fromisoformat(day)
        due = datetime.combine(on - timedelta(days=1), time(17), tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
        values = {"plan_date": on, "created_by_id": creator, "completion_deadline": due}
        return self.add("core_dailyplan", project_id=project, status=status, **(values | columns))

    def snapshots(self) -> dict[int, dict[str, Any]]:
        """Return the weather snapshots by project; fails when a project has two."""
        rows = self.rows("core_weathersnapshot")
        found = {row["project_id"]: row for row in rows}
        assert len(found) == len(rows), "a project has two"
        return found

    def manages(self, user: int, project: int, **columns: Any) -> None:
        """Give a user an external manager's access to a project, which is active and wants notifications."""
        wanted = {"role": "external_pm", "is_active": True, "receive_notifications": True}
        self.add("core_clientprojectaccess", user_id=user, project_id=project, **(wanted | columns))

    def notify(self, user: int, title: str = "Low stock", at: str = "2025-11-24T06:00", **columns: Any) -> int:
        """Let the application tell a user something; `at` is wall time in the business zone."""
        moment = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
        values = {"notification_type": "task_alert", "message": "Have a look.", "link_url": "/inventory/"}
        return self.add(
            "core_notification", **({"user_id": user, "title": title, "created_at": moment} | values | columns)
        )

    def outbox(self) -> list[dict[str, Any]]:
        """Return the deliveries, oldest first."""
        return self.sql("SELECT * FROM kibray_ops_delivery ORDER BY id")

    def entry(
        self,
        employee: int,
        day: str,
        hours: str | None,
        start: str = "08:00",
        end: str | None = "16:30",
        **columns: Any,
    ) -> int:
        return self.add(
            "core_timeentry",
            employee_id=employee,
            date=date.fromisoformat(day),
            start_time=time.fromisoformat(start),
            end_time=None if end is None else time.fromisoformat(end),
            hours_worked=None if hours is None else Decimal(hours),
            **columns,
        )


def empty(kind: str, table: str, column: str) -> Any:
    """Return what Django's default for a NOT NULL column would be like."""
    if kind == "boolean":
        return (table, column) in {("auth_user", "is_active"), ("core_employee", "is_active")}
    if kind.startswith("timestamp"):
        return datetime(2025, 1, 1, 12, tzinfo=UTC)
    if kind == "jsonb":
        return []
    if kind == "date":
        return date(2025, 1, 1)
    if kind.startswith(("numeric", "integer", "bigint", "smallint")):
        return 0
    return ""


def done(report: Report, code: int = 0) -> Report:
    """Return the report of a run that ended as it should."""
    assert report.exit_code == code, (report.error, report.traceback)
    return report


def told(world: World) -> list[tuple[int, int]]:
    """Return who was notified of which row, sorted; 0 is none, as in a summary."""
    return sorted((row["user_id"], row["related_object_id"] or 0) for row in world.rows("core_notification"))


def by_employee(world: World) -> Mapping[int, dict[str, Any]]:
    """Return the payroll records by employee; fails when somebody has two."""
    records = world.rows("core_payrollrecord")
    found = {record["employee_id"]: record for record in records}
    assert len(found) == len(records), "somebody has two records"
    return found
