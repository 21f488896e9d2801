"""The Activity tab of an experiment: actions of people and of the system, with filters, and as a file."""
