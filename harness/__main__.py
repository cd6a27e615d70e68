"""``python -m harness VERB ...`` (:mod:`harness.cli.command_line`)."""

import sys

from harness.cli.command_line import start

if __name__ == "__main__":
    sys.exit(start())
