"""What a worker runs: trials from claim to settled."""
