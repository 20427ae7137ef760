"""Writes test/evaluation/coco_cases.jsonl: boxes, and the metrics that pycocotools computes for them.

    pip install pycocotools==2.0.11 numpy==2.4.6 && python tools/coco_cases.py

Each line is a case: images with `truth` [class, x1, y1, x2, y2] and `found` [class, x1, y1, x2, y2, score], and the
metrics of COCOeval for all areas and 100 detections: `mAP`, `mAP50`, `mAP75` and `AP` by class; null without truth.
No box is marked as a crowd, because training data has none.
"""

import contextlib, io, json, pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIDE = 400


def random_box(rng, step):
    x1, y1 = (rng.integers(0, SIDE * 3 // 4, 2) // step * step).tolist()
    w, h = (1 + rng.integers(0, SIDE // 3, 2) // step).tolist()
    return [x1, y1, min(SIDE, x1 + w * step), min(SIDE, y1 + h * step)]


def moved(rng, box, by):
    """Returns a box near another one, for IoUs of all sizes. Corners are sorted and inside the image."""
    x1, y1, x2, y2 = np.clip(np.array(box) + rng.integers(-by, by + 1, 4), 0, SIDE).tolist()
    return [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]


def scene(rng, classes, truths, misses, extras, by, scores, step=1, seen=None):
    truth = [[str(rng.choice(classes)), *random_box(rng, step)] for _ in range(truths)]
    found = []
    for label, *box in truth:
        for _ in range(rng.integers(0, 3)):
            other = rng.random() < misses
            found.append([str(rng.choice(classes)) if other else label, *moved(rng, box, by)])
    found += [[str(rng.choice(seen or classes)), *random_box(rng, step)] for _ in range(extras)]
    rng.shuffle(found)
    return dict(truth=truth, found=[[*row, score] for row, score in zip(found, scores(rng, len(found)))])


def distinct(rng, n):
    return rng.random(n).round(6).tolist()


def tied(rng, n):
    return (rng.integers(1, 5, n) / 4).tolist()


def ones(rng, n):
    return [1.0] * n


def evaluate(images):
    labels = sorted({row[0] for image in images for row in image['truth'] + image['found']})
    number = {label: i + 1 for i, label in enumerate(labels)}
    xywh = lambda row: [row[1], row[2], row[3] - row[1], row[4] - row[2]]
    truth, found = [], []
    for i, image in enumerate(images):
        for row in image['truth']:
            box = xywh(row)
            truth.append(dict(id=len(truth) + 1, image_id=i, category_id=number[row[0]], bbox=box, area=box[2] * box[3], iscrowd=0))
        for row in image['found']:
            found.append(dict(image_id=i, category_id=number[row[0]], bbox=xywh(row), score=row[5]))
    if not truth:
        return dict(mAP=None, mAP50=None, mAP75=None, AP={})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(
            images=[dict(id=i, width=SIDE, height=SIDE) for i in range(len(images))],
            categories=[dict(id=i, name=label) for label, i in number.items()],
            annotations=truth,
        )
        coco.createIndex()
        if found:
            results = coco.loadRes(found)
        else:
            results = COCO()
            results.dataset = dict(coco.dataset, annotations=[])
            results.createIndex()
        evaluation = COCOeval(coco, results, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][:, :, :, 0, -1]  # [T, R, K]
    known = [k for k in range(len(labels)) if precision[0, 0, k] > -1]
    return dict(
        mAP=precision[:, :, known].mean(),
        mAP50=precision[0][:, known].mean(),
        mAP75=precision[5][:, known].mean(),
        AP={labels[k]: precision[:, :, k].mean() for k in known},
    )


def cases():
    few, many = ['cat', 'dog', 'bird'], [f'class {i}' for i in range(8)]
    rng = np.random.default_rng(4)
    some = lambda images, *args, **options: [scene(rng, *args, **options) for _ in range(images)]
    yield 'distinct scores', some(8, few, 6, 0.1, 2, 5, distinct)
    yield 'tied scores', some(8, few, 6, 0.1, 2, 5, tied)
    yield 'no scores: all 1', some(8, few, 6, 0.2, 2, 4, ones)
    yield 'many classes', some(10, many, 5, 0.4, 2, 5, distinct)
    yield 'equal boxes on a coarse grid', some(8, few, 8, 0.1, 4, 0, tied, step=40)
    yield 'IoUs at the thresholds', [
        dict(truth=[['cat', 0, 0, 20, 10]], found=[['cat', 0, 0, width, 10, 0.5]]) for width in range(9, 21)
    ]
    yield 'images without truth, without detections, without both', [
        *some(3, few, 0, 0, 4, 8, distinct),
        *[dict(scene(rng, few, 4, 0, 0, 8, distinct), found=[]) for _ in range(3)],
        dict(truth=[], found=[]),
        *some(3, few, 4, 0.1, 1, 8, distinct),
    ]
    yield 'classes that no truth has', some(5, few, 4, 0, 5, 4, distinct, seen=['cat', 'fish', 'worm'])
    crowded = [['cat', *random_box(rng, 20)] for _ in range(12)]
    boxes = [['cat', *moved(rng, crowded[rng.integers(12)][1:], 15)] for _ in range(130)]
    boxes += [['dog', *random_box(rng, 1)] for _ in range(20)]  # the limit of 100 counts each class separately
    yield 'more than 100 detections of a class', [
        dict(truth=[*crowded, ['dog', *boxes[140][1:]]], found=[[*row, s] for row, s in zip(boxes, tied(rng, 150))])
    ]
    places = [[20 * i, 0, 20 * i + 10, 10] for i in range(20)]
    yield 'recalls at the 101 steps', [
        dict(
            truth=[['cat', *place] for place in places],
            found=[['cat', x1, y1 + i % 2 * 100, x2, y2 + i % 2 * 100, 1 - i / 100] for i, [x1, y1, x2, y2] in enumerate(places)],
        )
    ]
    yield 'nothing found', [dict(truth=[['cat', 0, 0, 9, 9]], found=[])]
    yield 'no truth at all', [dict(truth=[], found=[['cat', 0, 0, 9, 9, 0.5]])]
    yield 'the right boxes under the wrong class', [
        dict(truth=[['cat', 10, 10, 90, 90], ['dog', 200, 200, 300, 300]], found=[['dog', 10, 10, 90, 90, 0.9], ['cat', 200, 200, 300, 300, 0.8]])
    ]
    yield 'boxes without area', [
        dict(truth=[['cat', 5, 5, 5, 9], ['cat', 10, 10, 20, 20]], found=[['cat', 5, 5, 5, 9, 0.9], ['cat', 10, 10, 20, 20, 0.8]])
    ]


written = [dict(name=name, expected=evaluate(images), images=images) for name, images in cases()]
path = pathlib.Path(__file__).parent.parent / 'test/evaluation/coco_cases.jsonl'
path.write_text(''.join(json.dumps(case, separators=(',', ':')) + '\n' for case in written))
for case in written:
    print(f'{case["name"]}: {case["expected"]["mAP"]}')
