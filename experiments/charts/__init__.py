"""Charts: numbers in, SVG out. No Django, no styles; every text passes `svg.Svg`'s one gatekeeper."""
