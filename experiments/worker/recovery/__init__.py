"""What a worker does about what was left by its earlier process, or by a failure: processes, results, boot IDs."""
