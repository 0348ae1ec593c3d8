"""The laboratory: simulated witnesses, model selection, figures, and the tables of the papers.

The product imports nothing of it; its verbs are registered by name in `descry.cli`.
"""
