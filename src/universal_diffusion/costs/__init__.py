"""What a study costs before it is run: disk, hours and money, from the catalogue, the configuration and the records."""
