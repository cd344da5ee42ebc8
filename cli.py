"""Thin launcher for a checkout: `python cli.py profile ...` is `stmbench profile ...`."""

from stmbench.commands import app

if __name__ == "__main__":
    app(prog_name="stmbench")
