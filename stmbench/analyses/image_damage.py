"""What an analysis of images has to say about its images: passed over, skipped, or judged on some classes only."""

from __future__ import annotations

from typing import Any

from stmbench.analyses.class_check import what_is_left_out
from stmbench.analyses.subjects import Subject
from stmbench.data.image_set import ImageSet
from stmbench.data.loading import Batches


def damage(found: Batches, images: ImageSet, subject: Subject | None = None) -> dict[str, Any]:
    """Notes for an outcome: metadata, and warnings that the run's end shows."""
    reasons = [item.reason for item in found.corrupt]
    left = None if subject is None else what_is_left_out(subject, images)
    said = [("classes", 1.0, left)] if left else []
    if reasons:
        count = "1 corrupt image" if len(reasons) == 1 else f"{len(reasons)} corrupt images"
        text = f"skipped {count} of {images.name}{_replaced(found)}: {'; '.join(reasons[:3])}"
        said.append(("corrupt", float(len(reasons)), text + (", ..." if len(reasons) > 3 else "")))
    replaced = {images.title(broken): images.title(other) for broken, other in found.replaced.items()}
    known = {"corrupt": reasons, "replaced": replaced, "passed_over": list(images.remarks)}
    if not said:
        return known
    return {
        **known,
        "warnings": [text for _, _, text in said],
        "disturbances": [{"kind": kind, "amount": amount, "text": text} for kind, amount, text in said],
    }


def _replaced(found: Batches) -> str:
    """How many of the chosen images others stand for, where any do."""
    count, lost = len(found.replaced), len(found.corrupt)
    if not count:
        return ""
    by = "another image" if count == 1 else "other images"
    return f", replaced by {by}" if count == lost else f", {count} of them replaced by {by}"
