"""Old notifications into the archive and back, nothing lost on the way; and what is pruned of our own tables."""

import csv
import hashlib
import io
import json
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from kibray_ops.archive import BATCH
from kibray_ops.report import Report
from tests.here import here
from tests.test_runner import wait_until
from tests.world import AWKWARD, World, done

CLEANUP, RESTORE = "cleanup-old-notifications", "restore-notifications"
NOTIFICATIONS, ARCHIVE = "core_notification", "kibray_ops_notification_archive"
NOW = "2025-11-23T02:00"
CUTOFF = datetime(2025, 10, 24, 9, tzinfo=UTC)
"""30 days before: 03:00 in Denver, where the clock was still ahead."""
OLD = "2025-10-01T12:00"
AWKWARD_TEXTS = (
    *AWKWARD, "'", '"', "''\"\"", "a\tb\r\nc", "\\", "\\n \\u0041 \\", '{"a": 1}', "[1, 2]", '"quoted"', "null", "true",
    "1", "1.0", "0x1F", "1e5", "%s %(a)s :b ?", "$.title", "🎨 ñ ü 塗装", "\x01\x7f\x85\u2028\ufeff", " a ", "\u00e9",
    "e\u0301",
)  # fmt: skip


def old(world: World, user: int, title: str = "Low stock", at: str = OLD, **columns: Any) -> int:
    """Add a notification that is read and old."""
    return world.notify(user, title, at=at, **({"is_read": True} | columns))


def clean(world: World, code: int = 0, at: str = NOW, **options: Any) -> Report:
    return done(world.execute(CLEANUP, at=at, **options), code)


def restore(world: World, *ids: int, code: int = 0, at: str = NOW, dry_run: bool = False) -> Report:
    options: dict[str, Any] = {"ids": list(ids)} if ids else {"everything": True}
    return done(world.execute(RESTORE, at=at, dry_run=dry_run, **options), code)


def numbers(world: World, table: str = NOTIFICATIONS) -> list[int]:
    return [row["id"] for row in world.sql(f"SELECT id FROM {table} ORDER BY id")]


def kept(world: World) -> list[int]:
    """Return what is in the archive and was not restored."""
    return [row["id"] for row in world.sql(f"SELECT id FROM {ARCHIVE} WHERE restored_at IS NULL ORDER BY id")]


def stored(world: World) -> list[str]:
    """Return every notification with all its columns, down to the type of each value."""
    if world.engine == "postgresql":
        return [
            row["whole"]
            for row in world.sql(f"SELECT CAST({NOTIFICATIONS} AS text) AS whole FROM {NOTIFICATIONS} ORDER BY id")
        ]
    return [repr(tuple(row.values())) for row in world.sql(f"SELECT * FROM {NOTIFICATIONS} ORDER BY id")]


def put(world: World, table: str, **values: Any) -> None:
    """Insert a row into a table of ours."""
    marks = ", ".join("?" for _ in values)
    world.sql(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", *values.values())


def named(report: Report) -> list[tuple[str, str]]:
    """Return what was not done, and why."""
    return [(p.subject, p.message) for p in report.problems if p.severity == "failure"]


@contextmanager
def before_commits(world: World, act: Callable[[int], None]) -> Iterator[None]:
    """Do something before each COMMIT of ours, with the number of notifications that are in the archive by then."""

    def committing(connection: Connection) -> None:
        act(connection.exec_driver_sql(f"SELECT count(*) FROM {ARCHIVE} WHERE restored_at IS NULL").scalar_one())

    event.listen(Engine, "commit", committing)
    try:
        yield
    finally:
        event.remove(Engine, "commit", committing)


# ---- which ones


def test_what_is_read_and_older_than_30_days_is_moved(world: World) -> None:
    ana, bob = world.user("ana"), world.user("bob")
    moved = [old(world, ana, at="2025-10-24T02:59"), old(world, bob), old(world, ana, at="1999-12-31T23:59")]
    stays = [
        old(world, ana, at="2025-10-24T03:00"),  # exactly at the cutoff
        old(world, ana, at="2025-10-24T03:01"),
        old(world, ana, at="2025-11-22T12:00"),
        old(world, ana, at="2025-12-24T12:00"),
        old(world, ana, is_read=False),
    ]
    report = clean(world)
    assert (numbers(world), kept(world)) == (stays, moved)
    assert report.result["archived"] == 3
    assert report.result["cutoff"] == CUTOFF.isoformat()
    assert report.result["older_than_days"] == 30
    assert [(row["user_id"], row["user"], row["notifications"]) for row in report.rows] == [
        (ana, "ana", 2), (bob, "bob", 1),
    ]  # fmt: skip
    assert [f"{report.rows[0][name]:%Y-%m-%d}" for name in ("oldest", "newest")] == ["1999-12-31", "2025-10-24"]
    assert report.problems == []
    (row,) = world.sql(f"SELECT * FROM {ARCHIVE} WHERE id = ?", moved[1])
    assert (row["user_id"], row["run_id"], row["restored_at"]) == (bob, report.run_id, None)
    assert str(row["archived_at"]).startswith("2025-11-23 09:00:00")


def test_a_microsecond_decides(newest: World) -> None:
    ana, before = newest.user("ana"), CUTOFF - timedelta(microseconds=1)
    moved = old(newest, ana, created_at=before)
    stays = [old(newest, ana, created_at=CUTOFF), old(newest, ana, created_at=CUTOFF + timedelta(microseconds=1))]
    clean(newest)
    assert (numbers(newest), kept(newest)) == (stays, [moved])


def test_nothing_to_do(newest: World) -> None:
    before = newest.dump(own=False)
    report = clean(newest)
    assert (report.result["archived"], report.rows, report.problems) == (0, [], [])
    assert newest.dump(own=False) == before


@pytest.mark.parametrize(
    ("setting", "option", "days", "left"),
    [(None, None, 30, 2), ("60", None, 60, 3), ("60", 10, 10, 1), (None, 1, 1, 0), (None, 36_500, 36_500, 4)],
)
def test_how_old_is_for_the_option_or_the_setting_to_say(
    newest: World, setting: str | None, option: int | None, days: int, left: int
) -> None:
    if setting:
        newest.environment["KIBRAY_OPS_ARCHIVE_AFTER_DAYS"] = setting
    for at in ("2025-11-20T12:00", "2025-11-05T12:00", "2025-10-01T12:00", "2025-09-01T12:00"):
        old(newest, newest.user(), at=at)
    report = clean(newest, **({"older_than": option} if option else {}))
    assert len(numbers(newest)) == left
    assert (report.result["older_than_days"], report.result["archived"]) == (days, 4 - left)
    now = datetime(2025, 11, 23, 9, tzinfo=UTC)
    assert datetime.fromisoformat(report.result["cutoff"]) == now - timedelta(days=days)


def test_a_second_run_moves_what_has_become_old_meanwhile(newest: World) -> None:
    first, second = old(newest, newest.user()), old(newest, newest.user(), at="2025-10-25T12:00")
    assert clean(newest).result["archived"] == 1
    assert clean(newest).result["archived"] == 0
    assert clean(newest, at="2025-11-30T02:00").result["archived"] == 1
    assert (numbers(newest), kept(newest)) == ([], [first, second])


def test_a_dry_run_changes_nothing_and_tells_the_same(world: World) -> None:
    for number in range(5):
        old(world, world.user(f"u{number % 2}"), is_read=number > 0)
    before = world.dump()
    dry = clean(world, dry_run=True)
    assert world.dump() == before
    real = clean(world)
    assert dry.result["archived"] == 4
    assert (dry.result, dry.rows) == (real.result, real.rows)
    before = world.dump()
    dry = restore(world, dry_run=True)
    assert world.dump() == before
    real = restore(world)
    assert dry.result["restored"] == 4
    assert (dry.result, dry.rows) == (real.result, real.rows)


def test_a_dry_run_needs_no_table_of_ours(bare: World) -> None:
    old(bare, bare.user())
    assert clean(bare, dry_run=True).result["archived"] == 1


@pytest.mark.parametrize("purge_after", [None, 30])
def test_a_dry_run_needs_no_table_that_came_with_this_version(newest: World, purge_after: int | None) -> None:
    """Our tables are of an older revision: those that do not exist yet count as empty."""
    old(newest, newest.user())
    for table in (ARCHIVE, "kibray_ops_delivery", "kibray_ops_suppression"):
        newest.sql(f"DROP TABLE {table}")
    newest.sql("UPDATE kibray_ops_alembic_version SET version_num = '0003'")
    assert clean(newest, dry_run=True, purge_after=purge_after).result["archived"] == 1


# ---- there and back


def test_everything_comes_back_as_it_was(world: World) -> None:
    ana, project = world.user("ana"), world.project()
    for number, text in enumerate(AWKWARD_TEXTS):
        old(
            world, ana, text, message=f"{text}\n{text}", link_url=text[:255], related_object_type=text[:50],
            notification_type=text[:30], related_object_id=(None, 0, -1, 2**31 - 1)[number % 4],
            project_id=(None, project)[number % 2],
            created_at=datetime(2025, 9, 1, 12, 0, number, (0, 1, 999_999, 120_000)[number % 4], tzinfo=UTC),
        )  # fmt: skip
    old(world, ana, "", message="x" * 1_000_000)
    old(world, ana, id=2**53 + 1)
    old(world, ana, id=2**63 - 2)
    world.notify(ana, "stays")
    before, exactly = world.dump(own=False), stored(world)
    moved = clean(world).result["archived"]
    assert moved == len(AWKWARD_TEXTS) + 3
    assert len(numbers(world)) == 1
    report = restore(world)
    assert (report.result, report.problems, len(report.rows)) == ({"restored": moved, "errors": 0}, [], moved)
    assert world.dump(own=False) == before
    assert stored(world) == exactly
    assert kept(world) == []


def extra(world: World, columns: dict[str, str], rows: list[tuple[Any, ...]]) -> None:
    """Give notifications columns that we do not know, and add one for each row of their values."""
    for name, kind in columns.items():
        world.sql(f'ALTER TABLE {NOTIFICATIONS} ADD COLUMN "{name}" {kind}')
    names = ", ".join(f'"{name}" = ?' for name in columns)
    for values in rows:
        world.sql(f"UPDATE {NOTIFICATIONS} SET {names} WHERE id = ?", *values, old(world, world.user()))


def there_and_back(world: World) -> None:
    """Archive and restore everything; fails unless all of it went and came back as it was."""
    before = stored(world)
    assert clean(world).result["archived"] == len(before)
    assert numbers(world) == []
    assert restore(world).problems == []
    assert stored(world) == before


def test_columns_that_we_do_not_know_come_back_on_postgresql(pg_world: World) -> None:
    """A row for each value: the other columns are empty in it."""
    kinds = [
        ("numeric(20,10)", ["0.1", "1234567890.0123456789", "-0.0000000001", "5", "NaN"]),
        ("numeric", ["1e100", "0.10", "100.00", "1e-100", "12345678901234567890.12345678901234567890"]),
        ("double precision", ["0.1", "1e-300", "0.3333333333333333", "5", "5e-324", "Infinity", "NaN", "1e308"]),
        ("real", ["0.1", "1e-38", "16777217", "-Infinity"]),
        ("jsonb", ['{"a": [1, null, "ñ\\n"], "b": {"c": 1.10}}', "[]", '"text"', "1", "true", '""']),
        ("text[]", ['{a,NULL,"",NULL}', "{}", '{"a\\"b","c,d","{e}"}', "{{a,b},{c,d}}", '{"NULL"}']),
        ("integer[]", ["{1,2}", "{NULL}"]),
        ("timestamptz", ["2025-06-01 12:00:00.123456+00", "infinity", "0044-03-15 12:00:00+00 BC", "1880-01-01+00"]),
        ("timestamp", ["2025-03-09 02:30:00.000001", "-infinity"]),
        ("date", ["2025-06-01", "infinity", "0044-03-15 BC"]),
        ("time", ["12:00:00.000001", "24:00:00"]),
        ("timetz", ["12:00:00.5-06"]),
        ("boolean", ["true", "false"]),
        ("bytea", ["\\x", "\\x00ff5c", "\\x6162"]),
        ("uuid", ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
        ("interval", ["1 year 2 mons 3 days 04:05:06.789", "-1 days +02:00:00", "00:00:00"]),
        ("bigint", ["9223372036854775807", "-9223372036854775808", "9007199254740993"]),
        ("char(5)", ["a", ""]),
        ("varchar(10)", ["null", "", " a "]),
        ("inet", ["10.0.0.1/8", "::1"]),
        ("int4range", ["[1,5)", "empty", "(,)"]),
        ("tsvector", ["'a':1 'b c':2"]),
        ("bit varying", ["1010", ""]),
        ("point", ["(0.1,1e-300)"]),
        ("json", ['{"a": 1}', '"x"']),
    ]
    for number, (kind, values) in enumerate(kinds):
        pg_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra{number} {kind}")
        for value in (None, *values):
            key = old(pg_world, pg_world.user())
            new = f"extra{number} = CAST(CAST(? AS text) AS {kind})"
            pg_world.sql(f"UPDATE {NOTIFICATIONS} SET {new} WHERE id = ?", value, key)
    there_and_back(pg_world)


@pytest.mark.parametrize("rule", ["", " NOT NULL DEFAULT 'null'"])
def test_a_json_null_is_another_thing_than_none_and_stays_where_it_is(pg_world: World, rule: str) -> None:
    """Django stores None in a JSONField as JSON's null; a copy in JSON cannot tell it from NULL."""
    pg_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra jsonb{rule}")
    key = old(pg_world, pg_world.user())
    pg_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = 'null'")
    other = old(pg_world, pg_world.user())
    pg_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = '[null]' WHERE id = ?", other)
    report = clean(pg_world, code=3)
    assert (numbers(pg_world), kept(pg_world)) == ([key], [other])
    assert report.problems[0].subject == f"notification {key}"


@pytest.mark.parametrize(("kind", "value"), [("json", '{"b":  1, "a": 1, "a": 2}'), ("double precision", "-0")])
def test_what_json_would_change_stays_where_it_is(pg_world: World, kind: str, value: str) -> None:
    pg_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra {kind}")
    keys = [old(pg_world, pg_world.user()) for _ in range(3)]
    pg_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = CAST(CAST(? AS text) AS {kind}) WHERE id = ?", value, keys[1])
    before = stored(pg_world)
    report = clean(pg_world, code=3)
    assert [subject for subject, _ in named(report)] == [f"notification {keys[1]}"]
    assert (numbers(pg_world), report.result["archived"]) == ([keys[1]], 2)
    restore(pg_world)
    assert stored(pg_world) == before


def test_columns_that_we_do_not_know_come_back_on_sqlite(sqlite_world: World) -> None:
    reals = [0.1, 1e-300, 1 / 3, 5.0, 1e300, -2.5, 1e15, 2.0**53, 123456789.123456789, 0.0]
    integers = [0, 2**62, 2**63 - 1, -(2**63), 2**53 + 1, -1]
    texts = [*AWKWARD_TEXTS]
    rows = [(value,) * 4 for value in (None, *reals, *integers, *texts)]
    extra(sqlite_world, {"a real": "REAL", "number": "NUMERIC", "Text": "TEXT", "anything": ""}, rows)
    kinds = sqlite_world.sql(f"SELECT DISTINCT typeof(anything) AS kind FROM {NOTIFICATIONS}")
    assert {row["kind"] for row in kinds} == {"null", "real", "integer", "text"}
    there_and_back(sqlite_world)


def test_json_text_beside_real_numbers_stays_text_on_sqlite(sqlite_world: World) -> None:
    """SQLite passes on that a value is JSON; a text that only looks like it must not become a part of the document."""
    rows = [(0.5, '{"a": 1}', 0.25, "[1]"), ('{"a": 1}', 0.5, "[1]", 0.25), ("1.50", 1.5, "[", 1e-9)]
    extra(sqlite_world, {"a": "", "b": "", "c": "", "d": ""}, rows)
    there_and_back(sqlite_world)


def test_no_number_changes_on_sqlite(sqlite_world: World) -> None:
    """Whatever its bits: it comes back equal, or it never left."""
    chance = random.Random(7)
    sqlite_world.sql(f'ALTER TABLE {NOTIFICATIONS} ADD COLUMN "extra" REAL')
    user = sqlite_world.user()
    drawn = [struct.unpack("d", chance.randbytes(8))[0] for _ in range(2000)]
    drawn += [chance.uniform(-1000, 1000) for _ in range(1000)] + [5e-324, 2.2250738585072014e-308, -1e-320]
    with sqlite_world.connect() as connection:
        connection.execute("BEGIN")
        for value in drawn:
            connection.execute(
                f"INSERT INTO {NOTIFICATIONS} (user_id, notification_type, title, message, related_object_type, "
                "link_url, is_read, created_at, extra) VALUES (?, '', '', '', '', '', 1, '2025-01-01 12:00:00', ?)",
                (user, value),
            )
        connection.execute("COMMIT")
    before = stored(sqlite_world)
    report = sqlite_world.execute(CLEANUP, at=NOW)
    assert report.exit_code in (0, 3)
    assert sorted(numbers(sqlite_world) + kept(sqlite_world)) == list(range(1, len(drawn) + 1))
    assert report.result["archived"] == len(kept(sqlite_world))
    assert report.result["archived"] > 0.99 * len(drawn)
    restore(sqlite_world)
    assert stored(sqlite_world) == before


def test_a_column_may_have_any_name(newest: World) -> None:
    for column in ("Mixed Case", "order", "title2", "a'b", "a.b", "año", "$[0]", "a%b", "a:b", "a,b"):
        written = column.replace("%", "%%") if newest.engine == "postgresql" else column
        newest.sql(f'ALTER TABLE {NOTIFICATIONS} ADD COLUMN "{written}" text')
        for value in ("x", "", None):
            key = old(newest, newest.user())
            newest.sql(f'UPDATE {NOTIFICATIONS} SET "{written}" = ? WHERE id = ?', value, key)
    there_and_back(newest)


def test_a_generated_column_comes_back_by_itself(newest: World) -> None:
    kind = "STORED" if newest.engine == "postgresql" else "VIRTUAL"
    old(newest, newest.user(), "Low stock")
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra text GENERATED ALWAYS AS (upper(title)) {kind}")
    there_and_back(newest)


def test_a_column_that_came_after_the_archiving_is_empty(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra text")
    restore(newest)
    assert newest.sql(f"SELECT id, extra FROM {NOTIFICATIONS}") == [{"id": key, "extra": None}]


def test_a_column_with_a_default_that_came_after_the_archiving_has_its_default(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra text NOT NULL DEFAULT 'x'")
    restore(newest)
    assert newest.sql(f"SELECT id, extra FROM {NOTIFICATIONS}") == [{"id": key, "extra": "x"}]


def test_a_column_that_must_be_filled_and_came_after_the_archiving_is_named(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra text NOT NULL")
    report = restore(newest, code=3)
    reason = "it was archived before there was a column extra, which must be filled"
    assert named(report) == [(f"notification {key}", reason)]
    assert (numbers(newest), kept(newest)) == ([], [key])


def test_a_column_that_went_before_the_archiving_leaves_no_trace(newest: World) -> None:
    """PostgreSQL keeps its values in the rows."""
    old(newest, newest.user())
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN gone text DEFAULT 'x'")
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra integer DEFAULT 5")
    old(newest, newest.user())
    newest.sql(f"UPDATE {NOTIFICATIONS} SET gone = 'y', extra = 6 WHERE id = 1")
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} DROP COLUMN gone")
    old(newest, newest.user())
    there_and_back(newest)


def test_a_column_that_went_after_the_archiving_is_left_out(newest: World) -> None:
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra text")
    key = old(newest, newest.user())
    clean(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} DROP COLUMN extra")
    restore(newest)
    assert numbers(newest) == [key]


# ---- what cannot be kept exactly on SQLite


def test_what_cannot_be_kept_exactly_stays_where_it_is(sqlite_world: World) -> None:
    user = sqlite_world.user()
    sqlite_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra")
    goes, stays = [old(sqlite_world, user)], []
    for value in ("x'00ff'", "x''", "'a' || char(0) || 'b'", "char(0)", "9e999", "-9e999", "zeroblob(10)"):
        stays.append(old(sqlite_world, user))
        sqlite_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = {value} WHERE id = ?", stays[-1])
        goes.append(old(sqlite_world, user))
    before = stored(sqlite_world)
    report = clean(sqlite_world, code=3)
    assert numbers(sqlite_world) == stays
    assert numbers(sqlite_world, ARCHIVE) == goes
    reason = "it cannot be copied exactly, and stays where it is"
    assert named(report) == [(f"notification {key}", reason) for key in stays]
    assert (report.status, report.result["archived"]) == ("partial", len(goes))
    assert named(clean(sqlite_world, code=3)) == named(report)
    restore(sqlite_world)
    assert stored(sqlite_world) == before


def test_a_blob_in_a_column_of_text_stays(sqlite_world: World) -> None:
    key = old(sqlite_world, sqlite_world.user())
    sqlite_world.sql(f"UPDATE {NOTIFICATIONS} SET message = x'6162' WHERE id = ?", key)
    assert named(clean(sqlite_world, code=3))[0][0] == f"notification {key}"
    assert (numbers(sqlite_world), numbers(sqlite_world, ARCHIVE)) == ([key], [])


def test_text_that_is_no_utf_8_stays_or_comes_back(sqlite_world: World) -> None:
    sqlite_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra")
    keys = [old(sqlite_world, sqlite_world.user()) for _ in range(3)]
    sqlite_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = CAST(x'61ff62' AS TEXT) WHERE id = ?", keys[1])
    report = sqlite_world.execute(CLEANUP, at=NOW)
    assert report.exit_code in (0, 3)
    restore(sqlite_world)
    (row,) = sqlite_world.sql(f"SELECT hex(extra) AS hex FROM {NOTIFICATIONS} WHERE id = ?", keys[1])
    assert (row["hex"], numbers(sqlite_world)) == ("61FF62", keys)


def test_many_that_stay_do_not_stand_in_the_way(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole batches of them; twenty are named, the others counted."""
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    sqlite_world.sql(f"ALTER TABLE {NOTIFICATIONS} ADD COLUMN extra")
    keys = [old(sqlite_world, sqlite_world.user()) for _ in range(50)]
    sqlite_world.sql(f"UPDATE {NOTIFICATIONS} SET extra = x'00' WHERE id > 5 AND id <= 40")
    report = clean(sqlite_world, code=3)
    assert (numbers(sqlite_world), kept(sqlite_world)) == (keys[5:40], keys[:5] + keys[40:])
    assert report.result["archived"] == 15
    assert [subject for subject, _ in named(report)] == [
        *(f"notification {key}" for key in keys[5:25]), "15 more notifications that were not archived",
    ]  # fmt: skip


# ---- batches


def test_each_batch_is_a_transaction(newest: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BATCH == 5_000
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    user = newest.user()
    keys = [old(newest, user, f"Notice {number}") for number in range(35)]
    before, sizes = stored(newest), []
    with before_commits(newest, sizes.append):
        report = clean(newest)
    assert (report.result["archived"], numbers(newest), kept(newest)) == (35, [], keys)
    assert list(dict.fromkeys(sizes)) == [0, 10, 20, 30, 35]
    sizes.clear()
    with before_commits(newest, sizes.append):
        assert restore(newest).result["restored"] == 35
    assert list(dict.fromkeys(sizes)) == [35, 25, 15, 5, 0]
    assert stored(newest) == before


def test_batches_pass_over_what_stays(newest: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    keys = [old(newest, newest.user(), is_read=number % 3 > 0) for number in range(60)]
    clean(newest)
    assert numbers(newest) == keys[::3]
    assert len(kept(newest)) == 40


# ---- restoring


def test_what_was_restored_is_never_archived_again(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(3)]
    clean(newest)
    restore(newest, keys[1])
    assert (numbers(newest), kept(newest)) == ([keys[1]], [keys[0], keys[2]])
    for at in (NOW, "2025-11-30T02:00"):
        assert clean(newest, at=at, older_than=1).result["archived"] == 0
    assert clean(newest, at=NOW, dry_run=True).result["archived"] == 0
    assert (numbers(newest), kept(newest)) == ([keys[1]], [keys[0], keys[2]])
    restore(newest)
    assert clean(newest).result["archived"] == 0
    assert numbers(newest) == keys


def test_restoring_by_number(newest: World) -> None:
    user = newest.user()
    keys = [old(newest, user, f"Notice {number}") for number in range(5)]
    clean(newest)
    report = restore(newest, keys[3], keys[1], keys[3], at="2025-11-23T10:00")
    assert (numbers(newest), kept(newest)) == ([keys[1], keys[3]], [keys[0], keys[2], keys[4]])
    assert report.result == {"restored": 2, "errors": 0}
    assert [(row["notification_id"], row["title"], row["action"], row["reason"]) for row in report.rows] == [
        (keys[1], "Notice 1", "restored", None), (keys[3], "Notice 3", "restored", None),
    ]  # fmt: skip
    (mark,) = newest.sql(f"SELECT restored_at FROM {ARCHIVE} WHERE id = ?", keys[1])
    assert str(mark["restored_at"]).startswith("2025-11-23 17:00:00")


def test_a_number_that_is_not_in_the_archive_stops_everything(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(2)]
    stays = newest.notify(newest.user())
    clean(newest)
    before = newest.dump(own=False), newest.rows(ARCHIVE)
    report = restore(newest, keys[0], stays, 2**63 - 1, code=2)
    assert str(report.error) == f"Not in the archive: {stays}, {2**63 - 1}."
    assert (newest.dump(own=False), newest.rows(ARCHIVE)) == before


def test_restoring_twice_changes_nothing(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    restore(newest, key)
    before = newest.dump(own=False), newest.rows(ARCHIVE)
    for report in (restore(newest, key, at="2025-11-24T02:00"), restore(newest, at="2025-11-24T02:00")):
        assert (report.result["restored"], report.rows) == (0, [])
    assert (newest.dump(own=False), newest.rows(ARCHIVE)) == before


def test_what_the_application_changed_after_the_restoring_stays_so(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    restore(newest)
    newest.sql(f"UPDATE {NOTIFICATIONS} SET title = 'Changed'")
    restore(newest, key)
    assert [row["title"] for row in newest.rows(NOTIFICATIONS)] == ["Changed"]
    newest.sql(f"DELETE FROM {NOTIFICATIONS}")
    restore(newest, key)
    assert numbers(newest) == []


@pytest.mark.parametrize("options", [{}, {"ids": [1], "everything": True}])
def test_either_numbers_or_all(newest: World, options: dict[str, Any]) -> None:
    old(newest, newest.user())
    clean(newest)
    report = done(newest.execute(RESTORE, at=NOW, **options), 2)
    assert "--all" in str(report.error)
    assert numbers(newest) == []


def test_an_empty_archive(newest: World) -> None:
    assert restore(newest).result == {"restored": 0, "errors": 0}
    restore(newest, 1, code=2)


def test_one_whose_user_is_gone_stays_in_the_archive_and_is_named(newest: World) -> None:
    ana, bob = newest.user("ana"), newest.user("bob")
    keys = [old(newest, user) for user in (ana, bob, ana)]
    clean(newest)
    newest.sql("DELETE FROM auth_user WHERE id = ?", bob)
    dry, report = restore(newest, code=3, dry_run=True), restore(newest, code=3)
    assert named(report) == [(f"notification {keys[1]}", "its user is gone")]
    assert (dry.result, dry.rows, named(dry)) == (report.result, report.rows, named(report))
    assert report.result == {"restored": 2, "errors": 1}
    assert (numbers(newest), kept(newest)) == ([keys[0], keys[2]], [keys[1]])
    assert [row["action"] for row in report.rows] == ["restored", "failed", "restored"]
    restore(newest, keys[1], code=3)
    assert kept(newest) == [keys[1]]


def test_one_whose_project_is_gone_stays_in_the_archive_and_is_named(world: World) -> None:
    stays, goes = world.project("Stays"), world.project("Goes")
    keys = [old(world, world.user(), project_id=project) for project in (stays, goes, None)]
    before = stored(world)
    clean(world)
    world.sql("DELETE FROM core_project WHERE id = ?", goes)
    if world.version != "2026-06":  # notifications know no project
        restore(world)
        assert stored(world) == before
        return
    report = restore(world, code=3)
    assert named(report) == [(f"notification {keys[1]}", "its project is gone")]
    assert (numbers(world), kept(world)) == ([keys[0], keys[2]], [keys[1]])


def test_one_whose_number_is_taken_stays_in_the_archive_and_is_named(newest: World) -> None:
    keys = [old(newest, newest.user(), "Mine") for _ in range(3)]
    clean(newest)
    newest.notify(newest.user(), "Other", id=keys[0])
    report = restore(newest, code=3)
    assert named(report) == [(f"notification {keys[0]}", "another notification has its number by now")]
    assert (numbers(newest), kept(newest)) == (keys, [keys[0]])
    assert [row["title"] for row in newest.rows(NOTIFICATIONS)] == ["Other", "Mine", "Mine"]
    clean(newest)
    assert kept(newest) == [keys[0]]  # what is there already is not overwritten


def test_a_project_with_a_large_number(newest: World) -> None:
    """They are bigint."""
    project = newest.project(id=2**31 + 5)
    old(newest, newest.user(), project_id=project)
    there_and_back(newest)


def test_what_was_archived_in_the_older_schema_comes_back_in_the_newer(newest: World) -> None:
    key = old(newest, newest.user())
    before = stored(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} RENAME COLUMN project_id TO renamed")
    clean(newest)
    newest.sql(f"ALTER TABLE {NOTIFICATIONS} RENAME COLUMN renamed TO project_id")
    restore(newest)
    assert (numbers(newest), stored(newest)) == ([key], before)


# ---- purging and pruning


def test_nothing_ever_leaves_the_archive_by_itself(newest: World) -> None:
    key = old(newest, newest.user())
    clean(newest)
    report = clean(newest, at="2026-01-04T02:00")
    newest.sql(f"UPDATE {ARCHIVE} SET archived_at = ?", datetime(1990, 1, 1, tzinfo=UTC))
    clean(newest)
    assert kept(newest) == [key]
    assert "purged" not in report.result


def test_purging_deletes_what_has_been_in_the_archive_for_so_long(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(6)]
    clean(newest)
    now = datetime(2025, 11, 23, 9, tzinfo=UTC)
    ages = (
        timedelta(days=100),
        timedelta(days=91),
        timedelta(days=90, microseconds=1),
        timedelta(days=90),
        timedelta(),
    )
    for key, age in zip(keys, ages, strict=False):
        newest.sql(f"UPDATE {ARCHIVE} SET archived_at = ? WHERE id = ?", now - age, key)
    restore(newest, keys[0])
    dry = clean(newest, purge_after=90, dry_run=True)
    assert len(numbers(newest, ARCHIVE)) == 6
    report = clean(newest, purge_after=90)
    assert report.result["purged"] == dry.result["purged"] == 2
    assert numbers(newest, ARCHIVE) == [keys[0], *keys[3:]]  # the mark of a restored one stays
    assert numbers(newest) == [keys[0]]


def test_what_is_archived_in_a_run_is_not_purged_by_it(newest: World) -> None:
    key = old(newest, newest.user())
    assert clean(newest, purge_after=1).result["purged"] == 0
    assert kept(newest) == [key]


def test_the_marks_of_restored_ones_that_are_gone(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(3)]
    clean(newest)
    restore(newest, keys[0], keys[1])
    newest.sql(f"DELETE FROM {NOTIFICATIONS} WHERE id = ?", keys[0])
    assert clean(newest, dry_run=True).result["pruned_restored"] == 1
    assert clean(newest).result["pruned_restored"] == 1
    assert numbers(newest, ARCHIVE) == keys[1:]
    assert clean(newest).result["pruned_restored"] == 0


HORIZON = datetime(2024, 10, 19, 9, tzinfo=UTC)
"""400 days before."""
BEFORE, AFTER = HORIZON - timedelta(seconds=1), HORIZON + timedelta(seconds=1)


def run_record(world: World, job: str, status: str, finished_at: datetime | None) -> int:
    put(
        world, "kibray_ops_run", job=job, business_date=date(2024, 1, 1), trigger="manual", host="h", pid=1,
        version="1", arguments={}, started_at=BEFORE - timedelta(days=1), finished_at=finished_at, status=status,
        problems=[],
    )  # fmt: skip
    return int(world.runs()[-1]["id"])


def test_old_run_records_go_but_for_each_jobs_newest_success(newest: World) -> None:
    expected = {
        run_record(newest, job, status, finished): stays
        for job, status, finished, stays in (
            ("a", "succeeded", BEFORE, False), ("a", "succeeded", BEFORE, True), ("a", "failed", BEFORE, False),
            ("a", "partial", BEFORE, False), ("a", "failed", AFTER, True), ("b", "succeeded", BEFORE, False),
            ("b", "succeeded", AFTER, True), ("b", "skipped", BEFORE, False), ("b", "failed", HORIZON, True),
            ("c", "failed", BEFORE, False), ("c", "running", None, True), (CLEANUP, "succeeded", BEFORE, True),
            ("c", "timed_out", BEFORE, False), ("c", "interrupted", BEFORE, False),
        )
    }  # fmt: skip
    assert clean(newest, dry_run=True).result["pruned_runs"] == 8
    report = clean(newest)
    assert report.result["pruned_runs"] == 8
    left = [run["id"] for run in newest.runs()]
    assert left == [*(key for key, stays in expected.items() if stays), report.run_id]
    assert newest.runs()[-1]["status"] == "succeeded"
    newer = clean(newest)  # its success of long ago is not its newest any more
    assert newer.result["pruned_runs"] == 1
    assert {report.run_id, newer.run_id} <= {run["id"] for run in newest.runs()}


def test_how_long_run_records_are_kept_is_for_the_setting_to_say(newest: World) -> None:
    newest.environment["KIBRAY_OPS_RUNS_KEEP_DAYS"] = "10"
    old_one, new_one = (run_record(newest, "a", "failed", datetime(2025, 11, day, tzinfo=UTC)) for day in (12, 14))
    clean(newest)
    left = [run["id"] for run in newest.runs()]
    assert old_one not in left
    assert new_one in left


def test_the_ledger_keeps_whom_may_be_told_of_what_again(newest: World) -> None:
    project = newest.project()
    subjects = {
        "invoice_overdue": newest.invoice("I-1", "SENT", "2024-01-01"),
        "payroll_ready": newest.add("core_payrollperiod"),
        "plan_incomplete": newest.plan(project, "2024-01-02"),
    }
    stays, goes = [], []
    old_day, day = date(2024, 10, 18), date(2024, 10, 19)
    for number, (kind, subject, on, told_at, is_kept) in enumerate(
        (
            *((kind, key, old_day, BEFORE, True) for kind, key in subjects.items()),
            *((kind, key + 99, old_day, BEFORE, False) for kind, key in subjects.items()),
            *((kind, key + 99, old_day, AFTER, True) for kind, key in subjects.items()),
            *((kind, 0, old_day, BEFORE, False) for kind in ("inventory_shortage", "touchups")),
            *((kind, 0, day, BEFORE, True) for kind in ("inventory_shortage", "touchups")),
            *((kind, 0, old_day, AFTER, True) for kind in ("inventory_shortage", "touchups")),
            ("touchups", project, old_day, BEFORE, False),  # though the project is there
            ("something_newer", 99, old_day, BEFORE, True),
        ),
        1,
    ):
        put(
            newest, "kibray_ops_alert", kind=kind, subject_id=subject, subject_date=on, recipient_id=number, stage=0,
            told_at=told_at, run_id=1,
        )  # fmt: skip
        (stays if is_kept else goes).append(number)
    assert clean(newest, dry_run=True).result["pruned_ledger"] == len(goes)
    assert clean(newest).result["pruned_ledger"] == len(goes)
    assert [row["recipient_id"] for row in newest.sql("SELECT * FROM kibray_ops_alert ORDER BY recipient_id")] == stays


def test_forecasts_of_yesterday_and_places_of_gone_projects(newest: World) -> None:
    now = datetime(2025, 11, 23, 9, tzinfo=UTC)
    for number, age in enumerate((timedelta(days=1, seconds=1), timedelta(days=1), timedelta(hours=1)), 40):
        put(
            newest, "kibray_ops_forecast", latitude=D(number), longitude=D(-105), answer={"a": 1}, fetched_at=now - age
        )  # fmt: skip
    project = newest.project()
    for key in (project, project + 1, project + 2):
        put(newest, "kibray_ops_place", project_id=key, address_hash="x", source="manual", located_at=BEFORE)
    dry, report = clean(newest, dry_run=True), clean(newest)
    for told in (dry, report):
        assert (told.result["pruned_forecasts"], told.result["pruned_places"]) == (1, 2)
    assert [int(float(row["latitude"])) for row in newest.sql("SELECT * FROM kibray_ops_forecast ORDER BY 1")] == [
        41,
        42,
    ]
    assert [row["project_id"] for row in newest.sql("SELECT * FROM kibray_ops_place")] == [project]


def test_deliveries_go_only_when_their_notification_is_gone(newest: World) -> None:
    there = newest.notify(newest.user())
    expected = {}
    for number, (key, channel, ended_at, stays) in enumerate(
        (
            (there, "email", BEFORE, True), (there, "sms", AFTER, True),
            (901, "email", BEFORE, False), (902, "email", AFTER, True), (903, "email", HORIZON, True),
            (904, "email", None, True), (905, "sms", BEFORE, False),
        ),
        1,
    ):  # fmt: skip
        put(
            newest, "kibray_ops_delivery", notification_id=key, channel=channel, user_id=1, status="sent", attempts=1,
            queued_at=BEFORE, next_attempt_at=BEFORE, expires_at=BEFORE, ended_at=ended_at, run_id=1,
        )  # fmt: skip
        expected[number] = stays
    assert clean(newest, dry_run=True).result["pruned_deliveries"] == 2
    assert clean(newest).result["pruned_deliveries"] == 2
    assert [row["id"] for row in newest.outbox()] == [key for key, stays in expected.items() if stays]


def test_the_application_s_tables_are_left_alone(world: World) -> None:
    """But for the notifications that are moved."""
    project = world.project()
    world.invoice("I-1", "SENT", "2024-01-01", project_id=project)
    world.plan(project, "2024-01-02")
    old(world, world.user())
    before = world.dump(own=False)
    clean(world, purge_after=1)
    after = world.dump(own=False)
    assert before.pop(NOTIFICATIONS) != after.pop(NOTIFICATIONS)
    assert after == before


# ---- what goes wrong in the middle


MANY = 30_000


def fill(world: World, count: int) -> None:
    """Insert many old notifications at once, of two users and with some text."""
    users = world.user("ana"), world.user("bob")
    texts = "'Nötice 🎨 ' || i, 'line 1' || CAST(i AS text) || ' \"quoted\" \\'"
    world.sql(
        f"INSERT INTO {NOTIFICATIONS} (user_id, notification_type, title, message, related_object_type, link_url, "
        f"is_read, created_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
        f"SELECT CASE WHEN i < {count // 3} THEN {users[0]} ELSE {users[1]} END, 'alert', {texts}, '', '/a/', ?, ? "
        "FROM n",
        True, datetime(2024, 6, 1, 12, 30, 15, 123456, tzinfo=UTC),
    )  # fmt: skip


def digest(world: World) -> tuple[int, int, str]:
    rows = stored(world)
    ids = numbers(world)
    return len(rows), sum(ids), hashlib.sha256("\n".join(rows).encode()).hexdigest()


@pytest.mark.parametrize("verb", ["cleanup", "restore"])
def test_a_kill_in_the_middle_loses_nothing(newest: World, verb: str) -> None:
    """Every notification is in exactly one of the two places; the next run does the rest."""
    fill(newest, MANY)
    before = digest(newest)
    words, counted = ("notifications", "cleanup"), ARCHIVE
    if verb == "restore":
        done(newest.execute(CLEANUP))
        words, counted = ("notifications", "archive", "restore", "--all"), NOTIFICATIONS
    with newest.connect() as watching, newest.fork(*words) as process:
        while not watching.execute(f"SELECT 1 FROM {counted} LIMIT 1").fetchone():
            assert process.returncode is None
            time.sleep(0.002)
        process.kill()
    both = sorted(numbers(newest) + kept(newest))
    assert both == list(range(1, MANY + 1))
    assert 0 < len(kept(newest)) < MANY, "killed too late or too early to tell anything"
    assert len(kept(newest)) % BATCH == 0
    wait_until(lambda: here(newest, *words).returncode == 0)
    assert newest.runs()[-2]["status"] == "interrupted"
    if verb == "cleanup":
        assert (numbers(newest), len(kept(newest))) == ([], MANY)
        restore(newest)
    assert digest(newest) == before
    assert kept(newest) == []


def test_one_that_is_marked_unread_meanwhile_is_not_archived(pg_world: World) -> None:
    """The row is locked when the batch is chosen, and unread when the lock is gone."""
    keys = [old(pg_world, pg_world.user(), f"Notice {number}") for number in range(4)]
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute(f"UPDATE {NOTIFICATIONS} SET is_read = false WHERE id = %s", [keys[1]])
        application.execute(f"UPDATE {NOTIFICATIONS} SET title = 'Changed' WHERE id = %s", [keys[2]])
        application.execute(f"DELETE FROM {NOTIFICATIONS} WHERE id = %s", [keys[3]])
        with pg_world.fork("notifications", "cleanup", "--as-of", NOW, "--json") as process:
            wait_until(lambda: is_waiting(pg_world))
            application.execute("COMMIT")
            out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["result"]["archived"] == 2
    assert (numbers(pg_world), kept(pg_world)) == ([keys[1]], [keys[0], keys[2]])
    restore(pg_world)
    assert [row["title"] for row in pg_world.rows(NOTIFICATIONS)] == ["Notice 0", "Notice 1", "Changed"]


def is_waiting(world: World) -> bool:
    return bool(
        world.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    )


def test_a_row_that_is_held_for_long_ends_the_run_and_what_was_moved_stays_moved(
    pg_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    pg_world.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
    keys = [old(pg_world, pg_world.user()) for _ in range(35)]
    before = stored(pg_world)
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute(f"SELECT 1 FROM {NOTIFICATIONS} WHERE id = %s FOR UPDATE", [keys[25]])
        report = clean(pg_world, code=75)
        application.execute("ROLLBACK")
    assert (numbers(pg_world), kept(pg_world)) == (keys[20:], keys[:20])
    assert pg_world.runs()[-1]["status"] == report.status == "failed"
    assert clean(pg_world).result["archived"] == 15
    restore(pg_world)
    assert stored(pg_world) == before


def test_a_held_row_is_no_reason_to_say_that_nothing_was_written(
    pg_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    pg_world.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
    keys = [old(pg_world, pg_world.user()) for _ in range(15)]
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute(f"SELECT 1 FROM {NOTIFICATIONS} WHERE id = %s FOR UPDATE", [keys[12]])
        report = clean(pg_world, code=75)
        application.execute("ROLLBACK")
    assert len(kept(pg_world)) == 10
    assert report.error is not None
    assert "Nothing was written" not in report.error.hint


def test_the_database_file_held_by_another_ends_the_run_with_75(sqlite_world: World) -> None:
    sqlite_world.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
    key = old(sqlite_world, sqlite_world.user())
    with sqlite_world.connect() as application:
        application.execute("BEGIN IMMEDIATE")
        clean(sqlite_world, code=75)
        application.execute("ROLLBACK")
    assert (numbers(sqlite_world), kept(sqlite_world)) == ([key], [])


@pytest.fixture
def one_second(newest: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A time limit of a second, batches of ten, and 35 notifications."""
    monkeypatch.setattr("kibray_ops.archive.BATCH", 10)
    newest.environment["KIBRAY_OPS_SOFT_TIME_LIMIT"] = "1"
    return [old(newest, newest.user()) for _ in range(35)]


def sleeping_once(until: Callable[[int], bool]) -> Callable[[int], None]:
    """Let the time run out at the first COMMIT by which so many notifications are in the archive."""
    slept: list[int] = []

    def act(size: int) -> None:
        if not slept and until(size):
            slept.append(size)
            time.sleep(1.05)

    return act


def test_the_time_limit_stops_the_cleanup_between_batches(newest: World, one_second: list[int]) -> None:
    before = stored(newest)
    with before_commits(newest, sleeping_once(lambda size: size == 20)):
        report = clean(newest, code=124)
    assert (report.status, report.result["archived"]) == ("timed_out", 20)
    assert (numbers(newest), kept(newest)) == (one_second[20:], one_second[:20])
    run = newest.runs()[-1]
    assert run["status"] == "timed_out"
    assert "time limit" in run["error"]
    assert (run["result"] if isinstance(run["result"], dict) else json.loads(run["result"]))["archived"] == 20
    assert clean(newest).result["archived"] == 15
    restore(newest)
    assert stored(newest) == before


def test_the_time_limit_stops_the_restoring_between_batches(newest: World, one_second: list[int]) -> None:
    before = stored(newest)
    clean(newest)
    with before_commits(newest, sleeping_once(lambda size: size == 15)):
        report = restore(newest, code=124)
    assert report.result == {"restored": 20, "errors": 0}
    assert [row["notification_id"] for row in report.rows] == one_second[:20]
    assert (numbers(newest), kept(newest)) == (one_second[:20], one_second[20:])
    assert restore(newest).result["restored"] == 15
    assert stored(newest) == before


def test_a_time_limit_before_the_first_batch_archives_none_and_says_so(newest: World, one_second: list[int]) -> None:
    with before_commits(newest, sleeping_once(lambda size: size == 0)):
        report = clean(newest, code=124)
    assert (numbers(newest), kept(newest)) == (one_second, [])
    assert report.result["archived"] == 0


def test_a_time_limit_at_the_very_end_tells_what_was_done(newest: World, one_second: list[int]) -> None:
    with before_commits(newest, sleeping_once(lambda size: size == 35)):
        report = newest.execute(CLEANUP, at=NOW)
    assert report.exit_code in (0, 124)
    assert (report.result["archived"], numbers(newest), kept(newest)) == (35, [], one_second)


# ---- at the terminal


def test_the_report_of_the_cleanup(newest: World) -> None:
    fill(newest, 1_234)
    newest.notify(newest.user("[red]"), is_read=True, at=OLD)
    dry = here(newest, "notifications", "cleanup", "--as-of", NOW, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    assert "DRY RUN" in dry.stdout
    assert "1,235 notifications would be archived" in dry.stdout
    told = here(newest, "notifications", "cleanup", "--as-of", NOW)
    assert (told.returncode, told.stderr) == (0, "")
    assert "1,235 notifications archived" in told.stdout
    assert "older than 30 days" in told.stdout
    assert "[red]" in told.stdout
    assert "Deleted" not in told.stdout
    again = here(newest, "notifications", "cleanup", "--as-of", NOW, "--older-than", "7")
    assert "0 notifications archived" in again.stdout
    assert "older than 7 days" in again.stdout


def test_the_report_says_what_is_pruned_and_purged(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(3)]
    clean(newest)
    restore(newest, keys[0])
    newest.sql(f"DELETE FROM {NOTIFICATIONS}")
    newest.sql(f"UPDATE {ARCHIVE} SET archived_at = ?", BEFORE)
    run_record(newest, "a", "failed", BEFORE)
    words = ("notifications", "cleanup", "--as-of", NOW, "--purge-after", "30")
    expected = "1 run record, 1 mark of a restored notification, 2 archived notifications."
    assert f"Would be deleted: {expected}" in here(newest, *words, "--dry-run").stdout
    assert f"Deleted: {expected}" in here(newest, *words).stdout
    assert numbers(newest, ARCHIVE) == []


def test_the_cleanup_as_csv_and_json(newest: World) -> None:
    for name in ("ana", "bob", "ana", "=1+1"):
        old(newest, newest.user(name))
    table = here(newest, "notifications", "cleanup", "--as-of", NOW, "--dry-run", "--csv", "-")
    assert (table.returncode, table.stderr) == (0, "")
    rows = list(csv.DictReader(io.StringIO(table.stdout)))
    assert [(row["User"], row["Notifications"]) for row in rows] == [("ana", "2"), ("bob", "1"), ("'=1+1", "1")]
    told = here(newest, "notifications", "cleanup", "--as-of", NOW, "--json")
    assert (told.returncode, told.stderr) == (0, "")
    read = json.loads(told.stdout)
    assert (read["job"], read["result"]["archived"], len(read["rows"])) == (CLEANUP, 4, 3)
    assert read["result"]["cutoff"] == CUTOFF.isoformat()


@pytest.mark.parametrize(
    "words",
    [
        ("cleanup", "--older-than", "0"), ("cleanup", "--older-than", "-1"), ("cleanup", "--older-than", "36501"),
        ("cleanup", "--purge-after", "0"), ("cleanup", "--older-than", "x"), ("archive", "restore"),
        ("archive", "restore", "--all", "1"), ("archive", "restore", "0"), ("archive", "restore", "x"),
        ("archive", "restore", str(2**63)), ("archive", "restore", "99"), ("archive", "list", "--limit", "0"),
    ],
)  # fmt: skip
def test_what_is_refused(sqlite_world: World, words: tuple[str, ...]) -> None:
    key = old(sqlite_world, sqlite_world.user())
    told = here(sqlite_world, "notifications", *words)
    assert told.returncode == 2
    assert len(told.stderr.splitlines()) == 2
    assert (numbers(sqlite_world), told.stdout) == ([key], "")


def test_the_list_of_the_archive(newest: World) -> None:
    ana, bob = newest.user("ana"), newest.user("bob")
    keys = [
        old(newest, ana, "First", at="2025-09-01T12:00"),
        old(newest, bob, "[red]\n\x1b[31mSecond", at="2025-09-02T12:00"),
        old(newest, ana, "Third", at="2025-09-01T12:00"),
        old(newest, ana, "Restored", at="2025-09-05T12:00"),
    ]
    empty = here(newest, "notifications", "archive", "list")
    assert (empty.returncode, empty.stderr, empty.stdout) == (0, "", "0 notifications in the archive.\n")
    clean(newest)
    restore(newest, keys[3])
    newest.sql("DELETE FROM auth_user WHERE id = ?", bob)
    before = newest.dump()
    told = here(newest, "notifications", "archive", "list")
    assert (told.returncode, told.stderr) == (0, "")
    assert newest.dump() == before
    lines = [line for line in told.stdout.splitlines() if "2025-" in line]
    assert [int(line.split()[0]) for line in lines] == [keys[1], keys[2], keys[0]]
    assert "[red] [31mSecond" in lines[0]
    assert f"#{bob}" in lines[0]
    assert "2025-09-02 12:00" in lines[0]
    assert "2025-11-23 02:00" in lines[0]
    assert "Restored" not in told.stdout
    assert told.stdout.endswith("3 notifications in the archive.\n")


def test_the_list_of_the_archive_as_json(newest: World) -> None:
    assert json.loads(here(newest, "notifications", "archive", "list", "--json").stdout) == {
        "schema": 1, "report": "archive", "total": 0, "rows": [],
    }  # fmt: skip
    keys = [old(newest, newest.user(), f"Notice {number}") for number in range(5)]
    clean(newest)
    told = here(newest, "notifications", "archive", "list", "--json", "--limit", "2")
    assert (told.returncode, told.stderr) == (0, "")
    read = json.loads(told.stdout)
    assert (read["schema"], read["report"], read["total"]) == (1, "archive", 5)
    assert read["rows"] == [
        {
            "notification_id": key,
            "user_id": newest.user(),
            "user": "owner",
            "title": f"Notice {number}",
            "created_at": "2025-10-01T18:00:00+00:00",
            "archived_at": "2025-11-23T09:00:00+00:00",
        }
        for number, key in ((4, keys[4]), (3, keys[3]))
    ]


def test_restoring_at_the_terminal(newest: World) -> None:
    keys = [old(newest, newest.user(), f"Notice {number}") for number in range(3)]
    clean(newest)
    words = ("notifications", "archive", "restore")
    dry = here(newest, *words, "--all", "--dry-run")
    assert dry.returncode == 0
    assert "3 notifications would be restored." in dry.stdout
    assert numbers(newest) == []
    told = here(newest, *words, str(keys[0]), str(keys[2]))
    assert (told.returncode, told.stderr) == (0, "")
    assert "2 notifications restored." in told.stdout
    assert "Notice 2" in told.stdout
    newest.notify(newest.user(), "Other", id=keys[1])
    told = here(newest, *words, "--all")
    assert told.returncode == 3
    assert f"notification {keys[1]}: another notification has its number by now" in told.stdout
    assert numbers(newest) == keys


def test_a_restored_one_among_those_that_are_archived_stays(newest: World) -> None:
    keys = [old(newest, newest.user()) for _ in range(3)]
    clean(newest)
    done(newest.execute("restore-notifications", at="2025-11-23T02:00", ids=[keys[1]]))
    before = stored(newest)
    around = old(newest, newest.user())
    newest.sql(f"UPDATE {NOTIFICATIONS} SET id = 0 - id WHERE id = ?", around)
    newest.sql(f"UPDATE {NOTIFICATIONS} SET id = 1000 WHERE id < 0")
    assert clean(newest).result["archived"] == 1
    assert stored(newest) == before
    assert kept(newest) == [keys[0], keys[2], 1000]


def test_a_delivery_stays_while_its_notification_may_come_back(newest: World) -> None:
    """Else a restored one that is marked unread would be mailed again."""
    newest.environment["KIBRAY_OPS_RUNS_KEEP_DAYS"] = "1"
    newest.notify(newest.user("ana"), at="2025-11-24T06:00")
    done(newest.execute("send-pending-notifications", at="2025-11-24T07:00"))
    newest.sql(f"UPDATE {NOTIFICATIONS} SET is_read = ?", True)
    for day in ("2025-11-27", "2025-11-28"):
        done(newest.execute("cleanup-old-notifications", at=f"{day}T02:00", older_than=1))
    assert [row["status"] for row in newest.outbox()] == ["sent"]
    done(newest.execute("restore-notifications", at="2025-11-28T03:00", everything=True))
    newest.sql(f"UPDATE {NOTIFICATIONS} SET is_read = ?", False)
    assert done(newest.execute("send-pending-notifications", at="2025-11-28T04:00")).result["sent"] == 0
