"""The study on one page, for a reader who has not seen the code."""
