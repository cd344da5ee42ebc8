"""How long COCO's scores take: ours, faster-coco-eval and pycocotools, on made-up detections of COCO's size.

    python benchmarks/detection_scoring.py                    5,000 images, 80 classes, boxes
    python benchmarks/detection_scoring.py --images 500 --rounds 10

Each round runs all of them on the same detections, in a random order; before anything is timed their twelve scores are
compared. Prints seconds of the processor with the 95 % interval of the median, and how many times ours each takes. The
last line is the bootstrap: 1,000 resamples of the images, of one detector and of the difference of two.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import time
from collections.abc import Callable
from typing import Any

import faster_coco_eval
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stmbench.measure.bootstrap import median_interval, paired_ratio
from stmbench.measure.detection.average_precision import ApScores, difference, intervals, score
from stmbench.measure.interleaving import rounds

SIDE, SMALLEST = 640, np.array([0, 0, 8, 8])


def processor_time(run: Callable[[], object]) -> float:
    """Seconds of this process on the processor."""
    started = time.process_time()
    run()
    return time.process_time() - started


def made_up(images: int, classes: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """About 7.2 objects an image, and 100 detections: some of them objects that were moved, some of another class."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, classes + 1)  # some classes are far more common
    objects, found = [], []
    for image in range(1, images + 1):
        count = int(rng.poisson(7.2))
        boxes = rng.uniform(0, SIDE / 2, (count, 4)) + SMALLEST
        for box, category in zip(boxes, rng.choice(classes, count, p=shares / shares.sum()) + 1, strict=True):
            objects.append({"id": len(objects) + 1, "image_id": image, "category_id": int(category),
                            "bbox": box.tolist(), "area": float(box[2] * box[3] * 0.7),
                            "iscrowd": int(rng.random() < 0.01)})  # fmt: skip
        for number in range(100):
            if count and number < 3 * count:
                box = boxes[number % count] * rng.normal(1, 0.08, 4)
                category = objects[len(objects) - count + number % count]["category_id"]
                certainty = rng.beta(4, 2) if rng.random() < 0.7 else rng.beta(1, 6)
            else:
                box, category = rng.uniform(0, SIDE / 2, 4) + SMALLEST, int(rng.integers(classes)) + 1
                certainty = rng.beta(1, 6)
            found.append({"image_id": image, "category_id": category, "bbox": box.tolist(), "score": float(certainty)})
    truth = {
        "images": [{"id": number, "height": SIDE, "width": SIDE} for number in range(1, images + 1)],
        "annotations": objects,
        "categories": [{"id": number, "name": f"class {number}"} for number in range(1, classes + 1)],
    }
    return truth, found


def through(api: Any, evaluation: Any, truth: dict[str, Any], found: list[dict[str, Any]]) -> list[float]:
    """The twelve scores, by a library with pycocotools' classes."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = api()
        data.dataset = truth
        data.createIndex()
        run = evaluation(data, data.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return list(run.stats[:12])


def main() -> None:
    """Make the detections, compare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    truth, found = made_up(options.images, options.classes, 0)
    apis = {
        "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
        "pycocotools": (COCO, COCOeval),
    }

    def peer(name: str) -> Callable[[list[Any]], list[float]]:
        return lambda copies: through(*apis[name], *copies)

    ways: dict[str, Callable[[list[Any]], list[float]]] = {
        "ours": lambda copies: list(score(*copies, kind="bbox").metrics.values()),
        **{name: peer(name) for name in apis},
    }

    def timed(way: Callable[[list[Any]], list[float]]) -> float:
        copies = [copy.deepcopy(truth), copy.deepcopy(found)]  # the others write into them
        return processor_time(lambda: way(copies))

    values = {name: way([copy.deepcopy(truth), copy.deepcopy(found)]) for name, way in ways.items()}
    for name in apis:
        assert np.allclose(values["ours"], values[name], rtol=0, atol=1e-9), (values["ours"], values[name])
    subjects = {name: lambda way=way: timed(way) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for samples, _ in zip(rounds(subjects, seed=0), range(options.rounds), strict=False):
        for sample in samples:
            seconds[sample.workload].append(sample.seconds)

    print(f"{options.images} images, {len(truth['annotations'])} objects, {len(found)} detections, "
          f"{options.classes} classes: AP {values['ours'][0]:.4f}\n")  # fmt: skip
    print("| scores by | seconds | 95 % | times ours | 95 % |\n|---|---|---|---|---|")
    for name in ways:
        each = median_interval(seconds[name])
        ratio = paired_ratio(seconds[name], seconds["ours"])
        print(f"| {name} | {each.estimate:.2f} | {each.low:.2f} to {each.high:.2f} | "
              f"{ratio.estimate:.2f} | {ratio.low:.2f} to {ratio.high:.2f} |")  # fmt: skip
    scores: list[ApScores] = [score(truth, found, kind="bbox")]
    scores.append(score(truth, found[::2], kind="bbox"))
    print(f"\n1,000 resamples: {processor_time(lambda: intervals(scores[0])):.1f} s, "
          f"difference of two detectors: {processor_time(lambda: difference(*scores)):.1f} s")  # fmt: skip


if __name__ == "__main__":
    main()
