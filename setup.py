"""Build hook: the papers' tables live in results/published of a checkout; a wheel carries a copy inside the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithPublishedTables(build_py):
    """Copies results/published/*.csv to stmbench/tables/published_data of the wheel; an editable install needs none."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "stmbench" / "tables" / "published_data"
        target.mkdir(parents=True, exist_ok=True)
        for table in sorted(Path(__file__).parent.glob("results/published/*.csv")):
            shutil.copyfile(table, target / table.name)


setup(cmdclass={"build_py": BuildWithPublishedTables})
