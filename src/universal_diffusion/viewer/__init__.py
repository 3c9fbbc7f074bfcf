"""A look at a result: one self-contained page with CT, masks and uncertainty, drawn by niivue in a browser, offline."""
