"""The HTTP API under /api/v1: one file per noun. Handlers wait for the desk and shape what comes back."""
