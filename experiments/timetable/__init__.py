"""When things may or shall start: start windows, cron expressions, time zones. Pure functions of instants."""
