"""The command line: ``telamon`` or ``python -m telamon``."""

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    return 0


if __name__ == "__main__":
    sys.exit(main())
