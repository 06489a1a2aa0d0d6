"""Linear learners and nothing else: arrays in, weights out."""
