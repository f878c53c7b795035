"""`python -m morphospace.cli` is `morpho`."""

from __future__ import annotations

import sys

from morphospace.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
