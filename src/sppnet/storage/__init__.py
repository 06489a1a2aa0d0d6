"""What is on a disk or in object storage: whole files, model files, the cache of feature maps."""

from sppnet.storage.cache import TensorCache, default_cache_folder
from sppnet.storage.cells import safe_text, spreadsheet_safe
from sppnet.storage.files import POINTER, PointerError, check_room, make_folder, open_file, read_file, write_file
from sppnet.storage.places import cache_key, files_below, is_address, is_there, place_in, remove_file, run_folder
from sppnet.storage.tensors import check_model, read_tensors, write_tensors

__all__ = [
    "POINTER",
    "PointerError",
    "TensorCache",
    "cache_key",
    "check_model",
    "check_room",
    "default_cache_folder",
    "files_below",
    "is_address",
    "is_there",
    "make_folder",
    "open_file",
    "place_in",
    "read_file",
    "read_tensors",
    "remove_file",
    "run_folder",
    "safe_text",
    "spreadsheet_safe",
    "write_file",
    "write_tensors",
]
