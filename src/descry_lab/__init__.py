"""The laboratory: simulated witnesses, model selection, figures, and the tables of the papers.

The product imports nothing of it; its verbs are registered by name in `descry.cli`.
"""

import descry as descry  # before PyTorch is imported: it settles how waiting threads behave
