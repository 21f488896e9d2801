"""The JSON API, /api/v1/: one file per noun, with the same actions and permissions as the pages."""
