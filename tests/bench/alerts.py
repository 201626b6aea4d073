"""Alerts of stock, touch-ups and plans."""

from collections.abc import Sequence

from tests.bench.seed import FIRST_MANAGER, MANAGERS, Seed
from tests.bench.work import ADMIN, DAY, LEDGER, NOTIFY, Dialect, Work, by_sql, run_sql, told

ITEMS, LOCATIONS, TASKS, PLANS = 5_000, 20, 50_000, 20_000
KNOWN = "ANALYZE kibray_ops_alert"
"""Between the statements: else the planner takes what the first has written for nothing, and needs seconds."""


def seed(seed: Seed) -> None:
    """Fill the stores, and give every project tasks, plans and a manager."""
    world, say, projects = seed.world, seed.say, seed.projects
    world.touchup(1, "low", "Completed")
    world.plan(1, "2020-01-01", status="COMPLETED")
    world.item("Item 0", "10", sku=None)
    world.add("core_inventorylocation", name="Place 0")
    world.manages(FIRST_MANAGER, 1)
    priorities = "CASE i / 7 % 4 WHEN 0 THEN 'low' WHEN 1 THEN 'high' WHEN 2 THEN 'urgent' ELSE 'medium' END"
    states = "CASE i / 3 % 4 WHEN 0 THEN 'Pendiente' WHEN 1 THEN 'In Progress' ELSE 'Completed' END"
    seed.copies(
        "core_task",
        seed.count(TASKS),
        project_id=f"1 + i % {projects}",
        title="'Touch-up number ' || i",
        is_touchup="i % 5 < 3",
        priority=priorities,
        status=states,
    )
    # Ten for each project: of tomorrow, of today, and of the days before.
    day = f"(i - 1) / {projects}"
    seed.copies(
        "core_dailyplan",
        PLANS * projects // 2_000,
        project_id=f"1 + i % {projects}",
        plan_date=say.day(f"1 - {day}"),
        created_by_id=f"{FIRST_MANAGER} + i % {MANAGERS}",
        completion_deadline=say.moment("2025-11-25 00:00:00", f"-86400 * ({day})"),
        status=f"CASE WHEN i % 9 = 0 THEN 'DRAFT' WHEN {day} < 2 THEN 'PUBLISHED' ELSE 'COMPLETED' END",
    )
    seed.copies("core_inventoryitem", seed.count(ITEMS) - 1, name="'Item ' || i")
    seed.copies("core_inventorylocation", LOCATIONS - 1, name="'Place ' || i")
    seed.copies(
        "core_clientprojectaccess",
        projects - 1,
        project_id="i + 1",
        user_id=f"{FIRST_MANAGER} + i % {MANAGERS}",
    )
    run_sql(
        world,
        "INSERT INTO core_projectinventory (item_id, location_id, quantity) "
        f"SELECT t.id, i, t.id * i % 11 / 10.0 FROM core_inventoryitem t, {say.numbers(1, LOCATIONS)}",
    )


def active(say: Dialect) -> str:
    return f"(p.end_date IS NULL OR p.end_date >= {say.day()}) AND NOT p.is_archived"


def shortages(say: Dialect) -> Sequence[str]:
    return (
        f"{LEDGER} SELECT 'inventory_shortage', 0, {say.day()}, u.id, 0, {say.now}, 0 FROM auth_user u WHERE {ADMIN}",
        f"""
{NOTIFY}
WITH short AS (
    SELECT i.name, coalesce(s.have, 0) AS have, i.need
    FROM (SELECT id, name, coalesce(nullif(low_stock_threshold, 0), nullif(default_threshold, 0)) AS need
          FROM core_inventoryitem WHERE active AND NOT no_threshold) i
    LEFT JOIN (SELECT item_id, sum(quantity) AS have FROM core_projectinventory GROUP BY item_id) s ON s.item_id = i.id
    WHERE coalesce(s.have, 0) < i.need
)
SELECT recipient_id, 'task_alert', (SELECT count(*) FROM short) || ' items are low in stock',
       (SELECT {say.joined("name || ' ' || have || '/' || need")}
        FROM (SELECT * FROM short ORDER BY have / need LIMIT 5) f), 'inventory', NULL, '/inventory/', false, {say.now},
       NULL
FROM kibray_ops_alert WHERE kind = 'inventory_shortage' AND run_id = 0
""",
    )


def touchups(say: Dialect) -> Sequence[str]:
    sites = f"""touchup AS (
    SELECT project_id, title, priority, created_at FROM core_task WHERE is_touchup AND priority IN ('high', 'urgent')
        AND status IN ('Pendiente', 'En Progreso', 'Pending', 'In Progress')
    UNION ALL
    SELECT project_id, title, priority, created_at FROM core_touchup WHERE priority IN ('high', 'urgent')
        AND status IN ('open', 'in_progress', 'review')
), site AS (
    SELECT p.id, p.name, count(*) AS total FROM touchup t
    JOIN core_project p ON p.id = t.project_id WHERE {active(say)} GROUP BY p.id, p.name HAVING count(*) >= 3
)"""
    return (
        f"""
{LEDGER}
WITH {sites}, audience AS (
    SELECT s.id, u.id AS user_id FROM site s CROSS JOIN auth_user u WHERE {ADMIN}
    UNION
    SELECT a.project_id, a.user_id FROM core_clientprojectaccess a JOIN site s ON s.id = a.project_id
    JOIN auth_user u ON u.id = a.user_id
    WHERE a.role = 'external_pm' AND a.is_active AND a.receive_notifications AND u.is_active
    UNION
    SELECT m.project_id, m.pm_id FROM core_projectmanagerassignment m JOIN site s ON s.id = m.project_id
    JOIN auth_user u ON u.id = m.pm_id WHERE u.is_active
)
SELECT 'touchups', a.id, {say.day()}, a.user_id, 0, {say.now}, 0 FROM audience a
WHERE NOT EXISTS (SELECT 1 FROM kibray_ops_alert l WHERE l.kind = 'touchups' AND l.subject_id = a.id
    AND l.subject_date = '{DAY}' AND l.recipient_id = a.user_id)
""",
        KNOWN,
        f"""
{NOTIFY}
WITH {sites}, first AS (
    SELECT project_id, {say.joined("title")} AS titles FROM (
        SELECT project_id, title, row_number() OVER (PARTITION BY project_id ORDER BY priority DESC, created_at) AS n
        FROM touchup) r WHERE n <= 5 GROUP BY project_id
), news AS (
    SELECT l.subject_id, l.recipient_id, s.name, s.total, f.titles,
           count(*) OVER (PARTITION BY l.recipient_id) AS many,
           row_number() OVER (PARTITION BY l.recipient_id ORDER BY s.total DESC) AS n
    FROM kibray_ops_alert l JOIN site s ON s.id = l.subject_id JOIN first f ON f.project_id = s.id
    WHERE l.kind = 'touchups' AND l.run_id = 0
)
SELECT recipient_id, 'task_alert', total || ' touch-ups: ' || name, titles, 'project', subject_id,
       '/projects/' || subject_id || '/touchups/', false, {say.now}, subject_id FROM news WHERE many <= 10
UNION ALL
SELECT recipient_id, 'task_alert', count(*) || ' projects', {say.joined("CASE WHEN n <= 5 THEN name END")}, 'project',
       NULL, '/projects/', false, {say.now}, NULL FROM news WHERE many > 10 GROUP BY recipient_id
""",
    )


def late_plans(say: Dialect) -> Sequence[str]:
    return (
        f"""
{LEDGER}
WITH late AS (
    SELECT d.id, d.created_by_id FROM core_dailyplan d LEFT JOIN core_project p ON p.id = d.project_id
    WHERE d.status = 'DRAFT' AND d.completion_deadline < {say.moment("2025-11-25 00:15:00")}
    AND (p.id IS NULL OR {active(say)}) AND (d.plan_date >= {say.day()} OR NOT EXISTS
         (SELECT 1 FROM kibray_ops_alert l WHERE l.kind = 'plan_incomplete' AND l.subject_id = d.id))
), audience AS (
    SELECT l.id, u.id AS user_id FROM late l CROSS JOIN auth_user u WHERE {ADMIN}
    UNION
    SELECT l.id, u.id FROM late l JOIN auth_user u ON u.id = l.created_by_id WHERE u.is_active
)
SELECT 'plan_incomplete', a.id, {say.day()}, a.user_id, 0, {say.now}, 0 FROM audience a
WHERE NOT EXISTS (SELECT 1 FROM kibray_ops_alert l WHERE l.kind = 'plan_incomplete' AND l.subject_id = a.id
    AND l.subject_date = {say.day()} AND l.recipient_id = a.user_id)
""",
        KNOWN,
        f"""
{NOTIFY}
WITH news AS (
    SELECT l.subject_id, l.recipient_id, p.name, d.plan_date, d.project_id,
           count(*) OVER (PARTITION BY l.recipient_id) AS many,
           row_number() OVER (PARTITION BY l.recipient_id ORDER BY d.plan_date DESC) AS n
    FROM kibray_ops_alert l JOIN core_dailyplan d ON d.id = l.subject_id LEFT JOIN core_project p ON p.id = d.project_id
    WHERE l.kind = 'plan_incomplete' AND l.run_id = 0
)
SELECT recipient_id, 'alert', 'Still a draft: ' || name, 'Of ' || plan_date, 'daily_plan', subject_id,
       '/daily-plan/' || subject_id || '/edit/', false, {say.now}, project_id FROM news WHERE many <= 10
UNION ALL
SELECT recipient_id, 'alert', count(*) || ' plans', {say.joined("CASE WHEN n <= 5 THEN name END")}, 'daily_plan',
       NULL, '/planning/list/', false, {say.now}, NULL FROM news WHERE many > 10 GROUP BY recipient_id
""",
    )


WORKS = (
    Work(("inventory", "check-shortages"), f"{DAY}T08:00", by_sql(shortages), told),
    Work(("touchups", "alert"), f"{DAY}T09:00", by_sql(touchups), told),
    Work(("plans", "alert-incomplete"), f"{DAY}T17:15", by_sql(late_plans), told),
)
