"""The HTML pages: one folder per noun, each with its views, forms and URLs."""
