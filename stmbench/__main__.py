"""`python -m stmbench` is the `stmbench` command."""

from stmbench.commands import app

if __name__ == "__main__":
    app(prog_name="stmbench")
