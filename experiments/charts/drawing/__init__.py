"""What charts are drawn with: scales, axes, marks, SVG."""
