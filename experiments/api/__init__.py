"""The JSON API, /api/v1/: one file per noun, the same verbs and rights as the web."""
