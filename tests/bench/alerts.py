"""Measure the alerts of stock, touch-ups and plans on PostgreSQL, whole process, against the plain SQL for the same.

`python -m tests.bench.alerts`: 5,000 items at 20 locations, 50,000 tasks and 20,000 plans of 2,000 projects, 33 people.
Target: 1.5 x (SQL + 0.9 s).
"""

from typing import Any

from tests.bench import ROUNDS, measure, postgresql
from tests.world import World

ITEMS, LOCATIONS, TASKS, PROJECTS, PLANS, ADMINS, MANAGERS = 5_000, 20, 50_000, 2_000, 20_000, 3, 30
DAY = "2025-11-24"
ADMIN = "u.is_active AND (u.is_staff OR u.is_superuser)"
ACTIVE = f"(p.end_date IS NULL OR p.end_date >= '{DAY}') AND NOT p.is_archived"
NOTIFY = """
INSERT INTO core_notification (user_id, notification_type, title, message, related_object_type, related_object_id,
    link_url, is_read, created_at, project_id)
"""
LEDGER = "INSERT INTO kibray_ops_alert (kind, subject_id, subject_date, recipient_id, stage, told_at, run_id)"

STOCK = (
    f"""
WITH short AS (
    SELECT i.name, coalesce(s.have, 0) AS have, i.need
    FROM (SELECT id, name, coalesce(nullif(low_stock_threshold, 0), nullif(default_threshold, 0)) AS need
          FROM core_inventoryitem WHERE active AND NOT no_threshold) i
    LEFT JOIN (SELECT item_id, sum(quantity) AS have FROM core_projectinventory GROUP BY item_id) s ON s.item_id = i.id
    WHERE coalesce(s.have, 0) < i.need
), told AS (
    {LEDGER} SELECT 'inventory_shortage', 0, '{DAY}', u.id, 0, now(), 1 FROM auth_user u WHERE {ADMIN}
    RETURNING recipient_id
)
{NOTIFY}
SELECT t.recipient_id, 'task_alert', (SELECT count(*) FROM short) || ' items are low in stock',
       (SELECT string_agg(name || ' ' || have || '/' || need, ', ')
        FROM (SELECT * FROM short ORDER BY have / need LIMIT 5) f), 'inventory', NULL, '/inventory/', false, now(), NULL
FROM told t
""",
)
TOUCHUPS = (
    f"""
WITH touchup AS (
    SELECT project_id, title, priority, created_at FROM core_task WHERE is_touchup AND priority IN ('high', 'urgent')
        AND status IN ('Pendiente', 'En Progreso', 'Pending', 'In Progress')
    UNION ALL
    SELECT project_id, title, priority, created_at FROM core_touchup WHERE priority IN ('high', 'urgent')
        AND status IN ('open', 'in_progress', 'review')
), site AS (
    SELECT p.id, p.name, count(*) AS total, min(t.created_at) AS oldest FROM touchup t
    JOIN core_project p ON p.id = t.project_id WHERE {ACTIVE} GROUP BY p.id, p.name HAVING count(*) >= 3
), first AS (
    SELECT project_id, string_agg(title, ', ') AS titles FROM (
        SELECT project_id, title, row_number() OVER (PARTITION BY project_id ORDER BY priority DESC, created_at) AS n
        FROM touchup) r WHERE n <= 5 GROUP BY project_id
), audience AS (
    SELECT s.id, u.id AS user_id FROM site s CROSS JOIN auth_user u WHERE {ADMIN}
    UNION
    SELECT a.project_id, a.user_id FROM core_clientprojectaccess a JOIN site s ON s.id = a.project_id
    JOIN auth_user u ON u.id = a.user_id
    WHERE a.role = 'external_pm' AND a.is_active AND a.receive_notifications AND u.is_active
    UNION
    SELECT m.project_id, m.pm_id FROM core_projectmanagerassignment m JOIN site s ON s.id = m.project_id
    JOIN auth_user u ON u.id = m.pm_id WHERE u.is_active
), told AS (
    {LEDGER} SELECT 'touchups', a.id, '{DAY}', a.user_id, 0, now(), 1 FROM audience a
    WHERE NOT EXISTS (SELECT FROM kibray_ops_alert l WHERE l.kind = 'touchups' AND l.subject_id = a.id
        AND l.subject_date = '{DAY}' AND l.recipient_id = a.user_id)
    RETURNING subject_id, recipient_id
), news AS (
    SELECT t.*, s.name, s.total, f.titles, count(*) OVER (PARTITION BY t.recipient_id) AS many,
           row_number() OVER (PARTITION BY t.recipient_id ORDER BY s.total DESC) AS n
    FROM told t JOIN site s ON s.id = t.subject_id JOIN first f ON f.project_id = s.id
)
{NOTIFY}
SELECT recipient_id, 'task_alert', total || ' touch-ups: ' || name, titles, 'project', subject_id,
       '/projects/' || subject_id || '/touchups/', false, now(), subject_id FROM news WHERE many <= 10
UNION ALL
SELECT recipient_id, 'task_alert', count(*) || ' projects', string_agg(name, ', ') FILTER (WHERE n <= 5), 'project',
       NULL, '/projects/', false, now(), NULL FROM news WHERE many > 10 GROUP BY recipient_id
""",
)
LATE = (
    f"""
WITH late AS (
    SELECT d.id, d.plan_date, d.created_by_id, p.name, p.id AS project_id FROM core_dailyplan d
    LEFT JOIN core_project p ON p.id = d.project_id
    WHERE d.status = 'DRAFT' AND d.completion_deadline < timestamptz '{DAY} 17:15-07' AND (p.id IS NULL OR {ACTIVE})
    AND (d.plan_date >= '{DAY}'
         OR NOT EXISTS (SELECT FROM kibray_ops_alert l WHERE l.kind = 'plan_incomplete' AND l.subject_id = d.id))
), audience AS (
    SELECT l.id, u.id AS user_id FROM late l CROSS JOIN auth_user u WHERE {ADMIN}
    UNION
    SELECT l.id, u.id FROM late l JOIN auth_user u ON u.id = l.created_by_id WHERE u.is_active
), told AS (
    {LEDGER} SELECT 'plan_incomplete', a.id, '{DAY}', a.user_id, 0, now(), 1 FROM audience a
    WHERE NOT EXISTS (SELECT FROM kibray_ops_alert l WHERE l.kind = 'plan_incomplete' AND l.subject_id = a.id
        AND l.subject_date = '{DAY}' AND l.recipient_id = a.user_id)
    RETURNING subject_id, recipient_id
), news AS (
    SELECT t.*, l.name, l.plan_date, l.project_id, count(*) OVER (PARTITION BY t.recipient_id) AS many,
           row_number() OVER (PARTITION BY t.recipient_id ORDER BY l.plan_date DESC) AS n
    FROM told t JOIN late l ON l.id = t.subject_id
)
{NOTIFY}
SELECT recipient_id, 'alert', 'Still a draft: ' || name, plan_date::text, 'daily_plan', subject_id,
       '/daily-plan/' || subject_id || '/edit/', false, now(), project_id FROM news WHERE many <= 10
UNION ALL
SELECT recipient_id, 'alert', count(*) || ' plans', string_agg(name, ', ') FILTER (WHERE n <= 5), 'daily_plan',
       NULL, '/planning/list/', false, now(), NULL FROM news WHERE many > 10 GROUP BY recipient_id
""",
)


def fill(world: World) -> None:
    """Open two thousand projects with their tasks and plans, and fill the stores."""
    admins = [world.user(f"admin{number}") for number in range(ADMINS)]
    managers = [world.user(f"pm{number}", staff=False) for number in range(MANAGERS)]
    for user in (*admins, *managers)[::2]:
        world.add("core_profile", user_id=user, language="es")
    project = world.project("model")
    world.touchup(project, "low", "Completed")
    world.plan(project, "2020-01-01", status="COMPLETED")
    world.item("model", "10", sku=None)
    world.add("core_inventorylocation", name="model")
    world.manages(managers[0], project)
    first = managers[0]
    copies = (
        ("core_project", PROJECTS - 1, {"project_code": "'C' || i", "name": "'Project ' || i"}),
        (
            "core_task",
            TASKS,
            {
                "project_id": f"1 + mod(i, {PROJECTS})",
                "title": "'Touch-up number ' || i",
                "is_touchup": "mod(i, 5) < 3",
                "priority": "(ARRAY['low', 'high', 'urgent', 'medium'])[1 + mod(i / 7, 4)]",
                "status": "(ARRAY['Pendiente', 'In Progress', 'Completed', 'Completada'])[1 + mod(i / 3, 4)]",
            },
        ),
        (
            "core_dailyplan",
            PLANS,
            {
                "project_id": f"1 + mod(i, {PROJECTS})",
                "plan_date": f"date '{DAY}' + 1 - (i / {PROJECTS})::int",
                "created_by_id": f"{first} + mod(i, {MANAGERS})",
                "completion_deadline": f"timestamptz '{DAY} 17:00' - (i / {PROJECTS}) * interval '1 day'",
                "status": "CASE WHEN mod(i, 9) = 0 THEN 'DRAFT' ELSE 'COMPLETED' END",
            },
        ),
        ("core_inventoryitem", ITEMS - 1, {"name": "'Item ' || i"}),
        ("core_inventorylocation", LOCATIONS - 1, {"name": "'Place ' || i"}),
        (
            "core_clientprojectaccess",
            PROJECTS - 1,
            {"project_id": "i + 1", "user_id": f"{first} + mod(i, {MANAGERS})"},
        ),
    )
    for table, count, new in copies:
        kept = [name for name in world.rows(table)[0] if name not in ("id", *new)]
        world.sql(
            f"INSERT INTO {table} ({', '.join((*new, *kept))}) SELECT {', '.join(new.values())}, "
            f"{', '.join('m.' + name for name in kept)} FROM {table} m, generate_series(1, {count}) i WHERE m.id = 1"
        )
    world.sql(
        f"INSERT INTO core_projectinventory (item_id, location_id, quantity) SELECT i, l, mod(i * l, 11) / 10.0 "
        f"FROM generate_series(1, {ITEMS}) i, generate_series(1, {LOCATIONS}) l"
    )
    world.sql("VACUUM ANALYZE")


def restore(world: World) -> None:
    """Let nobody have heard of anything."""
    for table in ("kibray_ops_alert", "kibray_ops_run", "core_notification"):
        world.sql(f"DELETE FROM {table}")
        world.sql(f"VACUUM {table}")


def state(world: World) -> Any:
    """Return what the work comes to."""
    told = world.sql("SELECT subject_id, recipient_id FROM kibray_ops_alert ORDER BY 1, 2")
    about = "user_id, related_object_id, link_url, project_id"
    return told, world.sql(f"SELECT {about} FROM core_notification ORDER BY {about}")


def main() -> None:
    """Measure and print ratios of one run."""
    with postgresql() as world:
        fill(world)
        print(
            f"{ITEMS:,} items x {LOCATIONS}, {TASKS:,} tasks, {PLANS:,} plans, {PROJECTS:,} projects; {ROUNDS} rounds"
        )
        for words, hour, statements in (
            (("inventory", "check-shortages"), "08:00", STOCK),
            (("touchups", "alert"), "09:00", TOUCHUPS),
            (("plans", "alert-incomplete"), "17:15", LATE),
        ):
            measure(world, (*words, "--as-of", f"{DAY}T{hour}"), statements, restore, state)
            told, notified = state(world)
            print(f"{words[1]}: {len(told):,} told, {len(notified):,} notifications")


if __name__ == "__main__":
    main()
