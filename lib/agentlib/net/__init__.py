"""HTTP for all that needs it (providers, fetch_url, the download of models): httpx, with every wait bounded.

May import: the ground floor.
"""
