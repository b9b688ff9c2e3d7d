"""Weights on disk, read as if a stranger had written them."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from planararm import InvalidInputError, WeightsError
from planararm.policies import pretrained
from planararm.policies.pretrained import (
    CONFIG,
    TENSORS,
    check_tensors,
    list_pretrained,
    load_pretrained,
    read_config,
    save_pretrained,
)

WEIGHTS = {"a.weight": np.arange(6.0).reshape(2, 3), "a.bias": np.array([0.5], dtype=np.float32)}
CONFIGURATION = {"policy": "toy", "note": "x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pretrained(tmp_path / "weights", WEIGHTS, CONFIGURATION)


def rewrite_config(folder: Path, **changes) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config.update(changes)
    (folder / CONFIG).write_text(json.dumps(config))


def rewrite_tensors(folder: Path, data: bytes, fix_checksum: bool = True) -> None:
    import hashlib

    (folder / TENSORS).write_bytes(data)
    if fix_checksum:
        rewrite_config(folder, sha256=hashlib.sha256(data).hexdigest())


def raw(header: dict | bytes, body: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


class TestRoundTrip:
    def test_what_is_saved_is_loaded(self, folder: Path):
        tensors, config = load_pretrained(folder, policy="toy")
        assert set(tensors) == set(WEIGHTS)
        for name, value in WEIGHTS.items():
            np.testing.assert_array_equal(tensors[name], value)
            assert tensors[name].dtype == value.dtype
        assert config["note"] == "x"
        assert sorted(path.name for path in folder.iterdir()) == [CONFIG, TENSORS]

    def test_bundled_weights_load_by_name(self):
        assert "numpy-mlp" in list_pretrained()
        for name in list_pretrained():
            tensors, config = load_pretrained(name, policy=read_config(name)["policy"])
            assert tensors
            assert "planararm train" in config["training"]["command"]

    @pytest.mark.parametrize("broken", ["replace", "fsync"])
    def test_a_failure_leaves_the_old_files(self, folder: Path, monkeypatch: pytest.MonkeyPatch, broken: str):
        def fail(*_: object) -> None:
            raise OSError("no space left on device")

        monkeypatch.setattr(os, broken, fail)
        with pytest.raises(WeightsError, match="no space left"):
            save_pretrained(folder, {"b": np.zeros(3)}, CONFIGURATION)
        monkeypatch.undo()
        assert set(load_pretrained(folder, policy="toy")[0]) == set(WEIGHTS)
        assert sorted(path.name for path in folder.iterdir()) == [CONFIG, TENSORS]

    @pytest.mark.parametrize(
        ("tensors", "config", "match"),
        [
            ({}, CONFIGURATION, "at least one tensor"),
            (WEIGHTS, {}, "'policy'"),
            (WEIGHTS, {"policy": "toy", "x": float("nan")}, "must be JSON"),
            (WEIGHTS, {"policy": "toy", "x": object()}, "must be JSON"),
            (WEIGHTS, {"policy": "toy", "x": "x" * 2**20}, r"config would take 1,048,.* at most 1,048,576"),
            ({1: np.ones(2)}, CONFIGURATION, "cannot be written as safetensors"),
            ({"a": np.ones(2, dtype=np.longdouble)}, CONFIGURATION, "cannot be written as safetensors"),
            ({"__metadata__": np.ones(2)}, CONFIGURATION, "No tensor can be named '__metadata__'"),
        ],
    )
    def test_what_cannot_be_saved(self, tmp_path: Path, tensors, config, match: str):
        with pytest.raises(InvalidInputError, match=match):
            save_pretrained(tmp_path / "w", tensors, config)

    def test_what_would_not_be_read_is_not_saved(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(pretrained, "MAX_TENSOR_BYTES", 100)
        with pytest.raises(InvalidInputError, match=r"tensors would take .* at most 100 are read"):
            save_pretrained(tmp_path / "w", WEIGHTS, CONFIGURATION)
        assert not (tmp_path / "w").exists()

    @pytest.mark.parametrize("value", [np.array(2.0), np.zeros((0, 3)), np.arange(6.0).reshape(2, 3).T, [1.5, 2.5]])
    def test_every_shape_and_layout_stays(self, tmp_path: Path, value):
        tensors, _ = load_pretrained(save_pretrained(tmp_path, {"a": value}, CONFIGURATION), policy="toy")
        assert tensors["a"].shape == np.shape(value)
        np.testing.assert_array_equal(tensors["a"], value)

    def test_leftovers_of_a_killed_process_are_removed(self, folder: Path):
        (folder / f".{TENSORS}.abcdefgh").write_bytes(b"half")
        pretrained.remove_leftovers(folder / TENSORS)
        assert sorted(path.name for path in folder.iterdir()) == [CONFIG, TENSORS]

    def test_nan_is_not_saved(self, tmp_path: Path):
        with pytest.raises(WeightsError, match="'w' of tensors holds NaN"):
            save_pretrained(tmp_path / "w", {"w": np.array([np.nan])}, CONFIGURATION)


class TestFolders:
    def test_unknown_name_suggests(self):
        with pytest.raises(WeightsError, match="Did you mean 'numpy-mlp'"):
            load_pretrained("numpy-mpl", policy="numpy-mlp")

    @pytest.mark.parametrize("name", ["", 3, None])
    def test_no_name(self, name):
        with pytest.raises(WeightsError, match="a bundled name or a folder"):
            load_pretrained(name, policy="toy")

    def test_a_file(self, folder: Path):
        with pytest.raises(WeightsError, match="is a file"):
            load_pretrained(folder / CONFIG, policy="toy")

    @pytest.mark.parametrize("name", [CONFIG, TENSORS])
    def test_a_missing_file(self, folder: Path, name: str):
        (folder / name).unlink()
        with pytest.raises(WeightsError, match="is missing"):
            load_pretrained(folder, policy="toy")

    def test_a_symlink_loop(self, tmp_path: Path):
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        with pytest.raises(WeightsError, match=r"No weights|cannot be looked at"):
            load_pretrained(tmp_path / "loop", policy="toy")

    def test_null_byte(self):
        with pytest.raises(WeightsError, match=r"No weights|cannot be looked at"):
            load_pretrained("a\0b", policy="toy")


class TestTensors:
    def test_foreign_files_are_named_and_not_opened(self, folder: Path, tmp_path: Path):
        planted = tmp_path / "planted"

        class Bomb:
            def __reduce__(self):
                return (Path.touch, (planted,))

        (folder / TENSORS).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(WeightsError, match="is a pickle, not safetensors; it was not opened"):
            load_pretrained(folder, policy="toy")
        with zipfile.ZipFile(folder / TENSORS, "w") as archive:
            archive.writestr("data.pkl", pickle.dumps(Bomb()))
        with pytest.raises(WeightsError, match="zip archive"):
            load_pretrained(folder, policy="toy")
        assert not planted.exists()

    @pytest.mark.parametrize(
        ("data", "what"),
        [
            (pickle.dumps([1.0] * 9), "a pickle"),
            (pickle.dumps([1.0] * 9, protocol=2), "a pickle"),
            (b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}", "a file of numpy.save"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a pointer of Git LFS"),
        ],
    )
    def test_foreign_files_are_named_whatever_the_checksum(self, folder: Path, data: bytes, what: str):
        for fix_checksum in (False, True):
            rewrite_tensors(folder, data, fix_checksum)
            with pytest.raises(WeightsError, match=f"is {what}.*, not safetensors; it was not opened"):
                load_pretrained(folder, policy="toy")

    def test_a_header_whose_length_begins_like_a_pickle(self, folder: Path):
        header = json.dumps({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}).encode()
        data = raw(header.ljust(128), bytes(16))
        assert data[:1] == pickle.dumps(0)[:1]
        rewrite_tensors(folder, data, fix_checksum=False)
        with pytest.raises(WeightsError, match="does not belong to the config"):
            load_pretrained(folder, policy="toy")
        rewrite_tensors(folder, data)
        np.testing.assert_array_equal(load_pretrained(folder, policy="toy")[0]["a"], np.zeros(2))

    def test_a_type_that_numpy_does_not_have(self, folder: Path):
        rewrite_tensors(folder, raw({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)))
        with pytest.raises(WeightsError, match="type BF16, which NumPy does not have; save them as float32"):
            load_pretrained(folder, policy="toy")

    def test_a_name_twice_in_the_header(self, folder: Path):
        entry = b'"a":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}'
        rewrite_tensors(folder, raw(b"{" + entry + b"," + entry + b"}", bytes(16)))
        with pytest.raises(WeightsError, match="is damaged: the name 'a' is there 2 times"):
            load_pretrained(folder, policy="toy")

    @pytest.mark.parametrize("size", [0, 4, 8, 40, -1])
    def test_truncated(self, folder: Path, size: int):
        data = (folder / TENSORS).read_bytes()
        rewrite_tensors(folder, data[:size])
        with pytest.raises(WeightsError, match=r"cut short|damaged"):
            load_pretrained(folder, policy="toy")

    def test_another_file_of_the_same_kind(self, folder: Path, tmp_path: Path):
        other = save_pretrained(tmp_path / "other", {"a.weight": np.ones((2, 3))}, CONFIGURATION)
        (folder / TENSORS).write_bytes((other / TENSORS).read_bytes())
        with pytest.raises(WeightsError, match="does not belong to the config"):
            load_pretrained(folder, policy="toy")

    @pytest.mark.parametrize(
        "data",
        [
            raw(b"{}", length=2**40),
            raw(b"{}", length=2**63),
            raw({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 4096]}}, bytes(16)),
            raw({"a": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 16]}}, bytes(16)),
            raw(
                {
                    "a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]},
                    "b": {"dtype": "F64", "shape": [2], "data_offsets": [8, 24]},
                },
                bytes(24),
            ),
            raw({"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 16]}}, bytes(16)),
            raw({"a": {"dtype": "F64", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
            raw({"a": {"dtype": "F64", "shape": [1] * 1000, "data_offsets": [0, 8]}}, bytes(8)),
            raw({"a": {"dtype": "C64", "shape": [2], "data_offsets": [0, 16]}}, bytes(16)),
            raw({"a": {"dtype": "F64", "shape": [2], "data_offsets": [16, 32]}}, bytes(32)),
            raw({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}, bytes(24)),
            raw({"a": {"dtype": "object", "shape": [2], "data_offsets": [0, 16]}}, bytes(16)),
            raw({"a": 3}, bytes(16)),
            raw(b"[1, 2]", bytes(16)),
            raw(b"not json", bytes(16)),
            raw(b"[" * 50_000, bytes(16)),
            raw({}, b""),
            b"\x89HDF\r\n\x1a\n" + bytes(50),
            np.random.default_rng(0).bytes(64),
        ],
    )
    def test_hostile_headers(self, folder: Path, data: bytes):
        rewrite_tensors(folder, data)
        with pytest.raises(WeightsError):
            load_pretrained(folder, policy="toy")

    def test_nan(self, folder: Path):
        body = struct.pack("<2d", 1.0, float("nan"))
        rewrite_tensors(folder, raw({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}, body))
        with pytest.raises(WeightsError, match=r"'a' of .* holds NaN or infinity"):
            load_pretrained(folder, policy="toy")

    def test_too_large(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(pretrained, "MAX_TENSOR_BYTES", 100)
        with pytest.raises(WeightsError, match="at most 100 are read"):
            load_pretrained(folder, policy="toy")

    @pytest.mark.parametrize(
        ("shapes", "match"),
        [
            ({"a.weight": (2, 3)}, r"unknown \['a.bias'\]"),
            ({"a.weight": (2, 3), "a.bias": (1,), "c": (1,)}, r"missing \['c'\]"),
            ({"a.weight": (3, 2), "a.bias": (1,)}, r"must have shape \(3, 2\), got \(2, 3\)"),
        ],
    )
    def test_shapes(self, shapes, match: str):
        with pytest.raises(WeightsError, match=match):
            check_tensors(WEIGHTS, shapes)


class TestConfig:
    @pytest.mark.parametrize(
        ("text", "match"),
        [
            ("", "is not JSON"),
            ("{", "is not JSON"),
            ("[1]", "must hold a JSON object, got list"),
            ('{"format": NaN}', "NaN is no JSON number"),
            ('{"format": 1, "x": -Infinity}', "-Infinity is no JSON number"),
            ('{"format": 1, "x": 1e999}', "1e999 is too large a number"),
            ('{"format": 1, "policy": "toy", "policy": "x"}', "the name 'policy' is there 2 times"),
            ('{"format": true}', "as a whole number, got True"),
            ('{"format": 0}', "as a whole number, got 0"),
            ('{"policy": "toy"}', "as a whole number, got None"),
            ('{"format": 99}', "has format 99"),
            ("[" * 100_000, "is not JSON"),
        ],
    )
    def test_malformed(self, folder: Path, text: str, match: str):
        (folder / CONFIG).write_text(text)
        with pytest.raises(WeightsError, match=match):
            load_pretrained(folder, policy="toy")

    def test_not_utf8(self, folder: Path):
        (folder / CONFIG).write_bytes(b"\xff\xfe{}")
        with pytest.raises(WeightsError, match="is not JSON"):
            load_pretrained(folder, policy="toy")

    def test_too_large(self, folder: Path):
        (folder / CONFIG).write_text(" " * (pretrained.MAX_CONFIG_BYTES + 1))
        with pytest.raises(WeightsError, match="are read"):
            load_pretrained(folder, policy="toy")

    def test_of_another_policy(self, folder: Path):
        with pytest.raises(WeightsError, match="holds weights of 'toy', not of 'torch-mlp'"):
            load_pretrained(folder, policy="torch-mlp")
