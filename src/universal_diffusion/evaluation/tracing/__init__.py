"""Where a number comes from: hashes, origins, versions."""
