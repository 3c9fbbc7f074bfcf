"""The native archive of each dataset, written from the embedded cohort's scans."""
