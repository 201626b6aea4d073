"""Mails to the operator: one when a job begins to fail or is late, one when it works again."""

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread

import pytest

from kibray_ops import alarms, catchup
from kibray_ops.registry import JOBS, Job, Kind
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from tests.here import here
from tests.post import HANG_UP, PASSWORD, PostOffice, post_office
from tests.sky import Reply, Sky
from tests.world import World

PAYROLL = next(job for job in JOBS if job.name == "generate-weekly-payroll")
MONDAY = "2025-11-24"
OPERATOR = "ops@example.com"


@pytest.fixture
def office(newest: World, post: PostOffice) -> World:
    """A database whose operator is told."""
    newest.environment |= post.environment | {"KIBRAY_OPS_ALERT_EMAIL": OPERATOR}
    return newest


def playing(verb: str, kind: Kind = Kind.ATOMIC) -> Job:
    return replace(
        PAYROLL, module="tests.sample_jobs", command=("sample", verb), kind=kind, reads=(), writes={}, copies=()
    )


def go(
    world: World, verb: str, at: str = "07:00", trigger: Trigger = Trigger.CRON, day: str = MONDAY, **options: object
) -> Report:
    """Run the payroll, which does what a sample job does, at a time of that Monday."""
    clock = world.at(f"{day}T{at}")
    return execute(playing(verb), settings=world.settings, clock=clock, trigger=trigger, options=options or None)


def catch_up(world: World, at: str, verb: str = "idle") -> list[Report]:
    """Catch up at a moment, the payroll only."""
    return [report for _, report in catchup.catch_up(world.settings, world.at(at), jobs=[playing(verb)])]


def subjects(post: PostOffice) -> list[str]:
    assert set(post.recipients) <= {OPERATOR}
    return [str(mail.content["Subject"]).removeprefix("kibray-ops: ") for mail in post.taken]


BAD, GOOD = "generate-weekly-payroll needs a look", "generate-weekly-payroll works again"


def test_the_first_failure_and_the_recovery_are_told_once(office: World, post: PostOffice) -> None:
    assert go(office, "crash").exit_code == 1
    for at in ("07:22", "08:22"):
        assert [report.exit_code for report in catch_up(office, f"{MONDAY}T{at}", "crash")] == [1]
    assert subjects(post) == [BAD]
    assert [report.exit_code for report in catch_up(office, f"{MONDAY}T12:22")] == [0]
    assert go(office, "idle", day="2025-12-01").exit_code == 0
    assert subjects(post) == [BAD, GOOD]
    assert go(office, "crash", day="2025-12-08").exit_code == 1
    assert subjects(post) == [BAD, GOOD, BAD]


def test_what_the_mails_say(office: World, post: PostOffice) -> None:
    go(office, "crash")
    go(office, "idle", "09:00")
    bad, good = post.taken
    assert "since 2025-11-24 07:00 MST" in bad.text
    assert "ZeroDivisionError: the password is hunter22" in bad.text
    assert "Run 1, exit code 1, for 2025-11-24T07:00." in bad.text
    assert "`kibray-ops status`" in bad.text
    assert "`payroll generate --week` did not do all of its work" in bad.text or "sample crash" in bad.text
    assert "What happens next: catch-up tries it from Mon 07:15 on." in bad.text
    assert bad.html.startswith("<pre>")
    assert "It had failed since 2025-11-24 07:00 MST." in good.text
    assert bad.content["Message-ID"] != good.content["Message-ID"]
    assert "example.com" in str(bad.content["Message-ID"])


def test_what_is_partly_done_names_what_was_not(office: World, post: PostOffice) -> None:
    assert go(office, "partly").exit_code == 3
    assert subjects(post) == [BAD]
    assert "two: was refused" in post.taken[0].text


def test_no_secret_is_mailed(office: World, post: PostOffice) -> None:
    office.environment["KIBRAY_OPS_WEATHER_API_KEY"] = "hunter22"
    go(office, "crash")
    assert "hunter22" not in post.taken[0].raw.decode()
    assert "hunter22" not in str(office.dump())


@pytest.mark.parametrize(
    ("trigger", "options"),
    [(Trigger.MANUAL, {}), (Trigger.CRON, {"code": 75})],
    ids=["a person is there", "it will be tried again"],
)
def test_what_is_not_mailed(office: World, post: PostOffice, trigger: Trigger, options: dict[str, object]) -> None:
    assert go(office, "refuse", trigger=trigger, **options).exit_code in (1, 75)
    assert subjects(post) == []


def test_a_person_mends_it(office: World, post: PostOffice) -> None:
    """By hand as cron would: it works again. For another week: that says nothing about this one."""
    go(office, "crash")
    assert go(office, "write", "08:00", Trigger.MANUAL, name="another week").exit_code == 0
    assert subjects(post) == [BAD]
    assert go(office, "idle", "08:01", Trigger.MANUAL).exit_code == 0
    assert subjects(post) == [BAD, GOOD]


def test_a_dry_run_ends_no_alarm(office: World, post: PostOffice) -> None:
    go(office, "crash")
    clock = office.at(f"{MONDAY}T08:00")
    assert execute(playing("idle"), settings=office.settings, clock=clock, dry_run=True).exit_code == 0
    assert subjects(post) == [BAD]


def test_nobody_is_told_where_nobody_is_named(newest: World, post: PostOffice) -> None:
    newest.environment |= post.environment
    go(newest, "crash")
    assert (subjects(post), newest.rows("kibray_ops_alarm")) == ([], [])


def test_the_staging_copy_tells_its_own_address(office: World, post: PostOffice) -> None:
    office.environment["KIBRAY_OPS_EMAIL_REDIRECT_TO"] = "staging@example.com"
    go(office, "crash")
    assert post.recipients == ["staging@example.com"]


# ---- lateness


def test_what_is_late_is_told_once_too(office: World, post: PostOffice) -> None:
    """Rows are held the whole morning: every run gives way, nothing has failed, and the payroll is not there."""
    office.sql("UPDATE kibray_ops_state SET value = '2025-11-24T13:59:00+00:00' WHERE key = 'baseline'")
    for at in ("07:00", "07:22", "07:37"):
        go(office, "refuse", at, code=75)
    late = [f"{MONDAY}T07:54", f"{MONDAY}T07:56", f"{MONDAY}T08:07"]
    job = [replace(playing("idle"), deadline=None)]  # it is late, and not tried again
    for at, told in zip(late, (0, 1, 1), strict=True):
        list(catchup.catch_up(office.settings, office.at(at), jobs=job))
        assert len(subjects(post)) == told
    assert "It is late: due 2025-11-24 07:00" in post.taken[0].text
    assert go(office, "idle", "09:00").exit_code == 0
    assert subjects(post) == [BAD, GOOD]


def test_a_job_that_cron_never_started_is_told(office: World, post: PostOffice) -> None:
    office.sql("UPDATE kibray_ops_state SET value = '2025-11-24T13:59:00+00:00' WHERE key = 'baseline'")
    alarms.review(
        catchup.read(office.settings, office.at(f"{MONDAY}T09:00"), [PAYROLL]),
        office.settings,
        office.at(f"{MONDAY}T09:00"),
    )
    assert subjects(post) == [BAD]
    assert "and no run was started" in post.taken[0].text


def test_a_run_that_the_hard_limit_ends_is_told(office: World, post: PostOffice, sky: Sky) -> None:
    office.project("Elm St", address="1110 Washington Ave, Golden, CO 80401")
    sky.geocoder_faults = [Reply(b"{}", delay=20)]
    office.environment |= {f"KIBRAY_OPS_{which}_TIME_LIMIT": "1" for which in ("SOFT", "HARD")}
    away = (9 - datetime.now(UTC).hour + 12) % 24 - 12  # noqa: TID251 - a zone in which it is 9 o'clock now
    office.move(f"Etc/GMT{-away:+d}")
    told = office.run("--cron", "weather", "fetch-snapshots")
    assert told.returncode == 124
    assert subjects(post) == ["fetch-weather-snapshots needs a look"]
    assert "The hard time limit was reached." in post.taken[0].text


# ---- whatever goes wrong with the mail


def test_a_mail_that_was_not_taken_is_sent_by_the_next_catch_up(office: World, post: PostOffice) -> None:
    post.recipient_faults[OPERATOR] = ["450 4.2.0 greylisted", "550 5.1.1 no such user"]
    go(office, "crash")
    catch_up(office, f"{MONDAY}T07:10", "crash")
    assert subjects(post) == []
    catch_up(office, f"{MONDAY}T07:12", "crash")
    catch_up(office, f"{MONDAY}T07:13", "crash")
    assert subjects(post) == [BAD]


def test_a_recovery_that_was_not_taken_is_told_by_the_next_success(office: World, post: PostOffice) -> None:
    go(office, "crash")
    post.recipient_faults[OPERATOR] = ["450 4.2.0 greylisted"]
    go(office, "idle", "08:00")
    assert subjects(post) == [BAD]
    go(office, "idle", day="2025-12-01")
    go(office, "idle", day="2025-12-08")
    assert subjects(post) == [BAD, GOOD]


def test_a_recovery_that_was_not_taken_is_told_by_the_next_catch_up(office: World, post: PostOffice) -> None:
    go(office, "crash")
    post.recipient_faults[OPERATOR] = ["450 4.2.0 greylisted", "450 4.2.0 greylisted"]
    go(office, "idle", "08:00")
    for at in ("08:07", "08:22", "08:37"):
        catch_up(office, f"{MONDAY}T{at}")
    assert subjects(post) == [BAD, GOOD]
    assert go(office, "crash", day="2025-12-01").exit_code == 1
    assert subjects(post) == [BAD, GOOD, BAD]


def test_what_fails_again_before_its_recovery_was_told_is_no_news(office: World, post: PostOffice) -> None:
    """The last that the operator heard still holds; and the recovery after it is told."""
    go(office, "crash")
    post.recipient_faults[OPERATOR] = ["450 4.2.0 greylisted"]
    go(office, "idle", "08:00")
    go(office, "crash", day="2025-12-01")
    assert subjects(post) == [BAD]
    go(office, "idle", "08:00", day="2025-12-01")
    assert subjects(post) == [BAD, GOOD]
    assert office.rows("kibray_ops_alarm") == []


@pytest.mark.parametrize(("moment", "later"), [("greeting", [BAD]), ("message", [])])
def test_an_interrupted_mail_is_sent_later_unless_it_may_have_arrived(
    office: World, post: PostOffice, moment: str, later: list[str]
) -> None:
    """SIGTERM while the mail server keeps us waiting: the run's own end stands."""

    def hold(_: object) -> None:
        if not held:
            held.append(1)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)

    held: list[int] = []
    if moment == "greeting":
        post.on_greeting = hold
    else:
        post.on_data = hold
    report = go(office, "crash")
    assert (report.exit_code, report.was_cut_short) == (1, True)
    taken = len(post.taken)
    assert taken == (moment == "message")
    catch_up(office, f"{MONDAY}T07:10", "crash")
    assert subjects(post)[taken:] == later


def test_a_failure_that_nobody_could_be_told_of_needs_no_recovery(office: World, post: PostOffice) -> None:
    post.recipient_faults[OPERATOR] = ["450 4.2.0 greylisted"]
    go(office, "crash")
    go(office, "idle", "08:00")
    assert (subjects(post), office.rows("kibray_ops_alarm")) == ([], [])


def test_what_may_have_arrived_is_not_sent_twice(office: World, post: PostOffice) -> None:
    post.data_faults[OPERATOR] = [HANG_UP]
    go(office, "crash")
    catch_up(office, f"{MONDAY}T07:10", "crash")
    assert subjects(post) == [BAD]


def test_a_run_does_not_suffer_from_a_mail_server(newest: World, caplog: pytest.LogCaptureFixture) -> None:
    """It is not there, it refuses the login, it is not set up at all: the run ends as it ended."""
    newest.environment["KIBRAY_OPS_ALERT_EMAIL"] = OPERATOR
    with post_office(login=True) as post:
        newest.environment |= post.environment | {"KIBRAY_OPS_EMAIL_HOST_PASSWORD": "wrong-" + PASSWORD}
        assert go(newest, "crash").exit_code == 1
    assert go(newest, "crash", "07:01").exit_code == 1
    newest.environment |= {"KIBRAY_OPS_EMAIL_HOST": ""}
    assert go(newest, "crash", "07:02").exit_code == 1
    assert [row["told_at"] for row in newest.rows("kibray_ops_alarm")] == [None]
    assert [row["since"] for row in newest.rows("kibray_ops_alarm")]


def test_a_database_that_is_gone_spoils_nothing(office: World, post: PostOffice) -> None:
    """It was so when the run began, and its own verdict stands."""
    office.environment["KIBRAY_OPS_DATABASE_URL"] = "postgresql://kibray@127.0.0.1:9/kibray"
    assert go(office, "idle").exit_code == 75
    office.environment["KIBRAY_OPS_DATABASE_URL"] = f"sqlite:///{office.directory}/gone.sqlite3"
    told = here(office, "--cron", "inventory", "check-shortages")
    assert told.returncode in (0, 78)  # 0: at this time of day there is no slot
    report = go(office, "idle")
    assert (report.exit_code, type(report.error).__name__) == (78, "DatabaseMissing")


def test_two_hosts_that_fail_at_once_tell_once(office: World, post: PostOffice) -> None:
    clock, together = office.at(f"{MONDAY}T07:00"), Barrier(2)

    def sound() -> None:
        together.wait()
        alarms.raise_alarm(PAYROLL, "It failed.", office.settings, clock)

    threads = [Thread(target=sound) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert subjects(post) == [BAD]


def test_a_lost_table_of_ours_is_named_before_anything_is_done(office: World, post: PostOffice) -> None:
    office.sql("DROP TABLE kibray_ops_alarm")
    assert go(office, "idle").exit_code == 78
    assert subjects(post) == []


def test_the_grace_of_a_slow_job_is_its_own(office: World) -> None:
    office.environment["KIBRAY_OPS_SOFT_TIME_LIMIT_GENERATE_WEEKLY_PAYROLL"] = "60"
    office.sql("UPDATE kibray_ops_state SET value = '2025-11-24T13:59:00+00:00' WHERE key = 'baseline'")
    late = [
        one.is_late
        for minutes in (30, 31, 32)
        for one in catchup.read(
            office.settings,
            replace(
                office.at(f"{MONDAY}T07:00"), moment=office.at(f"{MONDAY}T07:00").moment + timedelta(minutes=minutes)
            ),
            [PAYROLL],
        )
    ]
    assert late == [False, True, True]
