"""The paper's own artefacts: Tables 1 to 3, Figures 1 and 2, and the figures it printed."""
