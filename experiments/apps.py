from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "experiments"
    verbose_name = "Trialdeck"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from experiments.web.ui import form_messages  # forms need Django's settings

        form_messages.install()
