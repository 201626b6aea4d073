"""kibray-ops notifications send: queued notifications, by e-mail and SMS."""

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from kibray_ops import channels, dispatch, outbox
from kibray_ops.delivery import (
    EMAIL,
    SMS,
    Deferred,
    DeliveryError,
    Faltering,
    Message,
    Refused,
    Transport,
    Uncertain,
    Unreachable,
    Unwanted,
)
from kibray_ops.delivery.phone import segments
from kibray_ops.errors import ConfigurationError, KibrayOpsError, TimeLimitReached
from kibray_ops.job import FAILURE, Outcome, Problem, Run, failures, warnings
from kibray_ops.messages import letter
from kibray_ops.models.operations import CANCELLED, EXPIRED, FAILED, PENDING, SENT, SUPPRESSED, UNKNOWN
from kibray_ops.outbox import NOT_DELIVERED, Batch, Fate, Item, Person, Plan

PATIENCE = 3
"""Messages in a row that a service leaves without a clear answer, before the others wait for the next run."""
NOBODY = "a user who is gone"
Told = tuple[dict[str, Any], Fate]
"""A line of the report, and what became of what it tells of."""
NOUNS = {EMAIL: "e-mail", SMS: "SMS"}


def send(run: Run) -> Outcome:
    """Deliver queued notifications by e-mail and SMS.

    Unread notifications of after the baseline go to active users who want them, several in one message. What is
    refused for now is tried again after 5 minutes, 30 minutes, 2, 6 and 24 hours; what could not be sent within 72
    hours is given up and named. A message that may have arrived is never sent again by itself: `notifications outbox`
    lists and retries.

    Raises ConfigurationError without mail settings, and when the mail server refuses the login.
    """
    channels.require_email(run.settings)
    planned = dispatch.plan(run)
    office = _Office(run, planned)
    if not run.dry_run:
        run.commit_item()
        office.work()
    return office.outcome()


@dataclass
class _Office:
    """What is sent in one run, and what became of it."""

    run: Run
    plan: Plan
    fates: dict[str, Fate] = field(default_factory=dict)
    """What became of a batch that is due, by its key."""
    closed: dict[str, str] = field(default_factory=dict)
    """Channels that take no more in this run, and why."""
    in_doubt: Counter[str] = field(default_factory=Counter)
    """Messages in a row that were left without a clear answer."""
    stopped: KibrayOpsError | None = None

    def work(self) -> None:
        transports = channels.transports(self.run)
        try:
            # Before anything is written: a wrong password changes nothing.
            for channel in dict.fromkeys(batch.channel for batch in self.plan.due):
                self._open(channel, transports[channel])
            self.plan = outbox.enqueue(self.run, self.plan)
            self._send_all(transports)
            with suppress(TimeLimitReached):  # everything is done, or stopped already; no goodbye in a transaction
                self.run.commit_item()
        finally:
            self.run.session.rollback()  # what an error left uncommitted: a goodbye may take long
            for transport in transports.values():
                transport.close()

    def _open(self, channel: str, transport: Transport) -> None:
        try:
            transport.open()
        except Unreachable as error:
            self.closed[channel] = self._said(error)

    def _send_all(self, transports: dict[str, Transport]) -> None:
        """Send message by message: each is claimed and committed before, and marked and committed after.

        The mark of one and the claim of the next are one commit.
        """
        run, due = self.run, self.plan.due
        for number, batch in enumerate(due):
            run.progress("Sending messages", number, len(due))
            if batch.channel in self.closed:
                continue
            claimed = outbox.claim(run, batch)
            left_out = [item for item in batch.items if item not in claimed.items]
            self.plan.ended.extend((item, Fate(CANCELLED, "it was cancelled meanwhile")) for item in left_out)
            due[number] = claimed
            if not claimed.items:
                continue
            try:
                run.commit_item()
                self._send(claimed, transports[batch.channel])
            except ConfigurationError as error:
                outbox.release(run, claimed)
                self.stopped = error
                self.closed[batch.channel] = self._said(error).rstrip(".")
            except TimeLimitReached as error:
                outbox.release(run, claimed)
                self.stopped = error
                break
        run.progress("Sending messages", len(due), len(due))
        for channel, why in self.closed.items():
            outbox.note(run, [batch for batch in due if batch.channel == channel and self._waits(batch)], why)

    def _waits(self, batch: Batch) -> bool:
        return batch.key not in self.fates

    def _send(self, batch: Batch, transport: Transport) -> None:
        run, channel = self.run, batch.channel
        try:
            provider_id = transport.send(self._message(batch))
        except DeliveryError as error:
            if (fate := self._failed(batch, error)) is None:
                return
        else:
            outbox.mark(run, batch, SENT, provider_id=run.settings.redact(provider_id)[:255])
            fate = Fate(SENT, "")
            self.in_doubt[channel] = 0
        self.fates[batch.key] = fate

    def _failed(self, batch: Batch, error: DeliveryError) -> Fate | None:
        run, said = self.run, self._said(error)
        if isinstance(error, Unreachable):
            outbox.release(run, batch)
            self.closed[batch.channel] = said
            return None
        self.in_doubt[batch.channel] += isinstance(error, Faltering | Uncertain)
        if self.in_doubt[batch.channel] >= PATIENCE:
            self.closed[batch.channel] = f"{PATIENCE} messages in a row got no clear answer, the last: {said}"
        if isinstance(error, Deferred):
            again = run.clock.local(outbox.put_off(run, batch, said))
            return Fate(PENDING, f"{said}; it is tried again from {again:%Y-%m-%d %H:%M} on", is_odd=True)
        status = UNKNOWN if isinstance(error, Uncertain) else SUPPRESSED if isinstance(error, Unwanted) else FAILED
        outbox.mark(run, batch, status, reason=said)
        if isinstance(error, Unwanted):
            outbox.suppress(run, batch.channel, batch.address, said)
        if isinstance(error, Refused):
            self.in_doubt[batch.channel] = 0
        return Fate(status, said, is_odd=True)

    def _said(self, error: Exception) -> str:
        return self.run.settings.redact(str(error))

    # ---- what is written

    def _message(self, batch: Batch) -> Message:
        run, person = self.run, batch.person
        site = run.settings["SITE_URL"] or ""
        if batch.channel == SMS:
            return Message(batch.address, batch.key, letter.sms(person.texts, batch.notices, site))
        written = letter.letter(person.texts, person.first_name, batch.notices, site)
        subject = written.subject
        if run.settings["EMAIL_REDIRECT_TO"]:
            subject = f"[{person.email}] {subject}"
        return Message(batch.address, batch.message_id, written.text, subject, written.html)

    # ---- what is told

    def outcome(self) -> Outcome:
        run = self.run
        due = [(batch, self._fate(batch)) for batch in self.plan.due if batch.items]
        ends = Counter(fate.status for _, fate in (*self.plan.untold, *self.plan.ended))
        for batch, fate in due:
            ends[fate.status] += len(batch.items)
        told = [*((self._row(batch, fate), fate) for batch, fate in due), *self._others()]
        return Outcome(
            result={
                "sent": ends[SENT],
                "errors": sum(ends[status] for status in NOT_DELIVERED),
                "messages": sum(fate.status == SENT for _, fate in due),
                "waiting": ends[PENDING] + len(self.plan.waiting),
                **{status: ends[status] for status in (FAILED, UNKNOWN, EXPIRED, SUPPRESSED, CANCELLED)},
            },
            rows=[row for row, _ in told],
            problems=[*self._closings(), *_problems(told), *channels.odd_settings(run.settings)],
            stopped=self.stopped,
        )

    def _fate(self, batch: Batch) -> Fate:
        if self.run.dry_run:
            return Fate(SENT, "")
        reason = self.closed.get(batch.channel) or (self._said(self.stopped) if self.stopped else "")
        return self.fates.get(batch.key) or Fate(PENDING, reason)

    def _row(self, batch: Batch, fate: Fate) -> dict[str, Any]:
        return {
            **_recipient(batch.channel, batch.person, batch.address),
            "notifications": len(batch.items),
            "subject": letter.subject(batch.person.texts, batch.notices),
            "segments": segments(self._message(batch).text) if batch.channel == SMS else None,
            "status": fate.status,
            "reason": fate.reason or None,
            "deliveries": [item.id for item in batch.items if item.id is not None],
        }

    def _others(self) -> Iterable[Told]:
        """Yield a row for those deliveries of a person that ended, or wait, for the same reason without a message."""
        groups: dict[tuple[str, int, Fate], list[Item]] = {}
        for item, fate in (*self.plan.untold, *self.plan.ended, *self.plan.waiting):
            groups.setdefault((item.channel, item.user_id, fate), []).append(item)
        for (channel, user_id, fate), items in groups.items():
            row = {
                **_recipient(channel, self.plan.people.get(user_id), ""),
                "user_id": user_id,
                "notifications": len(items),
                "subject": items[0].notice.title,
                "segments": None,
                "status": fate.status,
                "reason": fate.reason,
                "deliveries": [item.id for item in items if item.id is not None],
            }
            yield row, fate

    def _closings(self) -> list[Problem]:
        held = Counter(batch.channel for batch in self.plan.due if batch.items and self._waits(batch))
        odd = [
            (NOUNS[channel], f"{why}; {held[channel]:,} {'message waits' if held[channel] == 1 else 'messages wait'}")
            for channel, why in self.closed.items()
        ]
        return failures("channel_closed", odd, "channels")


def _recipient(channel: str, person: Person | None, address: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "user_id": person and person.id,
        "recipient": person.name if person else NOBODY,
        "address": address or None,
    }


def _problems(told: Sequence[Told]) -> list[Problem]:
    """Return a failure for what was not delivered, and a warning for what waits or was suppressed for an odd reason."""
    failed = [(row["recipient"], _words(row)) for row, fate in told if fate.status in NOT_DELIVERED]
    odd = [
        (row["recipient"], _words(row)) for row, fate in told if fate.is_odd and fate.status in (PENDING, SUPPRESSED)
    ]
    return [
        *(Problem(FAILURE, "not_delivered", who, words) for who, words in failed),  # each of them is named
        *warnings("put_off", odd, "messages that wait or are not wanted"),
    ]


def _words(row: dict[str, Any]) -> str:
    count, noun = row["notifications"], NOUNS[row["channel"]]
    what = f"{noun} with {count:,} notifications" if count > 1 else f"{noun} {row['subject']!r}"
    ids = " ".join(map(str, row["deliveries"][:5])) + (" …" if len(row["deliveries"]) > 5 else "")
    return f"{row['reason']} ({what}{f', outbox {ids}' if ids else ''})"
