"""From scores per mask to means with what is known about their certainty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from syncsam_lightning.errors import EvaluationError
from syncsam_lightning.evaluation.bootstrap import cluster_bootstrap
from syncsam_lightning.interaction import PROTOCOLS, Averaging
from syncsam_lightning.seeding import numpy_generator

METRICS = ("dice", "iou", "hd95", "nsd", "fill_box_dice")
GROUPINGS = {"data set": "source", "modality": "modality", "class": "label"}
"""What scores are grouped by, beside all together: the title and the column of the scores."""
ALL = "all"


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One metric of one group under one protocol.

    A mask that was played with several seeds counts once, with its mean over the seeds. NaN stands
    for what can't be computed: an interval of a single case, a deviation of a single seed.

    Args:
        protocol, version: under which.
        metric: a column of the scores.
        group, name: of what, for example ``modality`` and ``ct``; ``all`` and ``""``.
        averaging: over what ``mean``, ``std`` and the interval are: the protocol's own rule.
        mean: the number to report.
        std: population standard deviation of the masks, or of the images.
        ci_low, ci_high: 95 % interval of the mean by the bootstrap over cases.
        masks, images, cases: how many there are. An image without a case is a case of its own.
        mean_over_masks: every mask counts alike.
        mean_over_images: every image counts alike.
        mean_over_classes: every class counts alike.
        seeds: how many.
        std_over_seeds: sample standard deviation of the mean from seed to seed.
    """

    protocol: str
    version: int
    metric: str
    group: str
    name: str
    averaging: Averaging
    mean: float
    std: float
    ci_low: float
    ci_high: float
    masks: int
    images: int
    cases: int
    mean_over_masks: float
    mean_over_images: float
    mean_over_classes: float
    seeds: int
    std_over_seeds: float


def summarise(scores: pa.Table, *, bootstrap_seed: int = 0) -> list[SummaryRow]:
    """Return the means of every protocol, group and metric.

    Args:
        scores: with the columns of ``scores.parquet``. A metric that was not measured has no row.
        bootstrap_seed: of the intervals' draws.

    Raises:
        EvaluationError: a mask lacks the score of a seed, or has it twice.
    """
    rows: list[SummaryRow] = []
    for protocol in pc.unique(scores["protocol"]).to_pylist():
        of_protocol = scores.filter(pc.equal(scores["protocol"], protocol))
        for metric in METRICS:
            if of_protocol[metric].null_count < of_protocol.num_rows:
                values = _Values.of(of_protocol, metric)
                rows += _rows(values, protocol, metric, bootstrap_seed)
    return rows


@dataclass(frozen=True, slots=True)
class _Values:
    """One value per mask, and where it belongs; codes of groups count up in sorted order."""

    per_mask: np.ndarray  # (n,) mean over the seeds
    per_seed: np.ndarray  # (n, seeds)
    image: np.ndarray
    case: np.ndarray
    codes: dict[str, np.ndarray]
    names: dict[str, list[str]]
    version: int

    @classmethod
    def of(cls, scores: pa.Table, metric: str) -> _Values:
        columns = ["index", "mask_id", "seed"]
        ordered = scores.sort_by([(name, "ascending") for name in columns])
        num_seeds = len(pc.unique(ordered["seed"]))
        masks = ordered.group_by(["index", "mask_id"]).aggregate([("seed", "count_distinct")])
        if set(masks["seed_count_distinct"].to_pylist()) != {num_seeds} or (
            masks.num_rows * num_seeds != ordered.num_rows
        ):
            raise EvaluationError(
                f"not every mask has one score for each of the {num_seeds} seeds of protocol "
                f"{ordered['protocol'][0]}: summarise whole runs only"
            )
        per_seed = ordered[metric].to_numpy().reshape(-1, num_seeds)
        first = ordered.take(np.arange(0, ordered.num_rows, num_seeds))
        codes, names = {}, {}
        for column in GROUPINGS.values():
            names[column], codes[column] = _coded(first[column].to_pylist())
        image = first["index"].to_numpy()
        cases = [
            f"case {source}\0{case}" if case else f"image {index}"
            for source, case, index in zip(
                *(first[name].to_pylist() for name in ("source", "case", "index")), strict=True
            )
        ]
        return cls(
            per_seed.mean(axis=1), per_seed, image, _coded(cases)[1], codes, names,
            first["version"][0].as_py(),
        )  # fmt: skip

    def where(self, chosen: np.ndarray) -> _Values:
        codes = {name: codes[chosen] for name, codes in self.codes.items()}
        return _Values(
            self.per_mask[chosen], self.per_seed[chosen], self.image[chosen], self.case[chosen],
            codes, self.names, self.version,
        )  # fmt: skip

    def groups(self) -> Iterator[tuple[str, str, _Values]]:
        yield ALL, "", self
        for title, column in GROUPINGS.items():
            for code, name in enumerate(self.names[column]):
                yield title, name, self.where(self.codes[column] == code)


def _rows(values: _Values, protocol: str, metric: str, bootstrap_seed: int) -> list[SummaryRow]:
    rule = PROTOCOLS[protocol].averaging if protocol in PROTOCOLS else "masks"
    rows = []
    for group, name, members in values.groups():
        reduce = partial(_averaged, images=members.image if rule == "images" else None)
        averaged, clusters = reduce(members.per_mask), reduce(members.case)
        draws = numpy_generator("bootstrap", bootstrap_seed, protocol, metric, group, name)
        interval = cluster_bootstrap(averaged, clusters, draws)
        over_seeds = [float(reduce(of_seed).mean()) for of_seed in members.per_seed.T]
        rows.append(
            SummaryRow(
                protocol=protocol,
                version=values.version,
                metric=metric,
                group=group,
                name=name,
                averaging=rule,
                mean=float(averaged.mean()),
                std=float(averaged.std()),
                ci_low=interval.low,
                ci_high=interval.high,
                masks=len(members.per_mask),
                images=len(np.unique(members.image)),
                cases=len(np.unique(members.case)),
                mean_over_masks=float(members.per_mask.mean()),
                mean_over_images=float(_averaged(members.per_mask, members.image).mean()),
                mean_over_classes=float(_averaged(members.per_mask, members.codes["label"]).mean()),
                seeds=len(over_seeds),
                std_over_seeds=float(np.std(over_seeds, ddof=1))
                if len(over_seeds) > 1
                else float("nan"),
            )
        )
    return rows


def _averaged(values: np.ndarray, images: np.ndarray | None) -> np.ndarray:
    """Return the mean of the values on each image; without images, the values themselves."""
    if images is None:
        return values
    _, positions = np.unique(images, return_inverse=True)
    return np.bincount(positions, weights=values) / np.bincount(positions)


def _coded(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    names, codes = np.unique(np.array(texts, dtype=object), return_inverse=True)
    return names.tolist(), codes
