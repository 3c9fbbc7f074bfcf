"""Whether the ensembles' uncertainty can be believed and used: calibration, warnings of errors, what is gained."""
