"""Fetching published archives: every kind of address through one http engine that resumes, retries, verifies.

Kept libraries carry it: requests (connections, redirects, proxies), urllib3 (Retry-After, bytes as they come),
filelock, tqdm. The services' own clients were tried and do less. pooch removes what has arrived when a transfer
breaks, and reads a file once for every hash. gdown and tcia_utils have their hosts built in, so that no test server
can stand in for them; tcia_utils holds a whole series in memory and takes a half unpacked one for done. synapseclient
takes tokens from ~/.synapseConfig too, and resumes without asking whether the file has changed. What is left of each
service is a redirect (Synapse, Hugging Face), a query (Google Drive), a record (Zenodo) and a list (NBIA).
"""
