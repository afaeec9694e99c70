"""What `lile check` finds of a dataset's files."""

from __future__ import annotations

import json

import pytest

from lile.checks.data import check_data, survey_of
from lile.checks.run import check_dataset, failures
from lile.checks.splits import check_splits
from lile.errors import InputError


def data_of(config, name, root):
    block = config["datasets"][name]
    return list(check_data(block, survey_of(block, root), root))


class TestData:
    def test_drawn_images_need_nothing(self, config, root):
        (found,) = data_of(config, "drawn", root)
        assert found.status == "PASS"

    @pytest.mark.parametrize(("items", "status"), [(20, "WARN"), (100, "PASS"), (1_000_000, "PASS"), (10**7, "WARN")])
    def test_number_of_drawn_images(self, config, root, items, status):
        config["datasets"]["drawn"]["items"] = items
        (found,) = data_of(config, "drawn", root)
        assert found.status == status

    def test_arch_that_is_still_to_be_downloaded(self, config, root):
        (found,) = data_of(config, "arch", root)
        assert found.status == "PASS"
        assert "will be downloaded" in found.found

    def test_arch_without_download_must_be_there(self, config, root):
        config["datasets"]["arch"]["download"] = False
        (found,) = failures(check_dataset(config, "arch", root))
        assert found.status == "FAIL"
        assert "resources/arch: no such folder. Fetch books_set.zip" in found.found

    def test_arch_in_place(self, config, root, put_arch):
        put_arch(3)
        (found,) = data_of(config, "arch", root)
        assert found.status == "PASS"
        assert "8 captions, 6 images" in found.found
        assert "2 captions without image" in found.found

    def test_arch_nested_as_unpacking_may_leave_it(self, config, root, put_arch):
        put_arch(3)
        (root / "resources" / "arch").rename(root / "one")
        for name in ("books_set", "pubmed_set"):
            (root / "resources" / "arch" / name).mkdir(parents=True)
            (root / "one" / name).rename(root / "resources" / "arch" / name / name)
        (found,) = data_of(config, "arch", root)
        assert found.status == "PASS"
        assert "8 captions, 6 images" in found.found

    def test_arch_with_captions_only(self, config, root, put_arch):
        put_arch(0)
        config["datasets"]["arch"]["download"] = False
        (found,) = failures(check_dataset(config, "arch", root))
        assert "books_set/images: no such folder" in found.found
        for name in ("books_set", "pubmed_set"):
            (root / "resources" / "arch" / name / "images").mkdir()
        (found,) = data_of(config, "arch", root)
        assert found.status == "FAIL"
        assert "most images are missing" in found.found

    def test_coco_that_is_still_to_be_downloaded(self, coco, root):
        block = {**coco, "download": True, "root": "resources/coco"}
        (found,) = check_data(block, survey_of(block, root), root)
        assert found.status == "PASS"
        assert "not in resources/coco yet; will be downloaded: https://example.org/split.zip" in found.found
        (found,) = check_splits(block, None)
        assert (found.status, found.name) == ("PASS", "splits")

    def test_coco_in_place(self, coco, root):
        table, images = check_data(coco, survey_of(coco, root), root)
        assert (table.status, images.status) == ("PASS", "PASS")
        assert table.found.startswith("19 rows, 95 captions, 19 images in own/coco/dataset_coco.json")
        (found,) = check_splits(coco, survey_of(coco, root))
        assert (found.status, found.found) == ("PASS", "train 10, validation 3, test 6")

    def test_coco_in_part(self, coco, root):
        block = {**coco, "limit": 2, "captions_per_image": 3, "evaluation": {"block_images": 3}}
        table, _ = check_data(block, survey_of(block, root), root)
        assert "19 rows, 18 captions, 6 images" in table.found
        assert "with limit 2" in table.found
        blocks = {check.name: check for check in check_splits(block, survey_of(block, root))}["blocks"]
        assert (blocks.status, "at most 2" in blocks.found) == ("FAIL", True)

    def test_coco_without_its_images(self, coco, root):
        for path in (root / "own/coco/val2014").iterdir():
            path.unlink()
        *_, images = check_data(coco, survey_of(coco, root), root)
        assert images.status == "FAIL"
        assert "val2014" in images.found
        assert "(image_missing)" in images.found
        (root / "own/coco/val2014").rmdir()
        with pytest.raises(InputError, match=r"own/coco/val2014: no such folder"):
            survey_of(coco, root)

    def test_coco_with_rows_that_cannot_be_read(self, coco, root):
        path = root / "own/coco/dataset_coco.json"
        value = json.loads(path.read_text())
        path.write_text(json.dumps({**value, "images": [*value["images"], {"filename": "x.jpg"}]}))
        table, _ = check_data(coco, survey_of(coco, root), root)
        assert (table.status, "1 rows cannot be read" in table.found) == ("WARN", True)

    def test_a_table_that_is_not_there(self, config, root):
        config["datasets"]["own"]["file"] = "own/other.csv"
        (found,) = failures(check_dataset(config, "own", root))
        assert "no such file" in found.found

    def test_a_column_that_is_not_there(self, config, root):
        config["datasets"]["own"]["columns"]["caption"] = "text"
        (found,) = failures(check_dataset(config, "own", root))
        assert "missing column(s) ['caption: text']" in found.found
        assert "columns" in found.found

    def test_a_root_that_is_not_there(self, config, root):
        config["datasets"]["own"]["root"] = "elsewhere"
        (found,) = failures(data_of(config, "own", root))
        assert "no such folder: " in found.found

    def test_a_wrong_root_fails_and_a_bad_image_warns(self, config, root):
        (root / "own" / "images" / "2.png").write_bytes(b"")
        found = data_of(config, "own", root)[-1]
        assert found.status == "WARN"
        assert "1 of a sample of 6" in found.found
        assert "images/2.png (image_empty)" in found.found
        config["datasets"]["own"]["root"] = "."
        assert data_of(config, "own", root)[-1].status == "FAIL"

    def test_a_table_of_nothing(self, config, root):
        (root / "own" / "pairs.csv").write_text("image,caption,split\n")
        found = failures(data_of(config, "own", root))
        assert [check.name for check in found] == ["data table"]

    def test_rows_that_cannot_be_read_are_counted(self, config, root):
        with (root / "own" / "pairs.csv").open("a") as table:
            table.write("images/1.png,a caption, with a comma,train\n")
        found = data_of(config, "own", root)[0]
        assert found.status == "WARN"
        assert "1 rows cannot be read" in found.found

    def test_a_limit(self, config, root):
        config["datasets"]["own"]["limit"] = 1
        assert data_of(config, "own", root)[0].found.startswith("6 rows, 3 captions, 3 images in own/pairs.csv with")
        config["datasets"]["own"]["folds"]["by"] = "split"
        block = config["datasets"]["own"]
        (found,) = check_splits(block, survey_of(block, root))
        assert found.found == "train 1, validation 1, test 1"

    def test_lists_of_captions(self, config, root):
        rows = [{"image": f"images/{n}.png", "caption": ["one", "two"], "split": "train"} for n in range(6)]
        (root / "own" / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        config["datasets"]["own"]["file"] = "own/pairs.jsonl"
        assert data_of(config, "own", root)[0].found.startswith("6 rows, 12 captions, 6 images")
