"""The Activity tab of an experiment: people and machine apart, filtered, and as a file."""
