"""Faults of the published codes that are not repeated here, one test each.

Where they stand: ../shared/notes/reference-implementations.md, sections 3 to 5 and 10.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lile.data.records import read_descriptions
from lile.errors import InputError
from lile.evaluation.inputs import images_with_role, load_fold
from lile.evaluation.metrics import fold_metrics
from lile.features.shard_writer import write_store
from lile.features.store import TokenStore
from lile.models.losses import negatives_of, triplet_loss
from lile.models.training_config import PlateauConfig, TrainingConfig
from lile.training.fold import train_fold
from lile.training.pairs import batches, pair_set
from lile.training.schedule import Schedule


def tables(captions_per_image):
    """Images i0, i1, ... with so many captions each: images, descriptions, and which column is whose, [N, U]."""
    image_ids = [f"i{number}" for number in range(len(captions_per_image))]
    owners = [image for image, count in zip(image_ids, captions_per_image, strict=True) for _ in range(count)]
    names = [f"t{place}" for place in range(len(owners))]
    images = pd.DataFrame({"image_id": image_ids, "group": image_ids})
    descriptions = pd.DataFrame({"description_id": names, "image_id": owners, "text_id": names})
    own = np.array([[owner == image for owner in owners] for image in image_ids])
    return images, descriptions, own


def metrics(scores, images, descriptions, **more):
    return fold_metrics(
        scores, images["image_id"].tolist(), descriptions["text_id"].tolist(), images, descriptions, **more
    )[0]


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error_not_the_first_hit(broken):
    """Sorting puts NaN first: a model whose right pairs are all NaN gets R@1 = 100 from VSE++, SCAN and IMRAM."""
    images, descriptions, own = tables([5, 5, 5])
    with pytest.raises(InputError, match=r"image 'i0' and text 't0' is .*, which cannot be ranked"):
        metrics(np.where(own, broken, 0.0), images, descriptions)


def test_r_sum_of_consecutive_blocks_is_the_sum_of_the_six_recalls():
    """SCAN's, IMRAM's and VSRN's fold-5 summary prints six times the mean image-to-text recall instead.

    Two blocks of 20 images with 5 captions. An image finds its captions at once. A caption ranks the images by what
    each adds to all of its scores, the same images first for every caption, and so finds 1, 5 and 10 of 20 among the
    first 1, 5 and 10. In all 300 + 5 + 25 + 50, where the originals print 600.
    """
    images, descriptions, own = tables([5] * 40)
    scores = own + 10.0 * np.arange(40)[:, None]
    found = metrics(scores, images, descriptions, block_images=20)["protocols"]["own_blocks"]
    recalls = {(way, name): found[way][name] for way in ("i2t", "t2i") for name in ("R1", "R5", "R10")}
    assert [recalls["i2t", name] for name in ("R1", "R5", "R10")] == [100.0, 100.0, 100.0]
    assert [recalls["t2i", name] for name in ("R1", "R5", "R10")] == [5.0, 25.0, 50.0]
    assert found["Rsum"] == sum(recalls.values()) == 380.0


def changed(fold_case, role, folder):
    """The fold's files with other tokens for the images and texts of one part."""
    inputs = load_fold(fold_case.config, fold_case.files)
    ids = set(images_with_role(inputs.folds, 0, role))
    ids |= set(inputs.descriptions_of(sorted(ids))["text_id"])
    random, paths = np.random.default_rng(1), {}
    for name in ("images_store", "texts_store"):
        store = TokenStore(getattr(fold_case.files, name))
        paths[name] = [folder / f"{role}-{name}.h5"]
        items = []
        for item_id in store.ids:
            tokens, _ = store.read(store.rows_of([item_id]))
            items.append((item_id, random.normal(size=tokens[0].shape) if item_id in ids else tokens[0]))
        write_store(paths[name][0], iter(items), store.about)
    return replace(fold_case.files, **paths)


def trained(config, files, folder):
    """The weights and what was noted of each epoch."""
    train_fold(config, files, folder / "work", folder, "code")
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return load_file(folder / "model.safetensors"), [(e["loss"], e["validation"], e["best"]) for e in history]


def test_the_model_is_chosen_without_a_look_at_the_test_part(fold_case, tmp_path):
    """PVSE's training code evaluates each epoch on the test loader and keeps the best.

    Whatever the test images and their texts hold, the same weights come out; what the others hold matters.
    """
    weights, history = trained(fold_case.config, fold_case.files, tmp_path / "as_it_is")
    for role in ("test", "validation", "train"):
        others, noted = trained(fold_case.config, changed(fold_case, role, tmp_path), tmp_path / role)
        assert (noted == history) == (role == "test")
        if role != "validation":  # which may choose another epoch, or the same
            assert all(torch.equal(weights[name], others[name]) for name in weights) == (role == "test")


def test_the_rate_falls_when_the_validation_score_stalls_not_when_it_rises():
    """PVSE's plateau scheduler waits for a falling figure and is fed R@sum: it lowers the rate of a success."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([weight], 1.0)
    schedule = Schedule(optimizer, TrainingConfig(plateau=PlateauConfig(patience=1, factor=0.5)))
    rates = []
    for rsum in (100.0, 200.0, 300.0, 400.0, 390.0, 380.0, 410.0):
        schedule.step(rsum)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_another_caption_of_the_same_image_is_no_negative(fold_case):
    """VSE++ and its heirs mask only the diagonal: two captions of one image in a batch push it off its own words."""
    inputs = load_fold(fold_case.config, fold_case.files)
    train = images_with_role(inputs.folds, 0, "train")
    pairs = pair_set(inputs.descriptions, train, inputs.image_store, inputs.text_store)
    batch = next(batches(pairs, inputs.image_store, inputs.text_store, len(pairs), 0, torch.device("cpu")))
    same_BB = batch.images[:, None] == batch.images[None, :]
    assert int(same_BB.sum()) == 2 * len(pairs)  # every image is there with both of its captions
    negatives_BB = negatives_of(batch.groups, batch.images, batch.texts)
    assert not bool((negatives_BB & same_BB).any())
    right_BB = same_BB.float()  # a scorer that gives every caption of an image 1, all others 0
    assert float(triplet_loss(right_BB, negatives_BB, margin=0.2)) == 0.0
    diagonal_only = ~torch.eye(len(pairs), dtype=torch.bool)
    assert float(triplet_loss(right_BB, diagonal_only, margin=0.2)) == pytest.approx(0.4)


def test_words_of_validation_and_test_captions_are_unknown(fold_case):
    """VSE++'s published vocabularies were built with the test captions, SCAN's with the validation captions."""
    config = json.loads(json.dumps(fold_case.config))
    config["model_config"]["text"] = {"source": "words", "word_width": 6, "min_count": 1}
    inputs = load_fold(config, fold_case.files)
    descriptions = read_descriptions(fold_case.files.descriptions)  # texts are "text <image> <caption>"
    vocabulary = set(inputs.text_store.vocabulary.words)
    for role, known in (("train", True), ("validation", False), ("test", False)):
        of_role = descriptions[descriptions["image_id"].isin(images_with_role(inputs.folds, 0, role))]
        numbers = {text.split()[1] for text in of_role["text"]} - {"0", "1"}  # these also count captions
        assert numbers
        assert (numbers <= vocabulary) if known else not (numbers & vocabulary)


def test_images_may_have_any_number_of_captions_in_any_order():
    """The published evaluations give caption c to image c // 5.

    Images with 1, 2 and 4 captions, in mixed order: image 0 finds its only caption behind one wrong one, image 1 one of
    its two at once, image 2 its best behind two wrong ones.
    """
    images, descriptions, own = tables([1, 2, 4])
    order = [3, 0, 5, 1, 6, 4, 2]
    descriptions, own = descriptions.iloc[order].reset_index(drop=True), own[:, order]
    wrong = np.zeros(own.shape)
    wrong[0, np.flatnonzero(~own[0])[3]] = 2.0
    wrong[2, np.flatnonzero(~own[2])[[0, 2]]] = 3.0
    scores = np.where(own, 1.0, wrong)
    found = metrics(scores, images, descriptions)["protocols"]["own"]["i2t"]
    assert (found["R1"], found["MeanR"]) == (pytest.approx(100 / 3), pytest.approx((2 + 1 + 3) / 3))
