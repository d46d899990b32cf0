"""``python -m numba_symexp`` is the program."""

import sys

from numba_symexp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
