"""Layouts of data sets on disk: each tells what speaks for it, lists a split, and some write it too."""
