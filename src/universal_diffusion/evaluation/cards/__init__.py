"""A page beside each model: what it is for, what it was made from, how good it is."""
