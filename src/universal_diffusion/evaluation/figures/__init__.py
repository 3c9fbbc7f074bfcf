"""Figures that the paper does not have and should: costs, ceilings, distributions, worst cases."""
