"""Where weights are looked for, in which order, and what is said when there are none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lile.errors import InputError
from lile.features.weights import random_digest, resolve_weights, weight_files, weights_available, weights_digest


def hub_folder(folder: Path, content: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(content)
    return folder


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A working folder with an empty cache and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path


def test_a_folder_is_itself(nowhere):
    folder = hub_folder(nowhere / "mine")
    assert resolve_weights(str(folder)) == folder
    assert weights_available(str(folder)) == (True, f"weights in {folder}")


@pytest.mark.parametrize("name", ["allenai--biomed_roberta_base", "biomed_roberta_base"])
def test_a_hub_id_is_looked_for_in_resources_first(nowhere, name):
    folder = hub_folder(nowhere / "resources" / "encoders" / name)
    assert resolve_weights("allenai/biomed_roberta_base").resolve() == folder


def test_the_full_name_wins(nowhere):
    encoders = nowhere / "resources" / "encoders"
    hub_folder(encoders / "roberta")
    full = hub_folder(encoders / "me--roberta")
    assert resolve_weights("me/roberta").resolve() == full


def test_the_local_cache_is_found_without_a_network(nowhere):
    snapshot = nowhere / "cache" / "models--me--roberta" / "snapshots" / "abc"
    hub_folder(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    assert resolve_weights("me/roberta") == snapshot


def test_a_package(nowhere, monkeypatch):
    package = nowhere / "site" / "some_weights"
    hub_folder(package / "model")
    (package / "__init__.py").write_text("raise ImportError('looking for it must not run it')")
    monkeypatch.syspath_prepend(str(nowhere / "site"))
    assert resolve_weights("package:some_weights/model") == package / "model"
    with pytest.raises(InputError, match=r"config\.json and weights missing"):
        resolve_weights("package:some_weights")
    with pytest.raises(InputError, match="'no_such_package' is not installed"):
        resolve_weights("package:no_such_package/model")


@pytest.mark.parametrize(
    ("gone", "words"), [("config.json", "config.json missing"), ("model.safetensors", "weights missing")]
)
def test_an_incomplete_folder_is_never_passed_over(nowhere, gone, words):
    folder = hub_folder(nowhere / "resources" / "encoders" / "me--roberta")
    (folder / gone).unlink()
    with pytest.raises(InputError, match=words):
        resolve_weights("me/roberta")
    assert weights_available("me/roberta")[0] is False


def test_offline_says_in_one_line_what_to_fetch_and_where_to_put_it(nowhere):
    with pytest.raises(InputError) as caught:
        resolve_weights("allenai/biomed_roberta_base")
    message = str(caught.value)
    assert "\n" not in message
    weights = "model.safetensors (or pytorch_model.bin)"
    for word in ("config.json", weights, "tokenizer files", "repository allenai/biomed_roberta_base"):
        assert word in message
    assert message.endswith("into resources/encoders/allenai--biomed_roberta_base/")
    assert "HF_HUB_OFFLINE is set" in message
    assert weights_available("allenai/biomed_roberta_base") == (False, message)


def test_offline_by_environment(tmp_path):
    """The way a person sets it: in the environment, before Python starts."""
    code = "from lile.features.weights import weights_available; print(weights_available('me/roberta')[1])"
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert "resources/encoders/me--roberta/" in done.stdout


@pytest.mark.parametrize("spec", ["no/such/folder", "./none", "/none", "../none", "~/none"])
def test_what_can_only_be_a_folder_is_not_looked_for_on_the_hub(nowhere, spec):
    with pytest.raises(InputError, match="no such folder of weights"):
        resolve_weights(spec)


class FakeHub:
    """Stands in for the hub: a repository's file list, and downloads that are written down."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names, self.asked = folder, names, []

    def model_info(self, repo: str, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in self.names], gated=False)

    def snapshot_download(self, repo: str, allow_patterns=None, local_files_only=False) -> str:
        if local_files_only:
            raise FileNotFoundError(repo)
        self.asked = allow_patterns
        self.folder.mkdir()
        for name in allow_patterns:
            (self.folder / name).write_text("{}")
        return str(self.folder)


@pytest.mark.parametrize(
    ("published", "fetched"),
    [
        (["model.safetensors", "pytorch_model.bin", "tf_model.h5", "vocab.txt"], ["model.safetensors", "vocab.txt"]),
        (["pytorch_model.bin", "flax_model.msgpack", "merges.txt", "README.md"], ["pytorch_model.bin", "merges.txt"]),
        (
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors", "model.safetensors.index.json", "onnx/model.onnx"],
            ["model-1-of-2.safetensors", "model-2-of-2.safetensors", "model.safetensors.index.json"],
        ),
    ],
)
def test_only_the_needed_files_are_fetched(nowhere, monkeypatch, published, fetched):
    hub = FakeHub(nowhere / "snapshot", ["config.json", *published])
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    assert weights_available("me/roberta")[0]
    assert hub.asked == []  # saying that it can be had fetches nothing
    assert resolve_weights("me/roberta") == hub.folder
    assert hub.asked == ["config.json", *fetched]


def test_a_repository_without_weights(nowhere, monkeypatch):
    hub = FakeHub(nowhere / "snapshot", ["README.md", "data.csv"])
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    with pytest.raises(InputError, match=r"no config\.json and no weights"):
        resolve_weights("me/dataset")


def refused(kind: str, status: int) -> Exception:
    """An error as the hub's client raises it."""
    from huggingface_hub import errors

    response = SimpleNamespace(status_code=status, headers={}, request=None)
    return getattr(errors, kind)("Access to model me/gated is restricted.\nLog in.", response=response)


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        ("GatedRepoError", 401, "the hub's me/gated is gated: ask for access at https://huggingface.co/me/gated, then"),
        ("GatedRepoError", 403, "log in with `hf auth login` or set HF_TOKEN"),
        ("HfHubHTTPError", 403, "is gated: ask for access"),
        ("RepositoryNotFoundError", 401, "has no me/gated for you: check the name at https://huggingface.co/me/gated"),
        ("HfHubHTTPError", 401, "if it is private or gated, log in"),
    ],
)
def test_a_gated_repository_says_in_one_line_how_to_get_in(nowhere, monkeypatch, kind, status, said):
    hub = FakeHub(nowhere / "snapshot", ["config.json", "model.safetensors"])
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub.snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)

    def no(*_, **__):
        raise refused(kind, status)

    # The files of a gated repository are listed for everyone: lile check must find out before a job does.
    listed = SimpleNamespace(siblings=[SimpleNamespace(rfilename="config.json")], gated="manual")
    hub.model_info, hub.auth_check = (lambda repo, timeout: listed), no
    available, message = weights_available("me/gated")
    assert not available
    for word in (said, "resources/encoders/me--gated/", "config.json, model.safetensors"):
        assert word in message
    assert "\n" not in message
    with pytest.raises(InputError) as caught:
        resolve_weights("me/gated")
    assert str(caught.value) == message


def test_the_digest_names_the_bytes_of_the_files_that_are_loaded(tmp_path):
    first, second = hub_folder(tmp_path / "a"), hub_folder(tmp_path / "b")
    digest = weights_digest(first)
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    (first / "pytorch_model.bin").write_bytes(b"never loaded, as there are safetensors")
    (first / "config.json").write_text(json.dumps({"a": 1}))
    assert weight_files(first) == [first / "model.safetensors"]
    assert weights_digest(first) == weights_digest(second) == digest
    (second / "model.safetensors").write_bytes(b"weightt")
    assert weights_digest(second) != digest


def test_the_digest_of_random_weights_names_config_and_seed():
    digests = {random_digest(config, seed) for config in ({"depth": 1}, {"depth": 2}) for seed in (0, 1)}
    assert len(digests) == 4
    assert random_digest({"a": 1, "b": 2}, 0) == random_digest({"b": 2, "a": 1}, 0)
    assert weights_available("random")[0]
