"""The first so many images of each split: a quick look at a large dataset."""

from __future__ import annotations

from lile.data.records import REPORT_COLUMNS, Records, ReportRow

REASON = "over_limit"


def first_images(records: Records, limit: int | None) -> Records:
    """Keep the first ``limit`` images of each split, in the records' order, with their captions.

    Args:
        records: a dataset.
        limit: at least 1; ``None`` keeps everything. Without splits it counts over all images.

    Returns:
        The smaller dataset; its report lists each image that was left out, as dropped for ``over_limit``.
    """
    import pandas as pd

    if limit is None:
        return records
    images = records.images
    kept = images.groupby("split", sort=False).cumcount() < limit
    captions = records.captions[records.captions["image_id"].isin(images.loc[kept, "image_id"])]
    detail = f"not among the first {limit} of its split (config: limit)"
    rows = [ReportRow("", image_id, "", "dropped", REASON, detail) for image_id in images.loc[~kept, "image_id"]]
    report = pd.concat([records.report, pd.DataFrame(rows, columns=list(REPORT_COLUMNS))], ignore_index=True)
    return Records(images[kept].reset_index(drop=True), captions.reset_index(drop=True), report)
