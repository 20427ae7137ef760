"""Writes test/evaluation/isotonic_cases.jsonl: isotonic regressions and areas under the ROC curve by scikit-learn.

    pip install scikit-learn==1.9.1
    python tools/isotonic_cases.py > test/evaluation/isotonic_cases.jsonl
"""

import json
import random

from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

PROBES = [i / 20 for i in range(21)]
random.seed(16)

for name, count, digits in [("two", 2, 3), ("ten", 10, 3), ("ties", 40, 1), ("many", 300, 3), ("descending", 60, 3)]:
    scores = [round(random.random(), digits) for _ in range(count)]
    chance = (lambda s: 1 - s) if name == "descending" else (lambda s: s * s)
    right = [int(random.random() < chance(s)) for s in scores]
    right[:2] = [0, 1]
    fit = IsotonicRegression(out_of_bounds="clip").fit(scores, right)
    row = {"name": name, "scores": scores, "right": right, "probes": PROBES}
    row |= {"values": fit.predict(PROBES).tolist(), "auroc": roc_auc_score(right, scores)}
    print(json.dumps(row))
