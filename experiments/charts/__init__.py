"""Charts: numbers in, SVG out. No Django, no styles; every text is escaped by `svg.element`."""
