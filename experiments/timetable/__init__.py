"""When experiments may start: start windows, cron expressions, time zones. Pure functions of instants."""
