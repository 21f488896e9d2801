"""Search spaces, algorithms, early-stopping rules and imports. No Django."""
