# SPDX-License-Identifier: Apache-2.0
"""`python -m computeapi` is the command `computeapi`."""

import sys

from computeapi.cli import main

if __name__ == "__main__":
    sys.exit(main())
