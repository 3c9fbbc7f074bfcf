"""What the paper does not show: all targets, ceilings, costs, training curves, leakage."""
