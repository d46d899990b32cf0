"""``python -m numba_symexp`` is the program."""

from numba_symexp.cli.start import program

if __name__ == "__main__":
    program()
