from django.apps import AppConfig


class ExperimentsConfig(AppConfig):
    name = "experiments"
    verbose_name = "Trialdeck"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from experiments.web import sentences  # forms need Django's settings

        sentences.say()
