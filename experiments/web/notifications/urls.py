"""URLs of notifications."""

from django.urls import path

from experiments.web.table_files import file_paths

from . import browser, channels, deliveries, page, quiet_hours, rules

W = "w/<slug:workspace_slug>/notifications/"

urlpatterns = [
    path(W, page.show, name="notifications"),
    *file_paths(W + "deliveries", deliveries.file, name="deliveries"),
    path(W + "deliveries/<int:delivery_pk>/send/", deliveries.send, name="delivery-send"),
    path(W + "quiet-hours/", quiet_hours.save, name="quiet-hours"),
    path(W + "rules/new/", rules.new, name="rule-new"),
    path(W + "rules/<int:rule_pk>/", rules.edit, name="rule-edit"),
    path(W + "rules/<int:rule_pk>/switch/", rules.switch, name="rule-switch"),
    path(W + "rules/<int:rule_pk>/test/", rules.test, name="rule-test"),
    path(W + "rules/<int:rule_pk>/delete/", rules.delete, name="rule-delete"),
    path(W + "channels/new/", channels.new, name="channel-new"),
    path(W + "channels/<int:channel_pk>/", channels.edit, name="channel-edit"),
    path(W + "channels/<int:channel_pk>/test/", channels.test, name="channel-test"),
    path(W + "channels/<int:channel_pk>/secret/", channels.secret, name="channel-secret"),
    path(W + "channels/<int:channel_pk>/delete/", channels.delete, name="channel-delete"),
    path("account/unseen/", browser.unseen, name="unseen"),
]
