"""The command ``sppnet`` whose studio tunes in a moment, as ``quick_tuner`` has it."""

import sys
from pathlib import Path

from sppnet.cli import main
from sppnet.web.studio import tuning

if __name__ == "__main__":
    tuning.COMMAND = (sys.executable, str(Path(__file__).with_name("quick_tuner.py")))  # type: ignore[misc]
    main()
