"""The verbs of the laboratory, registered by name in `descry.cli`."""
