"""Loads datasets that `florence2 convert` wrote with the field's tools, and compares the boxes with the input's.

    python3 -m venv venv && venv/bin/pip install -r tools/load_datasets.requirements.txt
    venv/bin/python tools/load_datasets.py COCO_FILE

COCO_FILE is a COCO file of objects with its images, whose file names differ. It is converted to coco, voc and yolo in a temporary folder.
Prints a line for each tool and format, and exits with 1 if a tool finds other boxes.
"""

import contextlib
import io
import os
import subprocess
import sys
import tempfile

import datumaro
import supervision
from PIL import Image
from pycocotools.coco import COCO

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
failed = False


def convert(source, folder, to):
    out = os.path.join(folder, to)
    main = os.path.join(ROOT, "src/cli/main.ts")
    subprocess.run(["npx", "tsx", main, "convert", source, out, "--to", to, "--copy"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return out


def upright(folder):
    """Stems of the images that EXIF does not turn: of others COCO has coordinates of the stored image, some tools those of the upright one."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(folder) for name in names]
    return {os.path.splitext(os.path.basename(p))[0] for p in paths if Image.open(p).getexif().get(274, 1) == 1}


def coco_boxes(file, only=None, crowds=False):
    """Label and corners of each object, or of those that are not crowds, by the stem of the image's file."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(file)
    boxes = {}
    for image in coco.dataset["images"]:
        stem = os.path.splitext(os.path.basename(image["file_name"]))[0]
        if only is not None and stem not in only:
            continue
        boxes[stem] = []
        for a in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]], iscrowd=None if crowds else False)):
            x, y, w, h = a["bbox"]
            boxes[stem].append((coco.cats[a["category_id"]]["name"], (x, y, x + w, y + h)))
    return boxes


def supervision_boxes(dataset):
    boxes = {}
    for path, found in dataset.annotations.items():
        rows = zip(found.class_id if len(found) else [], found.xyxy)
        boxes[os.path.splitext(os.path.basename(path))[0]] = [(dataset.classes[k], tuple(map(float, box))) for k, box in rows]
    return boxes


def datumaro_boxes(folder, kind):
    dataset = datumaro.Dataset.import_from(folder, kind)
    names = [c.name for c in dataset.categories()[datumaro.AnnotationType.label]]
    boxes = {}
    for item in dataset:
        rows = boxes.setdefault(os.path.basename(item.id), [])
        for a in item.annotations:
            if a.type.name == "bbox":
                x, y, w, h = a.get_bbox()
                rows.append((names[a.label], (x, y, x + w, y + h)))
    return boxes


def compare(name, found, expected, tolerance):
    global failed
    count = wrong = 0
    for stem, boxes in expected.items():
        flat = [f for f in found if f == stem or f.endswith("_" + stem)]  # names of folders become a part of file names
        left = list(found[flat[0]] if flat else [])
        for label, box in boxes:
            count += 1
            match = next((b for b in left if b[0] == label and all(abs(u - v) <= tolerance for u, v in zip(b[1], box))), None)
            if match is None:
                wrong += 1
            else:
                left.remove(match)
        wrong += len(left)
    failed |= wrong > 0 or count == 0
    print(f"{'wrong' if wrong else 'equal'}  {name}: {count} boxes, {wrong} differ")


def main():
    source = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        coco, voc, yolo = (convert(source, folder, to) for to in ("coco", "voc", "yolo"))
        file = os.path.join(coco, "annotations/instances_train.json")
        images = os.path.join(coco, "images/train")
        expected = coco_boxes(source, upright(images))
        with_crowds = coco_boxes(source, upright(images), True)  # supervision and Datumaro do not tell crowds from objects
        compare("pycocotools, coco", coco_boxes(file), expected, 0.01)
        compare("supervision, coco", supervision_boxes(supervision.DetectionDataset.from_coco(images, file)), with_crowds, 0.01)
        annotations = os.path.join(voc, "Annotations")
        dataset = supervision.DetectionDataset.from_pascal_voc(os.path.join(voc, "JPEGImages"), annotations)
        compare("supervision, voc", supervision_boxes(dataset), expected, 1.01)
        folders = [os.path.join(yolo, name, "train") for name in ("images", "labels")]
        dataset = supervision.DetectionDataset.from_yolo(*folders, os.path.join(yolo, "data.yaml"))
        compare("supervision, yolo", supervision_boxes(dataset), expected, 0.02)
        compare("datumaro, voc", datumaro_boxes(voc, "voc_detection"), expected, 1.01)
        compare("datumaro, coco", datumaro_boxes(coco, "coco_instances"), with_crowds, 0.01)
    sys.exit(failed)


if __name__ == "__main__":
    main()
