"""How good answers are: arrays in, reports out."""
