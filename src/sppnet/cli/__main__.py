"""``python -m sppnet.cli``."""

from sppnet.cli import main

main()
