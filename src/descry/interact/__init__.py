"""The conversation: chips, rounds, marks, questions and absence, on plain vectors and scores."""
