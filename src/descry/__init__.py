"""descry: find a person in a gallery of photographs from a sketch, from words, or from both.

Results are leads, never identifications. The public names are those of __all__; each is imported when it is first
used, so that `import descry` costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Threads of PyTorch and NumPy that wait for work sleep. OpenMP and OpenBLAS let them spin by default, which takes the
# processor from our own threads and from other programs, and makes a search many times slower. Both are read once, when
# PyTorch and NumPy are first imported; whoever has set them keeps his values.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # the least: 2^4 ticks of the processor's clock

_WHERE = {
    "DescryError": "errors",
    "Composed": "drawing.composing",
    "Filters": "query",
    "Fitted": "sketching",
    "Gallery": "gallery",
    "Part": "query",
    "Query": "query",
    "Ranking": "ranking",
    "Results": "gallery",
    "compose_sketch": "drawing.composing",
    "crop": "footage",
    "fit_to_ink": "sketching",
    "load": "embed",
}
_MODULES = ("losses", "metrics")

__all__ = [
    "Composed",
    "DescryError",
    "Filters",
    "Fitted",
    "Gallery",
    "Part",
    "Query",
    "Ranking",
    "Results",
    "compose_sketch",
    "crop",
    "fit_to_ink",
    "load",
    "losses",
    "metrics",
]

if TYPE_CHECKING:
    from . import losses, metrics
    from .drawing.composing import Composed, compose_sketch
    from .embed import load
    from .errors import DescryError
    from .footage import crop
    from .gallery import Gallery, Results
    from .query import Filters, Part, Query
    from .ranking import Ranking
    from .sketching import Fitted, fit_to_ink


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f".{_WHERE[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"descry has no public name {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
