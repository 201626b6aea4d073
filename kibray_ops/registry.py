"""The jobs as data. The command line, the crontab, the documents and the status all read this table, and nothing else.

A new job is one file in `jobs/`, one entry here and one test file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Kind(StrEnum):
    """How much of its work a job commits at a time."""

    ATOMIC = "atomic"
    BATCHED = "batched"
    PER_ITEM = "per item"


@dataclass(frozen=True)
class Job:
    """Declare one job: its names, its schedule, and what it reads and writes in Kibray's tables."""

    name: str
    """The documented task name, as in the Automation Guide."""
    command: tuple[str, ...]
    """The words after `kibray-ops`; the module in `jobs/` and its function are named after them."""
    summary: str
    """One imperative sentence: help text, README row."""
    kind: Kind
    cron: str | None = None
    """Five-field expression in the business zone; None for what operators start only by hand."""
    arguments: tuple[str, ...] = ()
    """What the crontab adds to the command."""
    deadline: timedelta | None = None
    """How long after its slot a run is still worth starting; None: until the next slot."""
    function: str = ""
    """The Celery function that it replaces, for people who come from `celery call`."""
    reads: tuple[str, ...] = ()
    reads_later: tuple[str, ...] = ()
    """Tables that only later versions of Kibray have; it reads those that are there."""
    writes: Mapping[str, str] = field(default_factory=dict)
    """Table → the privileges it needs there beside SELECT."""
    copies: tuple[str, ...] = ()
    """Tables whose rows it takes as they are, columns that we do not know included."""
    lock: str = ""
    """The name whose lock it takes, where it shares one with another job."""
    module: str = ""

    @property
    def path(self) -> str:
        """Return the module that holds the job."""
        return self.module or f"kibray_ops.jobs.{'_'.join(self.command).replace('-', '_')}"

    @property
    def entry(self) -> str:
        """Return the name of the function in that module."""
        return self.command[-1].replace("-", "_")

    @property
    def words(self) -> tuple[str, ...]:
        """Return what follows `kibray-ops` when the schedule starts the job."""
        return (*self.command, *self.arguments)

    @property
    def typed(self) -> str:
        """Return the same as one text."""
        return " ".join(self.words)

    @property
    def lock_name(self) -> str:
        """Return the name of the lock: one run at a time for each."""
        return self.lock or self.name

    @property
    def hourly(self) -> bool:
        """Tell whether its slots are hours (keyed in UTC) rather than days (keyed on local wall time)."""
        return self.cron is not None and self.cron.split()[1] == "*"

    @property
    def worth(self) -> timedelta:
        """Return how late a start is still of use."""
        return self.deadline or timedelta(hours=1)

    @property
    def tables(self) -> tuple[str, ...]:
        """Return every Kibray table that the job needs."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


FUNCTIONS = "core.tasks."
"""Where Kibray keeps the functions that these jobs replace."""
CATCH_UP = "7,22,37,52 * * * *"
"""When missed and failed slots are made up for: past the jobs' own times."""
CATCH_UP_NAME = "catch-up"
"""The command that does it."""
CATCH_UP_WORTH = timedelta(minutes=15)
"""How late a start of it is still of use: until the next one."""

ALERT_READS = ("auth_user", "core_profile")
OFFICE_READS = (*ALERT_READS, "auth_group", "auth_user_groups")
"""What finding admins and accounting takes."""
OUTBOX_READS = ("core_notification", "auth_user")
"""What naming messages and their recipients takes."""

JOBS: tuple[Job, ...] = (
    Job(
        name="update-invoice-statuses",
        function="update_invoice_statuses",
        command=("invoices", "update-statuses"),
        summary="Bring the status of every invoice in line with its due date and payments.",
        kind=Kind.ATOMIC,
        cron="0 1 * * *",
        deadline=timedelta(hours=20),
        reads=("core_project",),
        writes={"core_invoice": "UPDATE"},
    ),
    Job(
        name="cleanup-old-notifications",
        function="cleanup_old_notifications",
        command=("notifications", "cleanup"),
        summary="Archive the read notifications that are older than 30 days.",
        kind=Kind.BATCHED,
        cron="0 2 * * 0",
        deadline=timedelta(days=6),
        reads=("core_invoice", "core_payrollperiod", "core_dailyplan", "core_project"),
        writes={"core_notification": "DELETE"},
        copies=("core_notification",),
    ),
    Job(
        name="fetch-weather-snapshots",
        function="update_daily_weather_snapshots",
        command=("weather", "fetch-snapshots"),
        summary="Fetch the weather forecast of every active project's place.",
        kind=Kind.PER_ITEM,
        cron="0 5 * * *",
        deadline=timedelta(hours=12),
        reads=("core_project",),
        writes={"core_weathersnapshot": "INSERT, UPDATE"},
    ),
    Job(
        name="update-daily-plans-weather",
        function="update_daily_plans_weather",
        command=("plans", "update-weather"),
        summary="Put the forecast into the daily plans of today and tomorrow.",
        kind=Kind.PER_ITEM,
        cron="0 5 * * *",
        deadline=timedelta(hours=12),
        reads=("core_project",),
        writes={"core_dailyplan": "UPDATE"},
    ),
    Job(
        name="check-overdue-invoices",
        function="check_overdue_invoices",
        command=("invoices", "check-overdue"),
        summary="Tell admins and accounting about overdue invoices, once per stage.",
        kind=Kind.ATOMIC,
        cron="0 6 * * *",
        deadline=timedelta(hours=20),
        reads=(*OFFICE_READS, "core_project"),
        writes={"core_invoice": "UPDATE", "core_notification": "INSERT"},
    ),
    Job(
        name="generate-weekly-payroll",
        function="generate_weekly_payroll",
        command=("payroll", "generate"),
        arguments=("--week",),
        summary="Compute a week's payroll from the time entries, one record per employee.",
        kind=Kind.ATOMIC,
        cron="0 7 * * 1",
        deadline=timedelta(days=6),
        reads=(*OFFICE_READS, "core_employee", "core_timeentry", "core_payrollpayment"),
        writes={
            "core_payrollperiod": "INSERT, UPDATE",
            "core_payrollrecord": "INSERT, UPDATE",
            "core_notification": "INSERT",
        },
    ),
    Job(
        name="check-inventory-shortages",
        function="check_inventory_shortages",
        command=("inventory", "check-shortages"),
        summary="Tell admins which stock is below its threshold.",
        kind=Kind.ATOMIC,
        cron="0 8 * * *",
        deadline=timedelta(hours=10),
        reads=(*ALERT_READS, "core_inventoryitem", "core_projectinventory", "core_inventorylocation"),
        writes={"core_notification": "INSERT"},
    ),
    Job(
        name="alert-high-priority-touchups",
        function="alert_high_priority_touchups",
        command=("touchups", "alert"),
        summary="Tell managers about projects with many urgent touch-ups.",
        kind=Kind.ATOMIC,
        cron="0 9 * * *",
        deadline=timedelta(hours=8),
        reads=(*ALERT_READS, "core_project", "core_task", "core_clientprojectaccess"),
        reads_later=("core_touchup", "core_projectmanagerassignment"),
        writes={"core_notification": "INSERT"},
    ),
    Job(
        name="alert-incomplete-daily-plans",
        function="alert_incomplete_daily_plans",
        command=("plans", "alert-incomplete"),
        summary="Tell planners about draft daily plans past their deadline.",
        kind=Kind.ATOMIC,
        cron="15 17 * * *",
        deadline=timedelta(hours=4),
        reads=(*ALERT_READS, "core_project", "core_dailyplan"),
        writes={"core_notification": "INSERT"},
    ),
    Job(
        name="send-pending-notifications",
        function="send_pending_notifications",
        command=("notifications", "send"),
        summary="Deliver queued notifications by e-mail and SMS.",
        kind=Kind.PER_ITEM,
        cron="0 * * * *",
        reads=(*ALERT_READS, "core_notification", "core_employee"),
        reads_later=("core_notificationpreference",),
    ),
)

ACTIONS: tuple[Job, ...] = (
    Job(
        name="discard-weekly-payroll",
        command=("payroll", "discard"),
        summary="Take back the week's payroll records that nobody has reviewed, changed or paid.",
        kind=Kind.ATOMIC,
        reads=("core_employee", "core_payrollpayment"),
        writes={"core_payrollperiod": "UPDATE, DELETE", "core_payrollrecord": "UPDATE, DELETE"},
        lock="generate-weekly-payroll",
    ),
    Job(
        name="locate-project",
        command=("weather", "locate"),
        summary="Set by hand where a project is, for its weather.",
        kind=Kind.ATOMIC,
        reads=("core_project",),
    ),
    Job(
        name="retry-deliveries",
        command=("notifications", "outbox", "retry"),
        summary="Let messages that were not delivered, or may not have been, be sent again.",
        kind=Kind.ATOMIC,
        reads=OUTBOX_READS,
    ),
    Job(
        name="cancel-deliveries",
        command=("notifications", "outbox", "cancel"),
        summary="Keep messages that wait in the outbox from being sent.",
        kind=Kind.ATOMIC,
        reads=OUTBOX_READS,
    ),
    Job(
        name="restore-notifications",
        command=("notifications", "archive", "restore"),
        summary="Bring archived notifications back, and never archive them again.",
        kind=Kind.BATCHED,
        reads=("auth_user", "core_project"),
        writes={"core_notification": "INSERT"},
        copies=("core_notification",),
        lock="cleanup-old-notifications",
    ),
)
"""Operators' commands that write: they run like jobs, but no schedule starts them."""

AGEING = Job(
    name="invoices-aging",
    command=("invoices", "aging"),
    summary="Show who owes what for how long, the most urgent first.",
    kind=Kind.ATOMIC,
    reads=("core_invoice", "core_project"),
)
OUTBOX = Job(
    name="outbox",
    command=("notifications", "outbox", "list"),
    summary="List the messages of the outbox, and what became of them.",
    kind=Kind.ATOMIC,
    reads=OUTBOX_READS,
)
ARCHIVE = Job(
    name="archive",
    command=("notifications", "archive", "list"),
    summary="List the archived notifications.",
    kind=Kind.ATOMIC,
    reads=("auth_user",),
)
REPORTS = (AGEING, OUTBOX, ARCHIVE)
"""Reports that are no jobs: no lock, no record; what they need to read stands here."""


def in_group(group: str) -> tuple[Job, ...]:
    """Return the jobs and actions that stand in a group of commands, by its name."""
    return tuple(job for job in (*JOBS, *ACTIONS) if job.command[-2] == group)


def named(name: str) -> Job | None:
    """Return a job by its documented name or that of the Celery function that it replaces."""
    return next((job for job in JOBS if name in (job.name, job.function, FUNCTIONS + job.function)), None)


def sharing_lock(job: Job) -> tuple[str, ...]:
    """Return the names of all that take the same lock as a job, itself included."""
    return tuple(
        dict.fromkeys((job.name, *(other.name for other in (*JOBS, *ACTIONS) if other.lock_name == job.lock_name)))
    )
