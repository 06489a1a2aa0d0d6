"""Measurements through the public interface; each writes one JSON file to ``results/``."""
