"""Where the tests' files lie."""

from pathlib import Path

DATA = Path(__file__).parent
GOLDEN = DATA / "golden"
