"""Galleries beyond one machine: `postgres` (exact, everything a local gallery does) and `milvus` (search alone, which
`milvus_search` answers). `migrate` copies a local gallery there.

The product opens them by name where an address is given, and imports nothing of them otherwise.
"""
