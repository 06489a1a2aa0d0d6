"""Data sets as the tools export them that people label with: files, folders, names and fields as these write them."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import md5
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from sppnet.data import DetectionData, Sample

Parts = Mapping[str, DetectionData]
Named = tuple[str, Sample, DetectionData]  # a file's name, and what it shows
Object = tuple[str, list[float]]  # class; left, top, right, bottom


def _objects(sample: Sample, data: DetectionData) -> list[Object]:
    return [(data.classes[label], box.tolist()) for label, box in zip(sample.labels, sample.boxes, strict=True)]


def _copy(sample: Sample, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample.path, place)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def _digest(sample: Sample) -> str:
    return md5(sample.path.name.encode(), usedforsecurity=False).hexdigest()


def _rows(parts: Parts) -> Iterable[tuple[str, Sample, DetectionData]]:
    return ((split, sample, data) for split, data in parts.items() for sample in data)


def _coco(
    samples: Sequence[Named],
    classes: Mapping[str, int],
    *,
    whole: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a document; ``samples`` are file names with what they show. ``whole``: rounded, as Roboflow writes it."""
    images, annotations = [], []
    for number, (name, sample, data) in enumerate(samples):
        height, width = sample.size
        images.append({"width": width, "height": height, "id": number, "file_name": name})
        for kind, (left, top, right, bottom) in _objects(sample, data):
            sides = [right - left, bottom - top]
            box: list[float] = [left, top, *sides]
            box = [int(number) for number in box] if whole and all(number == int(number) for number in box) else box
            row = {"id": len(annotations), "image_id": number, "category_id": classes[kind], "segmentation": []}
            annotations.append({**row, "bbox": box, "area": sides[0] * sides[1], "iscrowd": 0, **(extra or {})})
    categories = [{"id": place, "name": name, "supercategory": ""} for name, place in classes.items()]
    info = {"year": 2024, "version": "1.0", "description": "", "contributor": "", "url": "", "date_created": ""}
    return {
        "info": info,
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "images": images,
        "categories": categories,
        "annotations": annotations,
    }


def _numbers(parts: Parts, first: int) -> dict[str, int]:
    names = next(iter(parts.values())).classes
    return {name: place for place, name in enumerate(names, start=first)}


def coco(root: Path, parts: Parts) -> None:
    """COCO as its authors lay it out: annotations/instances_train2017.json, train2017/, val2017/."""
    for split, data in parts.items():
        rows = [(sample.path.name, sample, data) for sample in data]
        _write(root / f"annotations/instances_{split}2017.json", json.dumps(_coco(rows, _numbers(parts, 1))))
        for sample in data:
            _copy(sample, root / f"{split}2017" / sample.path.name)


# Label Studio knows no splits


def label_studio_coco(root: Path, parts: Parts) -> None:
    """Label Studio's "COCO with images": result.json, images with letters before their names, backslashes."""
    rows = []
    for _, sample, data in _rows(parts):
        name = f"{_digest(sample)[:8]}-{sample.path.name}"
        rows.append((f"images\\{name}", sample, data))
        _copy(sample, root / "images" / name)
    document = _coco(rows, _numbers(parts, 0), extra={"ignore": 0})
    _write(root / "result.json", json.dumps(document, indent=2))


def label_studio(root: Path, parts: Parts) -> None:
    """Label Studio's own JSON, with the images that were uploaded lying beside it under their own names."""
    tasks = []
    for number, (_, sample, data) in enumerate(_rows(parts), start=1):
        height, width = sample.size
        results = []
        for kind, (left, top, right, bottom) in _objects(sample, data):
            value = {"x": left / width * 100, "y": top / height * 100}
            value |= {"width": (right - left) / width * 100, "height": (bottom - top) / height * 100}
            results.append(
                {
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "value": {**value, "rotation": 0, "rectanglelabels": [kind]},
                    "id": f"{number}_{len(results)}",
                    "from_name": "label",
                    "to_name": "image",
                    "type": "rectanglelabels",
                    "origin": "manual",
                }
            )
        upload = f"{_digest(sample)[:8]}-{sample.path.name}"
        answer = {"id": number, "completed_by": 1, "result": results, "was_cancelled": False, "ground_truth": False}
        task = {"id": number, "annotations": [answer], "file_upload": upload, "drafts": [], "predictions": []}
        tasks.append({**task, "data": {"image": f"/data/upload/1/{upload}"}, "meta": {}, "inner_id": number})
        _copy(sample, root / "images" / sample.path.name)
    _write(root / "project-1-at-2024-05-01-10-00-0a1b2c3d.json", json.dumps(tasks))


# CVAT


def cvat_xml(root: Path, parts: Parts) -> None:
    """CVAT for images 1.1: annotations.xml, images/<subset>/."""
    images = []
    for number, (split, sample, data) in enumerate(_rows(parts)):
        height, width = sample.size
        boxes = "".join(
            f'    <box label={quoteattr(kind)} source="manual" occluded="0" xtl="{left:.2f}" ytl="{top:.2f}" '
            f'xbr="{right:.2f}" ybr="{bottom:.2f}" z_order="0">\n    </box>\n'
            for kind, (left, top, right, bottom) in _objects(sample, data)
        )
        head = f'id="{number}" name={quoteattr(sample.path.name)} subset="{split.title()}"'
        images.append(f'  <image {head} width="{width}" height="{height}">\n{boxes}  </image>\n')
        _copy(sample, root / "images" / split.title() / sample.path.name)
    labels = "".join(
        f"<label><name>{escape(name)}</name><color>#33ddff</color><type>any</type><attributes></attributes></label>\n"
        for name in _numbers(parts, 0)
    )
    meta = f"<meta><task><id>1</id><name>cells</name><labels>{labels}</labels></task><dumped>2024</dumped></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n{meta}\n{"".join(images)}'
    _write(root / "annotations.xml", f"{text}</annotations>\n")


def cvat_yolo(root: Path, parts: Parts) -> None:
    """CVAT's YOLO 1.1: obj.data, obj.names, obj_train_data/, train.txt; six decimals."""
    names = _numbers(parts, 0)
    _write(root / "obj.names", "".join(f"{name}\n" for name in names))
    usual = {"train": "train", "val": "valid"}
    lists = "".join(f"{usual[split]} = data/{usual[split]}.txt\n" for split in parts)
    _write(root / "obj.data", f"classes = {len(names)}\n{lists}names = data/obj.names\nbackup = backup/\n")
    for split, data in parts.items():
        folder = f"obj_{usual[split]}_data"
        _write(root / f"{usual[split]}.txt", "".join(f"data/{folder}/{each.path.name}\n" for each in data))
        for sample in data:
            _write(root / folder / f"{sample.path.stem}.txt", _yolo(sample, data, names, digits=6))
            _copy(sample, root / folder / sample.path.name)


def _yolo(sample: Sample, data: DetectionData, names: Mapping[str, int], *, digits: int) -> str:
    height, width = sample.size
    lines = []
    for kind, (left, top, right, bottom) in _objects(sample, data):
        numbers = (
            (left + right) / 2 / width,
            (top + bottom) / 2 / height,
            (right - left) / width,
            (bottom - top) / height,
        )
        lines.append(f"{names[kind]} " + " ".join(f"{number:.{digits}f}" for number in numbers))
    return "\n".join(lines)


def cvat_coco(root: Path, parts: Parts) -> None:
    """CVAT's COCO 1.0: annotations/instances_<subset>.json, images/<subset>/, attributes."""
    extra = {"attributes": {"occluded": False, "rotation": 0.0}}
    for split, data in parts.items():
        rows = [(sample.path.name, sample, data) for sample in data]
        _write(
            root / f"annotations/instances_{split.title()}.json",
            json.dumps(_coco(rows, _numbers(parts, 1), extra=extra)),
        )
        for sample in data:
            _copy(sample, root / "images" / split.title() / sample.path.name)


# Roboflow: train/, valid/, and test/ only where it holds images; readme files; letters behind the images' names


def _roboflow(root: Path, parts: Parts, below: str = "") -> Iterable[tuple[Path, list[Named]]]:
    _write(root / "README.dataset.txt", "# cells > 2024-05-01\nhttps://universe.roboflow.com\n\nLicense: CC BY 4.0\n")
    _write(root / "README.roboflow.txt", "cells - v1\n\nThe dataset includes images. Cells are annotated.\n")
    for split, data in parts.items():
        folder = root / {"val": "valid"}.get(split, split) / below
        rows = [(f"{each.path.stem}_jpg.rf.{_digest(each)}.jpg", each, data) for each in data]
        for name, sample, _ in rows:
            _copy(sample, folder / name)
        yield folder, rows


def roboflow_coco(root: Path, parts: Parts) -> None:
    """A file a split, whose first category groups all others."""
    for folder, rows in _roboflow(root, parts):
        document = _coco(rows, _numbers(parts, 1), whole=True)
        document["categories"] = [
            {"id": 0, "name": "cells", "supercategory": "none"},
            *({**each, "supercategory": "cells"} for each in document["categories"]),
        ]
        _write(folder / "_annotations.coco.json", json.dumps(document))


def roboflow_voc(root: Path, parts: Parts) -> None:
    """An XML file beside each image."""
    for folder, rows in _roboflow(root, parts):
        for name, sample, data in rows:
            objects = "".join(
                f"\t<object>\n\t\t<name>{escape(kind)}</name>\n\t\t<pose>Unspecified</pose>\n"
                "\t\t<truncated>0</truncated>\n\t\t<difficult>0</difficult>\n\t\t<occluded>0</occluded>\n"
                f"\t\t<bndbox>\n\t\t\t<xmin>{left + 1:.0f}</xmin>\n"
                f"\t\t\t<xmax>{right:.0f}</xmax>\n\t\t\t<ymin>{top + 1:.0f}</ymin>\n"
                f"\t\t\t<ymax>{bottom:.0f}</ymax>\n"
                "\t\t</bndbox>\n\t</object>\n"
                for kind, (left, top, right, bottom) in _objects(sample, data)
            )
            size = f"<width>{sample.size[1]}</width>\n\t\t<height>{sample.size[0]}</height>\n\t\t<depth>3</depth>"
            head = f"\t<folder></folder>\n\t<filename>{name}</filename>\n\t<path>{name}</path>\n\t<source>\n"
            head += f"\t\t<database>roboflow.com</database>\n\t</source>\n\t<size>\n\t\t{size}\n\t</size>\n"
            content = f"<annotation>\n{head}\t<segmented>0</segmented>\n{objects}</annotation>\n"
            _write(folder / f"{Path(name).stem}.xml", content)


def roboflow_yolo(root: Path, parts: Parts) -> None:
    """data.yaml with "../", a test split that was never made, and no line's end in the files of labels."""
    names = _numbers(parts, 0)
    for folder, rows in _roboflow(root, parts, "images"):
        for name, sample, data in rows:
            _write(folder.parent / "labels" / f"{Path(name).stem}.txt", _yolo(sample, data, names, digits=16))
    places = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
    _write(root / "data.yaml", f"{places}\nnc: {len(names)}\nnames: {list(names)}\n\nroboflow:\n  workspace: me\n")


def roboflow_createml(root: Path, parts: Parts) -> None:
    """A file a split, centres and sides."""
    for folder, rows in _roboflow(root, parts):
        document = [
            {
                "image": name,
                "annotations": [
                    {
                        "label": kind,
                        "coordinates": {
                            "x": (left + right) / 2,
                            "y": (top + bottom) / 2,
                            "width": right - left,
                            "height": bottom - top,
                        },
                    }
                    for kind, (left, top, right, bottom) in _objects(sample, data)
                ],
            }
            for name, sample, data in rows
        ]
        _write(folder / "_annotations.createml.json", json.dumps(document))


EXPORTS: Final[Mapping[str, Callable[[Path, Parts], None]]] = {
    "COCO": coco,
    "Label Studio's COCO": label_studio_coco,
    "Label Studio": label_studio,
    "CVAT's XML": cvat_xml,
    "CVAT's YOLO 1.1": cvat_yolo,
    "CVAT's COCO": cvat_coco,
    "Roboflow's COCO": roboflow_coco,
    "Roboflow's VOC": roboflow_voc,
    "Roboflow's YOLO": roboflow_yolo,
    "Roboflow's CreateML": roboflow_createml,
}
SPLITLESS: Final = ("Label Studio's COCO", "Label Studio")
