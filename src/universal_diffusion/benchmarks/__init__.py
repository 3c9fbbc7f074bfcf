"""How fast and how frugal the study's own parts are, each measured beside what a reader would otherwise take."""
