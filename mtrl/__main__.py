"""`python -m mtrl` is `mtrl`."""

from mtrl.cli import main

if __name__ == "__main__":
    main()
