"""Synthetic people: a person is a record of attributes, drawn as photographs and sketches and put into words.

They exist so that everything can be tried, tested and compared without anybody's pictures. A number measured on them
is no evidence of accuracy on real people.
"""

import descry as descry  # before PyTorch is imported: it settles how waiting threads behave
