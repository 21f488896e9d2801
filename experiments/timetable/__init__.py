"""When trials may start and schedules are due: start windows, cron expressions, time zones. Pure functions of
instants."""
