"""`trialdeck tune`: from a script to a running search."""
