"""The admin site as an app: Django's, with models in groups."""

from django.contrib.admin.apps import AdminConfig as DjangoAdminConfig


class AdminConfig(DjangoAdminConfig):
    default_site = "console.admin_site.site.Site"
