"""Storage under everything that can happen to a file: any changed bit, a kill, a full disk, a second process."""

import errno
import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor

from sppnet.errors import ArgumentError, CorruptFileError, DataError
from sppnet.storage import TensorCache, cache_key, default_cache_folder, read_tensors, write_tensors

DTYPES = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int64,
    torch.int32,
    torch.int8,
    torch.uint8,
    torch.bool,
]
METADATA = {"classes": ["cat", "köttur"], "levels": [3, 2, 1], "seed": None, "inner": {"b": 0.1, "a": True}}


def example() -> dict[str, Tensor]:
    return {
        "weights": torch.arange(40.0).reshape(5, 8),
        "bias": torch.tensor([1.5, float("nan"), float("inf")], dtype=torch.float16),
        "size": torch.tensor(7),
        "none": torch.zeros(0, 4),
        "flags": torch.tensor([True, False, True]),
    }


def bits(tensor: Tensor) -> bytes:
    return tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(actual[name]) == bits(tensor.contiguous())


# Round trips

tensors = st.builds(
    lambda dtype, shape, seed: torch.randint(0, 2, shape, generator=torch.manual_seed(seed)).to(dtype),
    st.sampled_from(DTYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 9),
)
names = st.text(st.characters(codec="utf-8"), max_size=8).filter(lambda name: name != "__metadata__")
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.dictionaries(names, tensors, max_size=4), st.dictionaries(st.text(), json_values, max_size=3))
@pytest.mark.slow
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Tensor], metadata: dict[str, Any]):
    path = tmp_path_factory.getbasetemp() / "round-trip.safetensors"
    write_tensors(path, content, metadata=metadata)
    restored, restored_metadata = read_tensors(path)
    assert_same(restored, content)
    assert restored_metadata == metadata


def test_what_is_read_can_be_written_to_and_shares_nothing(tmp_path: Path):
    write_tensors(tmp_path / "a", example(), metadata={})
    first, second = read_tensors(tmp_path / "a")[0], read_tensors(tmp_path / "a")[0]
    first["weights"].zero_()
    assert_same(second, example())


def test_any_strides_shared_memory_and_gradients_are_written_as_they_look(tmp_path: Path):
    base = torch.randn(3, 4, 5)
    content = {
        "turned": base.permute(2, 0, 1),
        "part": base[1:, ::2],
        "all": base,
        "learnt": base.clone().requires_grad_(),
    }
    write_tensors(tmp_path / "a", content, metadata={})
    assert_same(read_tensors(tmp_path / "a")[0], {name: tensor.detach() for name, tensor in content.items()})


def test_the_same_content_gives_the_same_bytes(tmp_path: Path):
    content = example()
    write_tensors(tmp_path / "a", content, metadata=METADATA)
    turned = dict(reversed(METADATA.items())) | {"inner": {"a": True, "b": 0.1}}
    write_tensors(tmp_path / "b", dict(reversed(content.items())), metadata=turned)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_other_programs_read_the_file(tmp_path: Path):
    write_tensors(tmp_path / "a", example(), metadata=METADATA)
    assert_same(safetensors.torch.load_file(tmp_path / "a"), example())
    with safe_open(tmp_path / "a", framework="pt") as file:
        told = json.loads(file.metadata()["sppnet"])
    content = (tmp_path / "a").read_bytes()
    assert told["metadata"] == METADATA
    blank = content.replace(told["checksum"].encode(), b"0" * 64)
    assert told["checksum"] == hashlib.sha256(blank).hexdigest()


def test_writing_makes_the_folder_replaces_the_file_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "new" / "deep" / "model.safetensors"
    write_tensors(path, {"a": torch.zeros(3)}, metadata={})
    write_tensors(path, {"a": torch.ones(3)}, metadata={})
    assert read_tensors(path)[0]["a"].tolist() == [1, 1, 1]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    path = tmp_path / "model.safetensors"
    write_tensors(path, example(), metadata={"version": 1})

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(path, {}, metadata={"version": 2})
    assert read_tensors(path)[1] == {"version": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_file_then_folder_are_brought_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(stat.S_ISDIR(os.fstat(file).st_mode)), sync(file)))
    write_tensors(tmp_path / "a", {}, metadata={})
    assert synced == [False, True]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, {("a", "b"): 1}, b"bytes"])
def test_metadata_must_be_json(tmp_path: Path, value: Any):
    with pytest.raises(ArgumentError, match=r"^write_tensors: metadata must be JSON, got .*\. Store numbers, texts"):
        write_tensors(tmp_path / "a", {}, metadata={"value": value})
    assert list(tmp_path.iterdir()) == []


def test_a_header_that_could_not_be_read_again_is_not_written(tmp_path: Path):
    expected = r"write_tensors: tensors must be names and metadata of at most 16777216 bytes, got \d+\. Store less"
    with pytest.raises(ArgumentError, match=expected):
        write_tensors(tmp_path / "a", {}, metadata={"long": "x" * (16 << 20)})


def test_the_name_of_the_metadata_is_reserved(tmp_path: Path):
    expected = r"tensors must be named other than __metadata__, got \['__metadata__'\]\. Choose another name\."
    with pytest.raises(ArgumentError, match=expected):
        write_tensors(tmp_path / "a", {"__metadata__": torch.zeros(1)}, metadata={})


# Damage


def mutants(content: bytes, count: int) -> Iterator[bytes]:
    """Damage content in every way that disks, copies and editors do."""
    random = np.random.default_rng(0)
    for number in range(count):
        changed = bytearray(content)
        place = int(random.integers(len(content)))
        length = int(random.integers(1, 9))
        match number % 8:
            case 0:
                changed[place] ^= 1 << int(random.integers(8))
            case 1:
                changed[place] = int(random.integers(256))
            case 2:
                changed[place : place + length] = random.bytes(length)
            case 3:
                del changed[place:]
            case 4:
                del changed[place : place + length]
            case 5:
                changed[place:place] = random.bytes(length)
            case 6:
                changed += random.bytes(length) if number % 16 == 6 else bytes(length)
            case 7:
                other = int(random.integers(len(content)))
                changed[place : place + length] = content[other : other + length]
        yield bytes(changed)


@pytest.mark.slow
def test_no_damage_goes_unseen(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, example(), metadata=METADATA)
    content = path.read_bytes()
    damaged = [mutant for mutant in mutants(content, 6000) if mutant != content]
    assert len(damaged) > 5500
    for mutant in damaged:
        path.write_bytes(mutant)
        with pytest.raises(CorruptFileError):
            read_tensors(path)


def test_every_single_bit_counts(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, {"a": torch.tensor([1, 2], dtype=torch.int8)}, metadata={"b": 1})
    content = path.read_bytes()
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(CorruptFileError):
            read_tensors(path)


def sealed(header: bytes, data: bytes = b"") -> bytes:
    """Make a file with a right checksum around any header: what no accident makes."""
    start = rb'{"__metadata__":{"sppnet":"{\"checksum\":\"'
    blank = b"".join([len(start + b"0" * 64 + header).to_bytes(8, "little"), start, b"0" * 64, header, data])
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


def test_a_well_sealed_file_is_read(tmp_path: Path):
    (tmp_path / "a").write_bytes(sealed(rb'\",\"metadata\":{}}"}}'))
    assert read_tensors(tmp_path / "a") == ({}, {})


@pytest.mark.parametrize(
    "header",
    [
        b"",
        rb'\"}"}}',
        rb'\",\"metadata\":{}}"}',
        rb"\",\"metadata\":" + b"[" * 10_000 + b'"}}',
        rb'\",\"metadata\":{}}"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        rb'\",\"metadata\":{}}"},"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
        rb'\",\"metadata\":{}}"},"a":{"dtype":"Z9","shape":[0],"data_offsets":[0,0]}}',
        rb'\",\"metadata\":{}}"},"__metadata__":[]}',
    ],
)
def test_a_sealed_file_of_nonsense_is_refused(tmp_path: Path, header: bytes):
    (tmp_path / "a").write_bytes(sealed(header))
    with pytest.raises(CorruptFileError):
        read_tensors(tmp_path / "a")


def test_damage_is_told_with_path_reason_and_advice(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    write_tensors(path, example(), metadata={})
    content, advice = path.read_bytes(), r"\. Train it again or restore a copy\.$"
    for changed, reason in (
        (content + b"\0", "its bytes do not fit its checksum"),
        (b"\xff" * 7 + content[7:], "its header claims 72057594037927935 bytes"),
    ):
        path.write_bytes(changed)
        with pytest.raises(CorruptFileError, match=f"^{re.escape(str(path))}: the file is damaged: {reason}{advice}"):
            read_tensors(path)


def test_a_file_of_another_program_is_called_so_and_not_damaged(tmp_path: Path):
    path = tmp_path / "LICENSE"
    for content, reason in (
        (b"", "it is empty"),
        (b"MIT License", "it does not begin as one"),
        (safetensors.torch.save(example()), "it does not begin as one"),
    ):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"is no file of sppnet: {reason}. Give one that sppnet wrote"):
            read_tensors(path)


def test_a_pickle_is_refused_unread(tmp_path: Path):
    torch.save(example(), tmp_path / "model.pt")
    with pytest.raises(CorruptFileError, match="is no file of sppnet: it does not begin as one"):
        read_tensors(tmp_path / "model.pt")


def test_a_missing_file_or_a_folder_is_told(tmp_path: Path):
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: {reason}. Give a file that sppnet wrote.$"):
            read_tensors(path)


# Kills and company

WRITER = """
import sys
from pathlib import Path
import torch
from sppnet.storage import write_tensors
path = Path(sys.argv[1])
for version in range(10**9):
    write_tensors(path, {"a": torch.full((100_000 + version % 3,), version)}, metadata={"version": version})
    if version == 0:
        print("ready", flush=True)
"""


@pytest.mark.slow
def test_a_kill_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    random = np.random.default_rng(0)
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            end = time.monotonic() + random.uniform(0.05, 0.3)
            while time.monotonic() < end:
                assert_whole(path)
            writer.send_signal(signal.SIGKILL)
        assert_whole(path)


def assert_whole(path: Path) -> None:
    content, metadata = read_tensors(path)
    version = metadata["version"]
    assert torch.equal(content["a"], torch.full((100_000 + version % 3,), version))


SHARER = """
import sys, warnings
import torch
from sppnet.storage import TensorCache, cache_key
warnings.simplefilter("error")
cache = TensorCache(sys.argv[1])
for turn in range(20):
    for number in range(12):
        entry = cache.get(cache_key(number))
        assert entry is None or torch.equal(entry["a"], torch.full((20_000,), number)), number
        cache.put(cache_key(number), {"a": torch.full((20_000,), number)})
    if turn == int(sys.argv[2]):
        cache.clear()
assert cache.repaired == 0
"""


@pytest.mark.slow
def test_processes_share_a_cache(tmp_path: Path):
    sharers = [subprocess.Popen([sys.executable, "-c", SHARER, str(tmp_path), turn]) for turn in ("5", "10", "99")]
    assert [sharer.wait(timeout=120) for sharer in sharers] == [0, 0, 0]
    assert len(TensorCache(tmp_path)) == 12


# The cache

KEY, OTHER = cache_key("an image"), cache_key("another")


def test_cache_keeps_tensors(tmp_path: Path):
    cache = TensorCache(str(tmp_path / "cache"))
    assert cache.get(KEY) is None
    cache.put(KEY, example())
    entry = cache.get(KEY)
    assert entry is not None
    assert_same(entry, example())
    assert (len(cache), cache.repaired) == (1, 0)


def test_cache_replaces_and_spreads_entries(tmp_path: Path):
    cache = TensorCache(tmp_path)
    cache.put(KEY, {"a": torch.zeros(1)})
    cache.put(KEY, {"a": torch.ones(2)})
    entry = cache.get(KEY)
    assert entry is not None
    assert entry["a"].tolist() == [1, 1]
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")] == [Path(KEY[:2], f"{KEY}.safetensors")]


def entry_path(cache: TensorCache, key: str) -> Path:
    return cache.folder / key[:2] / f"{key}.safetensors"


def test_a_broken_entry_is_missing_counted_and_replaced(tmp_path: Path):
    cache = TensorCache(tmp_path)
    cache.put(KEY, example())
    path = entry_path(cache, KEY)
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.get(KEY) is None
    assert (cache.repaired, path.exists(), len(cache)) == (1, False, 0)
    cache.put(KEY, example())
    assert cache.get(KEY) is not None
    assert cache.repaired == 1


def test_another_keys_entry_is_broken(tmp_path: Path):
    cache = TensorCache(tmp_path)
    cache.put(KEY, example())
    cache.put(OTHER, {})
    entry_path(cache, OTHER).replace(entry_path(cache, KEY))
    assert cache.get(KEY) is None
    assert cache.repaired == 1


def test_a_broken_entry_that_cannot_be_removed_is_missing_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = TensorCache(tmp_path)
    cache.put(KEY, example())
    entry_path(cache, KEY).write_bytes(b"")

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    assert cache.get(KEY) is None


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_told_once_and_the_cache_still_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cache = TensorCache(tmp_path)
    cache.put(KEY, example())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        told = f"^{re.escape(str(tmp_path))}: No space left on device. Nothing more is cached. Free some space, or name"
        with pytest.warns(RuntimeWarning, match=told) as warned:
            cache.put(OTHER, example())
        assert Path(warned[0].filename) == Path(__file__)
    cache.put(OTHER, example())
    assert cache.get(OTHER) is None
    assert cache.get(KEY) is not None
    assert len(cache) == 1
    cache.clear()
    cache.put(OTHER, example())
    assert cache.get(OTHER) is not None


def test_a_file_in_the_folders_place_stops_nothing(tmp_path: Path):
    (tmp_path / "cache").write_text("not a folder")
    cache = TensorCache(tmp_path / "cache")
    assert cache.get(KEY) is None
    with pytest.warns(RuntimeWarning, match="Nothing more is cached"):
        cache.put(KEY, example())
    assert (len(cache), cache.size()) == (0, 0)


def test_size_and_clear(tmp_path: Path):
    cache = TensorCache(tmp_path)
    assert (len(cache), cache.size()) == (0, 0)
    cache.put(KEY, example())
    cache.put(OTHER, {"a": torch.zeros(1000)})
    left = tmp_path / KEY[:2] / ".sppnet-123-0123456789abcdef.tmp"
    left.write_bytes(bytes(10))
    notes = tmp_path / "notes.txt"
    notes.write_text("mine")
    entries = [entry_path(cache, key) for key in (KEY, OTHER)]
    assert len(cache) == 2
    assert cache.size() == sum(path.stat().st_size for path in [*entries, left])
    cache.clear()
    assert (len(cache), cache.size(), cache.get(KEY)) == (0, 0, None)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [notes]


@pytest.mark.parametrize("key", ["", "../../etc/passwd", KEY.upper(), KEY + "\n", KEY[:-1]])
def test_a_key_that_cache_key_did_not_make_is_refused(tmp_path: Path, key: str):
    expected = f"^TensorCache: key must be 64 hexadecimal digits, got {re.escape(repr(key))}. Make it with cache_key.$"
    for call in (TensorCache(tmp_path).get, lambda key: TensorCache(tmp_path).put(key, {})):
        with pytest.raises(ArgumentError, match=expected):
            call(key)


def test_making_a_cache_writes_nothing(tmp_path: Path):
    cache = TensorCache(tmp_path / "cache")
    assert (len(cache), cache.get(KEY)) == (0, None)
    assert list(tmp_path.iterdir()) == []


parts = st.lists(st.text() | st.integers() | st.binary(), max_size=4)


@given(parts, parts)
def test_keys_stand_for_their_parts(first: list[Any], second: list[Any]):
    same = [*map(repr, first)] == [*map(repr, second)]
    assert (cache_key(*first) == cache_key(*second)) == same


def test_keys_that_look_alike_differ():
    alike = [("a", "bc"), ("ab", "c"), ("abc",), (1,), ("1",), (b"1",), (1, 1), (11,), (), ("",), (True,), ("\udcff",)]
    keys = {cache_key(*parts) for parts in alike}
    assert len(keys) == len(alike)
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in keys)


def test_keys_stay_the_same_between_versions():
    assert cache_key("a", 1, b"b") == "a3cc7c69626b10f443f963ce9c76af5bfc7150cb0498c45010884ef8a833b612"


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "home/.cache/sppnet"),
        ("linux", {"XDG_CACHE_HOME": ""}, "home/.cache/sppnet"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/sppnet"),
        ("linux", {"XDG_CACHE_HOME": "{root}/xdg"}, "xdg/sppnet"),
        ("darwin", {}, "home/Library/Caches/sppnet"),
        ("win32", {"LOCALAPPDATA": "{root}/local"}, "local/sppnet"),
        ("win32", {}, "home/AppData/Local/sppnet"),
    ],
)
def test_default_cache_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    platform: str,
    environment: dict[str, str],
    expected: str,
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(root=tmp_path))
    assert default_cache_folder() == tmp_path / expected
    assert list(tmp_path.iterdir()) == []
