"""Charts: numbers in, SVG out. No Django, no styles; every text is escaped by `svg.element`."""

TITLES = {
    "history": "History",
    "parallel": "Parallel coordinates",
    "importance": "Importance",
    "contour": "Contour",
    "slices": "Slices",
    "curves": "Intermediate values",
    "timeline": "Timeline",
    "edf": "Distribution",
    "durations": "Durations",
}  # of the charts that every experiment has, by their names in URLs
FRONT_TITLES = {"pareto": "Pareto front", "hypervolume": "Hypervolume"}  # of those with several objectives
