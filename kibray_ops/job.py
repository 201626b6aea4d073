"""The job author's vocabulary: what a job is given (Run) and what it returns (Outcome).

A job is one function in one file. It first takes its locks and reads what it will do (that is the report), then returns
if `run.dry_run`, then writes in sets. It never prints, exits, or asks the machine for the time or the environment.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from kibray_ops.catalog import Catalog
from kibray_ops.clock import Clock
from kibray_ops.errors import KibrayOpsError
from kibray_ops.settings import Settings
from kibray_ops.text import printable

if TYPE_CHECKING:
    import httpx

WARNING, FAILURE = "warning", "failure"
NAMED_ODDITIES = 20
"""How many things that are odd in one way are named one by one."""


def called(name: str | None, key: int) -> str:
    """Return what to call a row in any language: its name on one line, or its number where it has none."""
    return printable(name or "") or f"#{key}"


def trimmed(value: Decimal) -> str:
    """Return hours or a quantity without trailing zeros: 8, 7.5, 10.25."""
    return f"{value.normalize():f}" if value else "0"


@dataclass(frozen=True)
class Problem:
    """Name one thing that somebody should look at.

    A warning leaves the run a success; a failure (something was not done) makes it partial, exit 3.
    """

    severity: str
    kind: str
    subject: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as it is stored and printed as JSON."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "subject": self.subject,
            "message": self.message,
        }


def warnings(kind: str, odd: Sequence[tuple[str, str]], nouns: str) -> list[Problem]:
    """Return a warning for each subject and its words; of very many the first, and how many more there are."""
    return _named(WARNING, kind, odd, nouns)


def failures(kind: str, odd: Sequence[tuple[str, str]], nouns: str) -> list[Problem]:
    """Return a failure for each subject and its words; of very many the first, and how many more there are."""
    return _named(FAILURE, kind, odd, nouns)


def _named(severity: str, kind: str, odd: Sequence[tuple[str, str]], nouns: str) -> list[Problem]:
    named = [Problem(severity, kind, subject, words) for subject, words in odd[:NAMED_ODDITIES]]
    if left := odd[NAMED_ODDITIES:]:
        named.append(Problem(severity, kind, f"{len(left)} more {nouns}", f"the first of them: {left[0][0]}"))
    return named


Progress = Callable[[str, int, int], None]
"""Tells somebody who watches what is going on, how much of it is done, and of how much."""


def unwatched(_what: str, _done: int, _total: int) -> None:
    """Tell nobody."""


@dataclass
class Outcome:
    """Hold what a job did, or in a dry run would do: counts, rows, problems."""

    result: dict[str, Any]
    """Counts, with the keys that Kibray's tasks returned."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    stopped: KibrayOpsError | None = None
    """Why the work ended early, where it was not all or nothing: the run has failed, and what was done is told."""

    @property
    def is_partial(self) -> bool:
        """Tell whether something was not done."""
        return any(problem.severity == FAILURE for problem in self.problems)


@dataclass(frozen=True)
class Run:
    """Hold what a job is given."""

    session: Session
    catalog: Catalog
    settings: Settings
    clock: Clock
    business_date: date
    dry_run: bool
    id: int | None
    """The run record; None in a dry run."""
    commit_item: Callable[[], None]
    """Commit a finished item or batch, and hold nothing until the next statement; in a dry run there is only reading
    to end. Raises when the lock was lost or the time is up. Not for atomic jobs."""
    turn: Callable[[str], AbstractContextManager[None]]
    """Wait for a short lock that runs of several jobs share, and hold it inside the block; not in a dry run."""
    web: Callable[[], "httpx.Client"]
    """Return the HTTP client. No transaction may be open while it is used: `commit_item` ends one, and an open one
    raises RuntimeError."""
    progress: Progress = unwatched

    @property
    def now(self) -> datetime:
        """Return the moment that the run works for, in UTC."""
        return self.clock.now()

    def local_now(self) -> datetime:
        """Return that moment in the business zone."""
        return self.clock.local(self.now)
