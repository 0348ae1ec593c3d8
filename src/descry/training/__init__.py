"""Training: `loop.train` carries out a run, `start.start` gives what it begins with.

loop: the one loop of all methods. batches: from rows to tensors, and in which order. optimisers: learning rates
and optimisers. state: what a run writes down. start: weights, vocabulary and config.
"""
