"""A detector's weights: read strictly from any of the places they may lie in, and never replaced in silence."""

from __future__ import annotations

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_V2_Weights

import detector_cases
from lile.checks.encoders import check_encoder
from lile.checks.findings import Check
from lile.config import read_schema
from lile.errors import InputError
from lile.features import detector
from lile.features.detector import build_detector
from lile.features.detector_config import LOCAL_FOLDER, PUBLISHED_FILE, DetectorConfig, input_files, local_file
from lile.features.region_detector import load_region_detector


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds the tests' detector in the place of ResNet-50's."""
    monkeypatch.setattr(detector, "_empty", lambda classes: detector_cases.tiny_detector(7, classes=classes))


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Works in an empty folder, with an empty torch hub and no network."""

    def offline(url: str, *_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    return tmp_path


def saved(path: Path, seed: int = 1, **arguments) -> dict[str, torch.Tensor]:
    weights = detector_cases.tiny_detector(seed, **arguments).state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return weights


def build(weights: Path | str, seed: int = 0):
    return build_detector(DetectorConfig(weights=str(weights)), seed)


def same(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    found = model.state_dict()
    return found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
@pytest.mark.parametrize("named", ["file", "folder"])
def test_weights_come_from_a_file_or_its_folder(tiny, there, kind, named):
    path = there / "weights" / f"detector{kind}"
    weights = saved(path)
    model, facts = build(path if named == "file" else path.parent)
    assert same(model, weights)
    assert not model.training
    assert facts["origin"] == "pretrained"
    assert len(facts["weights_digest"]) == 16


def test_the_digest_is_of_the_bytes(tiny, there):
    saved(there / "a.pth"), saved(there / "b.pth", seed=2)
    digests = [build(there / name)[1]["weights_digest"] for name in ("a.pth", "a.pth", "b.pth")]
    assert digests[0] == digests[1] != digests[2]


def test_torchvisions_weights_are_looked_for_in_resources_and_then_in_the_hubs_cache(tiny, there):
    cached = saved(there / "hub" / "checkpoints" / PUBLISHED_FILE, seed=2)
    assert local_file("torchvision") is None
    assert same(build("torchvision")[0], cached)
    own = saved(there / LOCAL_FOLDER / PUBLISHED_FILE, seed=3)
    assert local_file("torchvision") == LOCAL_FOLDER / PUBLISHED_FILE
    assert same(build("torchvision")[0], own)


def test_without_network_one_line_says_what_to_fetch_and_where_to_put_it(there):
    with pytest.raises(InputError) as caught:
        build("torchvision")
    said = str(caught.value)
    assert FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1.url in said
    assert "resources/encoders/fasterrcnn_resnet50_fpn_v2/" in said
    assert "no network" in said
    assert "\n" not in said


def test_the_published_file_is_the_one_that_torchvision_names():
    assert Path(FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1.url).name == PUBLISHED_FILE


def test_weights_of_another_number_of_classes_are_taken(tiny, there):
    weights = saved(there / "genome.pth", classes=9)
    assert same(build(there / "genome.pth")[0], weights)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weights: weights.pop("rpn.head.bbox_pred.weight"), r"missing \['rpn.head.bbox_pred.weight'\]"),
        (lambda weights: weights.update(more=torch.zeros(1)), r"unexpected \['more'\]"),
        (lambda weights: weights.update({"rpn.head.bbox_pred.weight": torch.zeros(2, 2)}), "does not fit.*bbox_pred"),
        (lambda weights: weights.update(epoch=3), "holds no dictionary of tensors"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny, there, change, said):
    weights = dict(saved(there / "a.pth"))
    change(weights)
    torch.save(weights, there / "a.pth")
    with pytest.raises(InputError, match=said):
        build(there / "a.pth")


def test_a_checkpoint_of_a_training_is_read_under_model(tiny, there):
    weights = saved(there / "a.pth")
    torch.save({"model": weights, "epoch": 3}, there / "b.pth")
    assert same(build(there / "b.pth")[0], weights)


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_a_file_cut_short_is_refused(tiny, there, kind):
    saved(there / f"a{kind}")
    (there / f"a{kind}").write_bytes((there / f"a{kind}").read_bytes()[:900])
    with pytest.raises(InputError, match="cannot be read as weights"):
        build(there / f"a{kind}")


@pytest.mark.parametrize(
    ("named", "said"),
    [("nowhere", "no weights of a detector"), ("empty", "needed is one file"), ("two", "found .*a.pth.*b.pth")],
)
def test_a_place_without_clear_weights_is_refused(there, named, said):
    (there / "empty").mkdir()
    for name in ("a.pth", "b.pth"):
        saved(there / "two" / name)
    with pytest.raises(InputError, match=said):
        build(named)


def test_random_weights_are_a_function_of_the_seed_and_leave_randomness_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    found = load_region_detector({"weights": "random"}, 0, torch.device("cpu"))
    assert torch.rand(1) == expected
    assert found.width == 1024
    assert detector._SCORES in found.model.state_dict()
    assert found.about()["origin"] == "random"
    assert found.about()["transform"]["min_size_px"] == 800
    assert found.about()["transform"]["max_size_px"] == 1333
    again, facts = build("random")
    assert same(again, found.model.state_dict())
    assert facts["weights_digest"] == found.about()["weights_digest"] != build("random", seed=1)[1]["weights_digest"]


def test_the_workflow_asks_for_the_file_that_is_read(there):
    saved(there / "w" / "a.pth")
    assert input_files("w") == input_files("w/a.pth") == ["w/a.pth"]
    assert input_files("random") == input_files("torchvision") == input_files("nowhere") == []
    saved(there / LOCAL_FOLDER / PUBLISHED_FILE)
    assert input_files("torchvision") == [str(LOCAL_FOLDER / PUBLISHED_FILE)]


def test_the_check_before_any_job_says_what_the_job_would(there, monkeypatch):
    def found(weights: str) -> Check:
        return check_encoder(
            "frcnn", {"modality": "image", "library": "faster_rcnn", "weights": weights}, "image", there
        )

    monkeypatch.setattr("lile.checks.detector.urlopen", lambda *_, **__: (_ for _ in ()).throw(URLError("no network")))
    assert found("random").status == "WARN"
    assert "resources/encoders/fasterrcnn_resnet50_fpn_v2/" in found("torchvision").line
    assert (found("torchvision").status, found("nowhere").status) == ("FAIL", "FAIL")
    saved(there / "hub" / "checkpoints" / PUBLISHED_FILE)
    saved(there / "w" / "a.pth")
    assert (found("torchvision").status, found("w").status) == ("PASS", "PASS")


def test_the_schema_and_the_code_have_the_same_defaults():
    keys = read_schema()["$defs"]["encoder_faster_rcnn"]["properties"]
    config = DetectorConfig(weights="random")
    assert {name: keys[name]["default"] for name in ("regions", "nms_iou", "confidence", "batch_size")} == {
        name: getattr(config, name) for name in ("regions", "nms_iou", "confidence", "batch_size")
    }
