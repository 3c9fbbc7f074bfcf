"""Fetching published archives: every kind of address through one http engine that resumes, retries, verifies.

Kept libraries carry it: requests (connections, redirects, proxies), urllib3 (Retry-After, bytes as they come), pooch
(hashes), filelock, tqdm. The services' own clients were tried and do less. pooch's downloader removes what has arrived
when a transfer breaks. gdown and tcia_utils have their hosts built in, so that no test server can stand in for them;
tcia_utils holds a whole series in memory and takes a half unpacked one for done. synapseclient takes tokens from
~/.synapseConfig too, and resumes without asking whether the file has changed. What is left of each service is a
redirect (Synapse), a query (Google Drive), a record (Zenodo) and a list (NBIA).
"""
