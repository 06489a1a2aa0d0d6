"""Images, parts and maps in a bucket of a server that speaks S3: read, written, gone on with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_predict_many import images  # noqa: F401
from typer.testing import CliRunner

from sppnet.cli.commands import app
from sppnet.storage import TensorCache, cache_key, files_below

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'sppnet[parquet]'")
s3fs = pytest.importorskip("s3fs", reason="needs s3fs: pip install s3fs")
moto = pytest.importorskip("moto.server", reason="needs moto: pip install 'moto[server]'")

pytestmark = pytest.mark.slow


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the storage of a server on this machine that has one bucket, ``photos``."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    told = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**told, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    storage = s3fs.S3FileSystem()
    storage.mkdir("photos")
    yield storage
    storage.rm("photos", recursive=True)  # the server forgets nothing within a process
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def _told(*command: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_what_is_in_a_bucket_is_answered_into_it_and_gone_on_with(
    bucket: Any,
    model: Path,
    images: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    for path in images.iterdir():
        bucket.pipe_file(f"photos/2026/{path.name}", path.read_bytes())
    command = ["predict", str(model), "s3://photos/2026", "--format", "parquet", "--cache", "s3://photos/maps"]
    told = _told(*command, "--out", "s3://photos/found")
    assert (told["images"], told["skipped"]) == (7, 1)
    here = ["predict", str(model), str(images), "--format", "parquet", "--cache", str(tmp_path / "maps")]
    _told(*here, "--out", str(tmp_path))
    (part,) = bucket.find("photos/found/detections.parquet")
    with bucket.open(part) as file:
        rows = parquet.read_table(file).to_pylist()
    for row in (expected := parquet.read_table(tmp_path / "detections.parquet").to_pylist()):
        row["image"] = f"s3://photos/2026/{Path(row['image']).name}"
    assert rows == expected
    assert len(bucket.find("photos/maps")) == len(TensorCache("s3://photos/maps")) == 6

    before = bucket.info(part)["LastModified"], bucket.cat_file(part)
    assert _told(*command, "--out", "s3://photos/found")["skipped"] == 0  # the part is there: no image is read
    assert (bucket.info(part)["LastModified"], bucket.cat_file(part)) == before

    versions = files_below("s3://photos/2026")
    bucket.pipe_file("photos/2026/3.png", (images / "2.png").read_bytes())
    changed = files_below("s3://photos/2026")
    assert [name for name in versions if versions[name] != changed[name]] == ["s3://photos/2026/3.png"]
    assert _told(*command, "--out", "s3://photos/found")["skipped"] == 0
    (other,) = bucket.find("photos/found/detections.parquet")  # the part of the images as they were is gone
    assert other != part


def test_a_broken_map_in_a_bucket_is_made_anew(bucket: Any) -> None:
    import torch

    cache, key = TensorCache("s3://photos/maps"), cache_key("an image")
    assert cache.get(key) is None
    cache.put(key, {"map": torch.arange(6.0)})
    stored = cache.get(key)
    assert stored is not None
    assert torch.equal(stored["map"], torch.arange(6.0))
    (place,) = bucket.find("photos/maps")
    bucket.pipe_file(place, bucket.cat_file(place)[:-1])
    assert (cache.get(key), cache.repaired, len(cache)) == (None, 1, 0)
    cache.put(key, {"map": torch.arange(6.0)})
    assert cache.size() == bucket.size(place) > 0
    cache.clear()
    assert bucket.find("photos/maps") == []
