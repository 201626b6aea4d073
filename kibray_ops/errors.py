"""What can go wrong, and the exit code of each.

KibrayOpsError                   1   the job failed
├── UsageError                   2   the command line is wrong
├── TryAgainLater               75   nothing is wrong with us; somebody else holds something
│   ├── JobBusy                      another run of this job holds the lock
│   ├── RowsLocked                   the application holds the rows
│   ├── DatabaseUnreachable
│   └── TransientError               serialization, deadlock, lost connection: worth another try
├── ConfigurationError          78   an operator has to change something first
│   ├── SettingsInvalid              every problem at once
│   ├── DatabaseMissing
│   ├── TablesMissing                Kibray's tables, or ours
│   ├── TablesOutdated               ours are older or newer than the program
│   ├── PermissionMissing            the database role may not
│   └── WriteRefused                 the database is read-only
├── DatabaseRefused                  a statement or a value was not taken
├── UnreadableValue                  Kibray's rows, or ours, hold what nobody can read
├── TimeLimitReached           124   the soft time limit
└── Interrupted          130 or 143  Ctrl-C or SIGTERM

A subclass's docstring is its message unless one is given. Every error carries a hint: what to do next.
"""

from collections.abc import Sequence

DONE = 0
FAILED = 1
PARTLY_DONE = 3


class KibrayOpsError(Exception):
    """The job failed."""

    exit_code = FAILED
    hint = "Run the command again with --verbose to see where it happened."

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.hint = hint or type(self).hint
        super().__init__(self.message)

    @property
    def account(self) -> str:
        """Return what a run record and an alarm say: what happened, and in a line of its own what to do."""
        return f"{self.message}\n{self.hint}"


class UsageError(KibrayOpsError):
    """The command line is wrong."""

    exit_code = 2
    hint = "Add --help to the command to see what it takes."


class TryAgainLater(KibrayOpsError):
    """Something else is in the way."""

    exit_code = 75
    hint = "Try again in a few minutes."


class JobBusy(TryAgainLater):
    """Another run of this job is under way."""

    hint = "Wait until it has ended: `kibray-ops runs list` shows it."


class RowsLocked(TryAgainLater):
    """The application holds the rows that this job needs."""

    hint = "What was not committed is rolled back. Try again in a few minutes."


class DatabaseUnreachable(TryAgainLater):
    """The database does not answer."""

    hint = "Check that it runs and that DATABASE_URL names it: `kibray-ops config show`."


class ConfigurationError(KibrayOpsError):
    """The configuration is wrong."""

    exit_code = 78
    hint = "`kibray-ops config check` names every problem."


class SettingsInvalid(ConfigurationError):
    """Settings are wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(
            f"{count} setting{'s are' if count > 1 else ' is'} wrong:{listed}",
            hint="Correct the environment or the env file; `kibray-ops config show` tells where each value came from.",
        )


class DatabaseMissing(ConfigurationError):
    """There is no database yet."""


class TablesMissing(ConfigurationError):
    """The database lacks tables that this job needs."""

    hint = "`kibray-ops db check` names every missing table and column."


class TablesOutdated(ConfigurationError):
    """kibray-ops's own tables do not fit this version of the program."""


class PermissionMissing(ConfigurationError):
    """The database role lacks a privilege."""

    hint = "`kibray-ops db grants ROLE` prints the GRANTs that the role needs."


class WriteRefused(ConfigurationError):
    """The database is read-only."""

    hint = "Nothing was written. Point DATABASE_URL at a database that may be written."


class TransientError(TryAgainLater):
    """The database gave up on a transaction that may succeed when tried again."""

    hint = "What was not committed is rolled back. Run the command again."


class DatabaseRefused(KibrayOpsError):
    """The database refused."""

    hint = "Nothing of this transaction was written. Add --verbose for more."


class UnreadableValue(KibrayOpsError):
    """The database holds what cannot be read."""

    hint = "Nothing of this transaction was written. Correct the value, then run the command again."


class TimeLimitReached(KibrayOpsError):
    """The soft time limit was reached."""

    exit_code = 124
    hint = "`kibray-ops runs list` shows how long it took before; KIBRAY_OPS_SOFT_TIME_LIMIT_… gives one job more."


class Interrupted(KibrayOpsError):
    """The run was interrupted."""

    exit_code = 130
    hint = "What was not committed is rolled back; run the command again."

    def __init__(self, message: str = "", *, hint: str = "", exit_code: int = 130) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived. Like Ctrl-C it ends whatever is going on; the report tells of it as Interrupted."""
