"""The conversation: chips, rounds, marks, questions, absence and the simulated witness, on plain vectors and scores."""
