"""How predictions are scored: one row per system, case and annotated target."""
