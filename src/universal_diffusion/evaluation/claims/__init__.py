"""The claims ledger: each claim of the paper that a number can settle."""
