"""Studies: one command from a new mixer to an answer.

options           what is asked for                        design      models and analyses, as an experiment
budget            what is left out to end in time          files       the study as experiment files, and its plan kept
"""

from stmbench.studies.design import Design, design
from stmbench.studies.options import StudyOptions

__all__ = ["Design", "StudyOptions", "design"]
