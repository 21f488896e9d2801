"""Building blocks of charts: scales, axes, marks, SVG."""
