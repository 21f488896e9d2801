"""Recovery after a restart or a failure of a worker: processes, results and boot IDs of its earlier processes."""
