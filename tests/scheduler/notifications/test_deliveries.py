"""TD-D5: messages reach email and webhooks, again after failures, and never whom they must not reach."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from email.header import decode_header, make_header
from ipaddress import ip_address

import pytest
from django.utils import timezone

from experiments.models import Channel, Delivery, Experiment, Invalid, Kind, Occurrence, Refused, Role
from experiments.scheduler.expired_rows import purge
from experiments.scheduler.notifications import outbox, webhook
from experiments.scheduler.notifications.fan_out import expand
from tests.people import end_all
from tests.repository_rules.repository import ROOT
from tests.scheduler.notifications.sending import at, deliver


def documented() -> Callable[..., bool]:
    """The function with which docs/notifications.md verifies a message."""
    page = (ROOT / "docs" / "notifications.md").read_text()
    names: dict[str, Callable[..., bool]] = {}
    exec(re.search(r"```python\n(.*?)```", page, re.S)[1], names)  # noqa: S102
    return names["is_genuine"]


def test_a_webhook_gets_a_signed_document(running, rule, hook, http, settings):
    """TD-D5: HMAC-SHA256 over time and body; the address leads to the experiment."""
    settings.CONSOLE_URL = "https://deck.example.org"
    rule()
    experiment = end_all(running(max_trials=1))
    (delivery,) = deliver()
    verify = documented()
    (path, headers, body), *others = http.requests
    assert path == "/hooks/trialdeck" and not others
    assert verify(hook.secret, headers["Trialdeck-Signature"], body)
    assert not verify(hook.secret, headers["Trialdeck-Signature"], body + b" ")
    assert not verify(hook.secret, headers["Trialdeck-Signature"], body, tolerance_s=-1), "an old one"
    assert not verify(hook.renew_secret(), headers["Trialdeck-Signature"], body)
    document = json.loads(body)
    assert document["event"] == headers["Trialdeck-Event"] == "ended"
    assert document["id"] == headers["Trialdeck-Delivery"] == str(delivery.message_id)
    assert document["experiment"]["id"] == experiment.public_id
    assert document["url"] == f"https://deck.example.org/w/lab/experiments/{experiment.public_id}/"
    assert (delivery.label, delivery.attempts, delivery.tries[0][1]) == ("Delivered", 1, "200 OK")


def test_a_chat_gets_one_text_without_mentions(running, rule, lab, http):
    """TD-D5: Slack-shaped. A name must neither mention everybody nor make a link."""
    chat, secret = Channel.create(lab, owner=None, kind="slack", name="#results", address=http.url)
    assert secret == ""
    rule(owner=None, channels=[chat])
    end_all(running("<!channel> a&b", max_trials=1))
    deliver()
    assert json.loads(http.requests[0][2])["text"].startswith("*&lt;!channel&gt; a&amp;b: completed*\n")


def test_an_email_goes_to_the_address_of_the_account(running, rule, lab, bob, smtp):
    """TD-D5: whatever it is when the message is sent."""
    mail, _ = Channel.create(lab, owner=bob, kind="email", name="mail")
    rule(channels=[mail])
    end_all(running("évaluation", max_trials=1))
    (delivery,) = deliver()
    assert delivery.label == "Failed" and "no email address" in delivery.error, "no use in trying again"
    bob.email = "bob@example.org"
    bob.save(update_fields=["email"])
    delivery.send_again()
    (delivery,) = deliver()
    (message,) = smtp.messages
    assert delivery.label == "Delivered" and message["To"] == "bob@example.org"
    assert str(delivery.message_id) in message["Message-ID"]
    assert "1 succeeded" in message.get_payload(decode=True).decode()


@pytest.mark.parametrize(
    "name", ["x\r\nBcc: eve@example.org", "x\n\nBody", "x\u2028Bcc: eve@example.org", "x\x0bTo: a@b.c"]
)
def test_a_name_adds_no_header_to_an_email(name, running, rule, lab, bob, smtp):
    """TD-D5: names that are in the database with line breaks, and unicode in the subject."""
    bob.email = "bob@example.org"
    bob.save(update_fields=["email"])
    mail, _ = Channel.create(lab, owner=bob, kind="email", name="mail")
    rule(channels=[mail])
    experiment = running("first", max_trials=1)
    Experiment.objects.filter(pk=experiment.pk).update(name=f"été 🚀 {name}")
    experiment.refresh_from_db()
    end_all(experiment)
    (delivery,) = deliver()
    (message,) = smtp.messages
    assert (
        delivery.label == "Delivered"
        and message["Bcc"] is None
        and message.get_all("To") == ["bob@example.org"]
    )
    subject = str(make_header(decode_header(message["Subject"])))
    assert subject.startswith("été 🚀 x ") and len(subject.splitlines()) == 1


def test_an_email_that_is_refused_for_good_is_not_tried_again(running, rule, lab, bob, smtp):
    bob.email = "bob@example.org"
    bob.save(update_fields=["email"])
    rule(channels=[Channel.create(lab, owner=bob, kind="email", name="mail")[0]])
    smtp.refusal = "450 try later"
    end_all(running(max_trials=1))
    (delivery,) = deliver()
    assert delivery.label == "Retrying" and "450" in delivery.error
    smtp.refusal = "550 no such mailbox"
    outbox.send_due(at(delivery))
    delivery.refresh_from_db()
    assert delivery.label == "Failed" and delivery.error == "550 no such mailbox" and delivery.attempts == 2


def test_a_message_is_tried_six_times_with_longer_pauses(running, rule, http):
    """TD-D5: after 30 s, 5 min, 30 min, 2 h, 4 h; each attempt is noted, and has the same ID."""
    http.answers = [(503, {})]
    rule()
    end_all(running(max_trials=1))
    (delivery,) = deliver()
    pauses = []
    while delivery.next_at:
        due, moment = at(delivery), at(delivery)()
        assert outbox.send_due() == 0, "it is not due"
        outbox.send_due(due)
        delivery.refresh_from_db()
        pauses.append(round((delivery.next_at - moment).total_seconds()) if delivery.next_at else None)
    assert pauses == [300, 1800, 7200, 14400, None]
    assert (delivery.label, delivery.attempts, len(delivery.tries)) == ("Failed", 6, 6)
    assert delivery.error == "503 Service Unavailable"
    assert len({json.loads(body)["id"] for _, _, body in http.requests}) == 1 and len(http.requests) == 6
    http.answers = [(204, {})]
    delivery.send_again()
    (delivery,) = deliver()
    assert delivery.label == "Delivered"
    with pytest.raises(Refused, match="Only failed messages"):
        delivery.send_again()


def test_an_attempt_that_was_cut_off_is_repeated(running, rule, http):
    """Control may be killed while it sends."""
    rule()
    end_all(running(max_trials=1))
    expand()
    delivery = Delivery.objects.get()
    now = timezone.now()
    assert delivery.claim(now) and not Delivery.objects.get().claim(now), "one process may send it"
    assert outbox.send_due(lambda: now) == 0
    outbox.send_due(at(delivery))
    delivery.refresh_from_db()
    assert delivery.label == "Delivered" and delivery.attempts == 2


def test_a_receiver_that_fails_holds_up_no_other(running, rule, lab, bob, http, hook):
    dead, _ = Channel.create(lab, owner=bob, kind="webhook", name="dead", address="http://127.0.0.1:1/")
    rule(channels=[dead, hook])
    for name in ("one", "two"):
        end_all(running(name, max_trials=1))
    assert sorted((row.channel_id, row.label) for row in deliver()) == sorted(
        [(dead.pk, "Retrying")] * 2 + [(hook.pk, "Delivered")] * 2
    )
    assert Delivery.objects.filter(channel=dead).first().error == "Connection refused"


@pytest.mark.parametrize("change", ["private", "left", "inactive", "trash"])
def test_who_may_no_longer_see_the_experiment_gets_nothing(running, rule, http, lab, alice, bob, change):
    """TD-D5: rights are checked when the message is sent, not when it was made."""
    rule()
    experiment = end_all(running(max_trials=1))
    expand()
    if change == "private":
        experiment.describe(by=alice, visibility="private")
    elif change == "left":
        lab.members.filter(user=bob).delete()
    elif change == "inactive":
        bob.is_active = False
        bob.save(update_fields=["is_active"])
    else:
        experiment.delete_to_trash(by=alice)
    (delivery,) = deliver()
    assert delivery.label == "Canceled" and http.requests == []
    assert experiment.name not in delivery.subject + delivery.text + str(delivery.payload)


def test_private_experiments_reach_their_people_only(running, rule, http, lab, alice, bob, carol):
    """TD-D5: no rule of the workspace tells of them, whoever made it; a person's own does where they see it."""
    everybody, _ = Channel.create(lab, owner=None, kind="slack", name="#all", address=http.url)
    rule(owner=None, channels=[everybody])
    rule()  # bob's
    hers, _ = Channel.create(lab, owner=alice, kind="webhook", name="mine", address=http.url)
    rule(owner=alice, channels=[hers])
    experiment = running(max_trials=1)
    experiment.describe(by=alice, visibility="private")
    end_all(experiment)
    assert [delivery.channel_id for delivery in deliver()] == [hers.pk]
    lab.admit(bob, Role.OWNER)
    with pytest.raises(Invalid):
        rule(owner=None, channels=[everybody], scope="experiment", experiment=experiment)


def test_a_worker_is_told_to_members_only(rule, worker, lab, bob, http):
    rule("worker_lost")
    worker.declare_gone(beat=0)
    lab.members.filter(user=bob).delete()
    assert deliver() == [] and http.requests == []


# --- where webhooks may lead ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]", "[fc00::1]",
        "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "2130706433", "0x7f.1", "127.1",
        "0177.0.0.1", "017700000001", "0x7f000001", "[::ffff:169.254.169.254]",
    ],
)  # fmt: skip
def test_addresses_within_the_network_are_refused(host, http, settings, lab, bob):
    """TD-D5: private, loopback and link-local ones, however they are written, unless an administrator allows them."""
    settings.WEBHOOK_NETWORKS = []
    url = f"http://{host}:{http.server_port}/"
    channel, _ = Channel.create(lab, owner=bob, kind="webhook", name="in", address=url)
    Delivery.test(channel, by=bob)
    (delivery,) = deliver()
    assert delivery.label == "Failed" and http.requests == [], delivery.error
    assert "not a public address" in delivery.error or "cannot be resolved" in delivery.error
    assert delivery.attempts == 1 or "resolved" in delivery.error


def test_a_name_is_checked_after_it_is_resolved(http, settings, monkeypatch, lab, bob):
    """TD-D5: whatever it resolved to before; one private address among public ones is enough."""
    settings.WEBHOOK_NETWORKS = []
    answers = [("93.184.216.34", 80), ("127.0.0.1", 80)]
    entries = [(2, 1, 6, "", address) for address in answers]
    monkeypatch.setattr(webhook.socket, "getaddrinfo", lambda *args, **kwargs: entries)
    with pytest.raises(webhook.AddressRefused, match="rebind.example.org resolves to 127.0.0.1"):
        webhook.post("http://rebind.example.org/", b"{}", {})
    assert http.requests == []


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses_are_allowed(address, settings):
    settings.WEBHOOK_NETWORKS = []
    assert webhook.is_allowed(ip_address(address))


def test_redirects_are_not_followed(running, rule, http):
    """TD-D5: they could lead anywhere."""
    http.answers = [(302, {"Location": http.url})]
    rule()
    end_all(running(max_trials=1))
    (delivery,) = deliver()
    assert len(http.requests) == 1 and "redirects are not followed" in delivery.error


def test_a_receiver_that_never_finishes_is_given_up(http, hook, bob, monkeypatch):
    """Every byte in time, the whole never."""
    monkeypatch.setattr(webhook, "DEADLINE_S", 0.05)
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []
    threading.Thread(target=lambda: held.append(listener.accept()[0]), daemon=True).start()
    with pytest.raises(webhook.NotDelivered, match="no complete answer within"):
        webhook.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", b"{}", {})
    listener.close()
    held[0].close()


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://example.org/", "file:///etc/passwd", "http://", "http://user:secret@example.org/",
     "http://example.org:99999/", "http://exa mple.org/", "http://example.org/\r\nX: y", "http://[::1/"],
)  # fmt: skip
def test_what_is_no_url_of_a_webhook_is_refused(url, lab, bob):
    with pytest.raises(Invalid) as fault:
        Channel.create(lab, owner=bob, kind="webhook", name="x", address=url)
    assert "address" in fault.value.errors


def test_secrets_and_addresses_are_stored_encrypted(hook, http):
    """TD-D5: whoever reads the database can neither sign nor post."""
    row = Channel.objects.filter(pk=hook.pk).values().get()
    text = json.dumps(row, default=str)
    assert hook.secret.startswith("whsec_") and hook.secret not in text
    assert hook.address == http.url and "hooks/trialdeck" not in text and row["hint"].endswith("/…deck")


def test_old_messages_are_deleted(running, rule, http):
    rule()
    end_all(running(max_trials=1))
    deliver()
    purge()
    assert Delivery.objects.count() == 1 and Occurrence.objects.filter(kind=Kind.ENDED).count() == 1
    purge(timezone.now() + timedelta(days=31))
    assert not Delivery.objects.exists() and not Occurrence.objects.exists()
