"""The worker process: it runs trials from claim to settled."""
