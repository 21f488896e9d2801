"""The Django app of Trialdeck. CONTRIBUTING.md describes its layers."""
