"""A person as a record of attributes, the words for them, and the figure and the sketch that show it."""
