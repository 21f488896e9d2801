"""Deliver the messages that are due, with retries. The beat calls `Outbox.tick`; a thread of its own does the work, so
that a slow receiver delays nothing else."""

from __future__ import annotations

import json
import logging
import smtplib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import Min

from experiments import database_clock
from experiments.models import Channel, ChannelKind, Delivery, DeliveryStatus, Occurrence, secret
from experiments.models.notifications.delivery import SUMMARY

from . import content, fan_out, webhook

logger = logging.getLogger(__name__)

AT_ONCE = 8  # messages
RELATED = (
    "channel__workspace",
    "channel__owner",
    "rule__owner",
    "rule__workspace",
    "experiment__workspace",
    "occurrence",
)


class Unreachable(Exception):
    """No attempt will ever succeed. `str()` says why."""


class Outbox:
    """Creates messages for new occurrences, and sends those that are due."""

    def __init__(self) -> None:
        self.ending = threading.Event()
        self._thread: threading.Thread | None = None

    def tick(self) -> None:
        """Start a round if there is something to do, unless the last one is still running."""
        is_busy = self._thread is not None and self._thread.is_alive()
        if not is_busy and has_work():
            self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until the current round has ended."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while fan_out.expand() and not self.ending.is_set():
                pass
            while merge_held() and not self.ending.is_set():
                pass
            while send_due() and not self.ending.is_set():
                pass
        except DatabaseError as error:
            logger.warning("Notifications wait for the database: %s", error)
        except Exception:  # the next tick tries again
            logger.exception("Notifications could not be processed")
        finally:
            connections.close_all()


def has_work() -> bool:
    """Return whether an occurrence has no messages yet, or a message is due. At most two queries."""
    has_happened = Occurrence.objects.filter(expanded_at=None).exists()
    return has_happened or Delivery.objects.due(database_clock.now()).exists()


def merge_held(now: Callable[[], datetime] = database_clock.now) -> int:
    """Make a summary of the held messages of each channel that are due. Return the number of channels."""
    keys = list(Delivery.objects.to_merge(now()).order_by().values_list("channel", flat=True).distinct())
    for key in keys:
        Delivery.merge(key, now())
    return len(keys)


def send_due(now: Callable[[], datetime] = database_clock.now) -> int:
    """Try to send the oldest due message of each of up to `AT_ONCE` channels. Return the number of messages.

    A channel sends one message at a time, so messages stay in order, and a receiver that does not respond delays
    no other channel for long. Only network requests run in parallel; all rows are written in this thread.
    """
    channels = Delivery.objects.due(now()).filter(is_held=False).order_by().values("channel")
    first = channels.annotate(first=Min("pk"), since=Min("next_at")).order_by("since")
    keys = list(first.values_list("first", flat=True)[:AT_ONCE])
    rows = Delivery.objects.select_related(*RELATED).in_bulk(keys)
    deliveries = [rows[key] for key in keys if key in rows and _begin(rows[key], now)]
    if len(deliveries) < 2:
        for delivery in deliveries:
            _close(delivery, _attempt(delivery), now)
        return len(keys)
    with ThreadPoolExecutor(len(deliveries), thread_name_prefix="notifications") as pool:
        attempts = {pool.submit(_attempt, delivery): delivery for delivery in deliveries}
        for attempt in as_completed(attempts):
            _close(attempts[attempt], attempt.result(), now)
    return len(keys)


def _begin(delivery: Delivery, now: Callable[[], datetime]) -> bool:
    """Claim a message, unless its receiver may no longer see it."""
    if not delivery.claim(now()):
        return False
    if delivery.kind == SUMMARY:
        parts = delivery.parts.filter(status=DeliveryStatus.MERGED).select_related(*RELATED).order_by("pk")
        delivery.messages = [part for part in parts if _is_allowed(part, now)]
        if not delivery.messages:
            delivery.cancel("None of its messages may be sent any more.", now())
        return bool(delivery.messages)
    return delivery.kind == "test" or _is_allowed(delivery, now)


def _is_allowed(delivery: Delivery, now: Callable[[], datetime]) -> bool:
    """Cancel a message whose rule was deleted, or whose receiver may no longer see what it is about."""
    if _may_be_sent(delivery):
        return True
    is_deleted = delivery.rule is None
    delivery.cancel(
        "The rule was deleted." if is_deleted else "The recipient no longer has access to this.", now()
    )
    return False


def _may_be_sent(delivery: Delivery) -> bool:
    """Return whether the rule of a message still exists, and its receiver may still see what it is about."""
    queues = delivery.occurrence.details.get("queues", []) if delivery.occurrence else []
    return delivery.rule is not None and fan_out.may_see(delivery.rule, delivery.experiment, queues)


def _attempt(delivery: Delivery) -> str | Exception:
    """Send a message once. Return the response, or why it was not delivered. Does not use the database."""
    try:
        return SENDERS[ChannelKind(delivery.channel.kind)](delivery.channel, delivery)
    except (webhook.AddressRefused, webhook.NotDelivered, secret.Unreadable, Unreachable) as error:
        return error
    except Exception as error:  # a bug here must not stop the other messages
        logger.exception("The message %s could not be sent", delivery.message_id)
        return webhook.NotDelivered(f"{type(error).__name__}: {error}")


def _close(delivery: Delivery, answer: str | Exception, now: Callable[[], datetime]) -> None:
    if isinstance(answer, str):
        delivery.succeed(answer, now())
    else:
        delivery.fail(str(answer), now(), is_final=not isinstance(answer, webhook.NotDelivered))


def _send_email(channel: Channel, delivery: Delivery) -> str:
    if not settings.EMAIL_HOST:
        raise Unreachable("This console cannot send email: an administrator sets TRIALDECK_EMAIL_URL.")
    if not (address := channel.address):
        raise Unreachable("The account has no email address. Enter one on the account page.")
    why = f"Sent by the rule “{delivery.rule.title}” of {channel.workspace}." if delivery.rule else ""
    parts = [f"{part.subject}\n{_text_and_link(part, channel)}" for part in delivery.messages]
    body = "\n\n".join(filter(None, [*(parts or [_text_and_link(delivery, channel, between="\n\n")]), why]))
    message = EmailMessage(
        " ".join(_subject(delivery, channel).split()),
        f"{body}\n",
        to=[address],
        headers={"Message-ID": f"<{delivery.message_id}@trialdeck>", "Auto-Submitted": "auto-generated"},
    )
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        code, answer = next(iter(error.recipients.values()))
        refusal = Unreachable if code >= 500 else webhook.NotDelivered
        raise refusal(f"{code} {answer.decode(errors='replace')[:300]}") from None
    except (OSError, smtplib.SMTPException) as error:
        raise webhook.NotDelivered(str(error)[:300] or type(error).__name__) from None
    return "accepted by the mail server"


def _send_webhook(channel: Channel, delivery: Delivery) -> str:
    at = int(database_clock.now().timestamp())
    document = _document(delivery, channel)
    if delivery.messages:
        document |= {
            "event": SUMMARY,
            "at": datetime.fromtimestamp(at, UTC).isoformat(),
            "workspace": channel.workspace.slug,
            "messages": [_document(part, channel) for part in delivery.messages],
        }
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = {
        "Trialdeck-Signature": webhook.signature(channel.secret, body, at),
        "Trialdeck-Event": delivery.kind,
        "Trialdeck-Delivery": str(delivery.message_id),
    }
    return webhook.post(channel.address, body, headers)


def _send_slack(channel: Channel, delivery: Delivery) -> str:
    text = "\n".join(_slack_text(message, channel) for message in delivery.messages or [delivery])
    if delivery.messages:
        text = f"{_escaped(_subject(delivery, channel))}\n{text}"
    return webhook.post(channel.address, json.dumps({"text": text}, ensure_ascii=False).encode(), {})


def _subject(delivery: Delivery, channel: Channel) -> str:
    """Return the subject; of a summary, with the number of its messages that may still be sent."""
    if len(delivery.messages) > 1:
        return f"{len(delivery.messages)} notifications from {channel.workspace}"
    return delivery.messages[0].subject if delivery.messages else delivery.subject


def _text_and_link(delivery: Delivery, channel: Channel, *, between: str = "\n") -> str:
    return between.join(filter(None, [delivery.text, content.url_of(delivery, channel.workspace.slug)]))


def _document(delivery: Delivery, channel: Channel) -> dict[str, Any]:
    """Return the document of one message for a webhook."""
    return {
        "id": str(delivery.message_id),
        **delivery.payload,
        "subject": _subject(delivery, channel),
        "text": delivery.text,
        "url": content.url_of(delivery, channel.workspace.slug) or None,
    }


def _slack_text(delivery: Delivery, channel: Channel) -> str:
    link = content.url_of(delivery, channel.workspace.slug)
    text = f"*{_escaped(delivery.subject)}*\n{_escaped(delivery.text)}"
    return f"{text}\n<{link}|Open in Trialdeck>" if link else text


def _show_in_browser(channel: Channel, delivery: Delivery) -> str:
    return "shown on open pages"


def _escaped(text: str) -> str:
    """Return the text escaped for Slack, so that it cannot contain mentions or links."""
    for letter, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, name)
    return text


SENDERS: dict[ChannelKind, Callable[[Channel, Delivery], str]] = {
    ChannelKind.EMAIL: _send_email,
    ChannelKind.WEBHOOK: _send_webhook,
    ChannelKind.SLACK: _send_slack,
    ChannelKind.BROWSER: _show_in_browser,
}
