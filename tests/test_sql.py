"""SQL only with bound parameters, and a role that may do just what the jobs do."""

import ast
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import kibray_ops
from kibray_ops import provision, registry
from kibray_ops.registry import Job
from kibray_ops.runner import load
from tests.builder import Builder
from tests.sky import Sky
from tests.test_contract import ALL, OPTIONS, counted, fill
from tests.typed import typed
from tests.world import SCHEMA, VERSIONS, World, done

# ---- what is written

ROOT = Path(kibray_ops.__file__).parent
TAKES_SQL = {"text", "literal_column", "exec_driver_sql", "executescript", "executemany", "DDL"}
"""What takes a text for SQL."""
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|ALTER|CREATE|DROP|TRUNCATE|GRANT|LOCK|SET|COPY|BEGIN)\s")
ALLOWED = {
    ("limits.py", "f'SET LOCAL statement_timeout = {milliseconds}'"): "SET takes no parameters; a whole number",
    ("database.py", "f\"SET LOCAL lock_timeout = '{int(self.settings['LOCK_TIMEOUT'])}s'\""): "the same",
    ("database.py", "patience"): "the same",
    ("database.py", "'BEGIN' if read_only else 'BEGIN IMMEDIATE'"): "two words of our own",
    ("database.py", "f'LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE'"): "a table that we have mapped",
    ("catalog.py", "f'{table_of(model).name}.{name}'"): "a column that we have mapped",
    ("catalog.py", "f'SELECT version_num FROM {VERSION_TABLE}'"): "a name of our own",
    ("provision.py", "f'ALTER TABLE {own.name} ADD COLUMN {column.name} {kind}{rule}'"): "a column that we have mapped",
    ("archive.py", "f'to_jsonb({NOTIFICATIONS.name})'"): "a table that we have mapped",
    ("archive.py", "_READS_BACK"): "our own words",
    ("archive.py", "_named(name)"): "a column as the database calls it, quoted",
    ("archive.py", "f'NULL::{NOTIFICATIONS.name}'"): "a table that we have mapped",
}
"""Where SQL is made of more than one text, and why no data can get into it. `db grants` prints what it makes."""
PRINTED = ("provision.py", "GRANT ")


def _built() -> Iterator[tuple[str, str]]:
    """Yield every expression that becomes SQL, or looks like it, and is no constant: its file, and how it is spelt."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                called = getattr(node.func, "attr", None) or getattr(node.func, "id", "")
                given = node.args[0]
                if called in TAKES_SQL and not isinstance(given, ast.Constant):
                    yield path.name, ast.unparse(given)
            parts = [node] if isinstance(node, ast.JoinedStr) else []
            if isinstance(node, ast.BinOp | ast.Call):  # "SELECT " + x, "SELECT %s" % x, "SELECT {}".format(x)
                parts = [getattr(node, "left", None) or getattr(getattr(node, "func", None), "value", None)]
            for part in parts:
                head = part.values[0] if isinstance(part, ast.JoinedStr) else part
                if isinstance(head, ast.Constant) and isinstance(head.value, str) and SQL.match(head.value):
                    yield path.name, ast.unparse(node)


def test_sql_is_made_of_constants_but_for_a_short_list() -> None:
    found = {(file, words) for file, words in _built() if (file, words[2:8]) != PRINTED}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    [
        "connection.execute(text(f'SELECT {x}'))", "connection.execute('SELECT ' + x)", "op.execute(f'DROP TABLE {x}')",
        "connection.execute('DELETE FROM t WHERE x = %s' % x)", "literal_column(x)", "text('SELECT {}'.format(x))",
        "exec_driver_sql(x)",
    ],
)  # fmt: skip
def test_the_search_finds_what_is_built(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.py").write_text(line)
    monkeypatch.setattr("tests.test_sql.ROOT", tmp_path)
    assert list(_built())


# ---- what is sent

MARK = "x'\"; DROP TABLE core_invoice; --"
KEPT = {"status", "priority", "notification_type", "role", "language", "weather_data", "source", "email", "password"}
"""Columns whose words mean something."""


def spoil(world: World, words: str) -> None:
    """Put words into every column of text there is, as many of them as it takes."""
    for table, about in SCHEMA[world.version].items():
        unique = {column for columns in about["unique"] for column in columns} | set(about["primary_key"])
        for column in about["columns"]:
            kind = re.fullmatch(r"(?:text|(?:character varying|varchar)\((\d+)\))", column["postgresql"])
            if kind is None or column["name"] in KEPT or table.startswith("django_"):
                continue
            if column["name"] in unique or column["name"].endswith(("_key", "_code", "sku", "number")):
                continue
            text = words[: int(kind[1])] if kind[1] else words
            world.sql(f'UPDATE {table} SET "{column["name"]}" = ?', text)


def options_of(job: Job, words: str) -> dict[str, Any]:
    """Return a job's options, each that is a text being words."""
    found = inspect.signature(load(job), eval_str=True).parameters.values()
    return {p.name: words for p in found if "str" in str(p.annotation) and p.name != "run"}


def test_no_data_and_no_option_gets_into_a_statement(newest: World) -> None:
    newest.environment |= dict.fromkeys(("KIBRAY_OPS_ACCOUNTING_GROUP", "KIBRAY_OPS_SMS_TYPES"), MARK)
    fill(newest, 3)
    spoil(newest, MARK)
    for job in ALL:
        given = OPTIONS.get(job.name, {}) | ({"project": MARK} if job.name == "locate-project" else {})
        with counted() as statements:
            newest.execute(job, dry_run=True, **given)
            done(newest.execute(job, **given), 2 if job.name == "locate-project" else 0)  # several have that name
            for option in options_of(job, MARK).items():
                newest.execute(job, **(given | dict([option])))
        assert len(statements) > 5, job.name
        assert not [statement for statement in statements if "DROP TABLE" in statement], job.name
    assert newest.rows("core_invoice")


def test_an_unknown_column_is_named_as_it_is(newest: World) -> None:
    odd = 'odd "x"; DROP TABLE core_invoice; --'
    quoted = odd.replace('"', '""')
    newest.sql(f'ALTER TABLE core_notification ADD COLUMN "{quoted}" text')
    newest.notify(newest.user(), at="2025-09-01T06:00", is_read=True)
    newest.sql(f'UPDATE core_notification SET "{quoted}" = ?', MARK)
    before = newest.rows("core_notification")
    # SQLite's JSON has no path for such a name: then the row is named, and stays where it is.
    report = done(newest.execute("cleanup-old-notifications"), 3 if newest.engine == "sqlite" else 0)
    assert report.result["archived"] == (newest.engine == "postgresql")
    done(newest.execute("restore-notifications", everything=True))
    assert newest.rows("core_notification") == before


# ---- what the role of `db grants` may


@pytest.fixture(params=VERSIONS)
def role(request: Any, builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """The owner's world and that of a role: what is printed, and nothing that everybody has."""
    owner = builder.build("postgresql", request.param, tmp_path)
    owner.environment |= sky.environment
    fill(owner, 3)
    name = f'ops "{os.getpid()}"'
    quoted, written = '"' + name.replace('"', '""') + '"', name.replace('"', "%22").replace(" ", "%20")
    owner.sql(f"CREATE ROLE {quoted} LOGIN")
    printed = typed(owner, "db", "grants", name).out
    with owner.connect() as connection:
        database = connection.execute("SELECT current_database() AS name").fetchone()["name"]
        connection.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
        connection.execute(printed)
    theirs = World(owner.url.replace("postgres:@", f"{written}:@"), "postgresql", owner.version, tmp_path)
    theirs.environment |= owner.environment
    yield owner, theirs
    theirs.hang_up()
    owner.sql(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")
    builder.drop(owner)


MORE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("generate-weekly-payroll", {"refresh": True}), ("update-invoice-statuses", {"reopen": True}),
    ("locate-project", {"project": "Elm St", "forget": True}), ("cleanup-old-notifications", {"purge_after": 1}),
    ("retry-deliveries", {"ids": [1]}), ("cancel-deliveries", {"ids": [1]}),
)  # fmt: skip
OPERATORS = (
    "status", "doctor", "runs list", "runs show 1", "runs prune", "runs baseline", "runs baseline now", "catch-up",
    "jobs list", "jobs pause alert-high-priority-touchups", "jobs resume alert-high-priority-touchups", "db check",
    "invoices aging", "notifications outbox list", "notifications archive list", "schedule next",
)  # fmt: skip


def test_the_role_runs_every_job_and_command(role: tuple[World, World]) -> None:
    owner, theirs = role
    theirs.environment["KIBRAY_OPS_ALERT_EMAIL"] = "boss@example.com"
    before = owner.dump(own=False)
    for job, options in (*((job.name, OPTIONS.get(job.name, {})) for job in ALL), *MORE):
        done(theirs.execute(job, dry_run=True, at="2025-11-24T17:15", **options))
        report = done(theirs.execute(job, at="2025-11-24T17:15", **options))
        assert not job.startswith(("check", "alert")) or report.result["notifications"] > 0
    written = {table for job in (*registry.JOBS, *registry.ACTIONS) for table in job.writes}
    after = owner.dump(own=False)
    assert {table for table in after if after[table] != before[table]} == written & set(after)
    for words in OPERATORS:
        told = typed(theirs, *words.split())
        assert told.code in (0, 1), told  # 1: something is late, or this machine has no cron
        assert "permission" not in told.all.lower()
        assert "privilege lacks" not in told.all


def test_the_role_may_do_nothing_else(role: tuple[World, World]) -> None:
    owner, theirs = role
    mapped = provision.kibray_tables()
    optional = {c.name for model in provision.Kibray.__subclasses__() for c in model.optional}
    jobs = (*registry.JOBS, *registry.ACTIONS, *registry.REPORTS)
    whole = {table for job in jobs for table in job.copies}
    refused = ["SELECT password FROM auth_user", "SELECT social_security_number FROM core_employee"]
    refused += [f"SELECT * FROM {table}" for table in ("auth_user", "core_employee", "core_project", "core_invoice")]
    for table, about in SCHEMA[owner.version].items():
        known = {*mapped[table].columns.keys(), *optional} if table in mapped else set()
        strangers = [column["name"] for column in about["columns"] if column["name"] not in known]
        refused += [f'SELECT "{column}" FROM {table}' for column in strangers if table not in whole]
        may = {p.strip() for job in jobs for p in job.writes.get(table, "").split(",")}
        key = about["primary_key"][0]
        each = {
            "INSERT": f"INSERT INTO {table} DEFAULT VALUES",
            "UPDATE": f"UPDATE {table} SET {key} = {key} WHERE false",
            "DELETE": f"DELETE FROM {table} WHERE false",
        }
        refused += [statement for privilege, statement in each.items() if privilege not in may]
        refused += [f"TRUNCATE {table}", f"ALTER TABLE {table} ADD COLUMN more int", f"DROP TABLE {table}"]
    refused += ["CREATE TABLE more (id int)", "CREATE TEMP TABLE more (id int)", "CREATE SCHEMA more"]
    refused += ["CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE ROLE more"]
    for statement in refused:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.sql(statement)
    assert len(refused) > 100
    assert typed(theirs, "db", "init").code == 0, "there is nothing to make"
    owner.sql("DROP TABLE kibray_ops_alert, kibray_ops_alembic_version")
    told = typed(theirs, "db", "init")
    assert (told.code, len(told.err.splitlines())) == (78, 2)
    assert "lacks a privilege" in told.err
    assert "`kibray-ops db init`" in provision.GRANTS_HEAD, "it is the owner's"


def test_the_schemas_are_those_of_the_tables(pg_world: World) -> None:
    """The first of the search path may be another one, or be missing."""
    database = pg_world.sql("SELECT current_database() AS name")[0]["name"]
    pg_world.sql('CREATE SCHEMA "kibray app"')
    pg_world.sql('ALTER TABLE core_employee SET SCHEMA "kibray app"')
    pg_world.sql(f'ALTER DATABASE "{database}" SET search_path = nowhere, "kibray app", public')
    printed = typed(pg_world, "db", "grants", "ops").out
    assert f'GRANT CONNECT ON DATABASE "{database}" TO "ops";' in printed
    assert 'GRANT USAGE ON SCHEMA "kibray app", "public" TO "ops";' in printed
