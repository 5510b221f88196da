"""``python -m rmbench``: the command line without its script."""

from rmbench.cli import main

if __name__ == "__main__":
    main(prog_name="rmbench")
