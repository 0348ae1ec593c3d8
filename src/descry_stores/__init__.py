"""Galleries beyond one machine: `postgres` (exact, everything a local gallery does) and `milvus` (search alone).

The product opens them by name where an address is given, and imports nothing of them otherwise.
"""
