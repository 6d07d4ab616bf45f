"""Prequential accuracy with nothing tuned, beside no-change, the prior and published figures.

`auto` is the default of `retain run`, `quick` four linear learners; `linear` is `Linear` with its default update alone.
Labels come with their rows,
but for flights, where they land with the plane. The data sets that are not bundled are read from the folder beside the
repository, and left out where it is absent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import record

import retain as rt
from retain.learners.auto import encoder, loss

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
BLOCK = 4096


def elec2() -> Any:
    folder = DATA / "electricity"
    x = np.loadtxt(folder / "elec2_data.dat.gz")
    return rt.streams.arrays(x, np.loadtxt(folder / "elec2_label.dat.gz").astype(np.int64), block=BLOCK)


def packaged(name: str) -> Any:
    """As River packages it."""
    from river import datasets

    rows = list(getattr(datasets, name)())
    x = np.array([list(row.values()) for row, _ in rows], dtype=np.float32)
    if name == "TrumpApproval":
        return rt.streams.arrays(x, np.array([label for _, label in rows]), block=BLOCK)
    names = sorted({label for _, label in rows}, key=str)
    return rt.streams.arrays(x, np.array([names.index(label) for _, label in rows]), block=BLOCK)


def file(path: str, target: str) -> Any:
    return rt.streams.csv(DATA / path, target=target, block=BLOCK)


STREAMS: dict[str, tuple[Callable[[], Any], str]] = {
    "flights, late labels": (lambda: rt.streams.flights(block=BLOCK), ""),
    "Elec2, 8 columns": (elec2, "ARF .893 (CapyMOA), ALMA .906 (River)"),
    "Elec2, 6 columns": (lambda: file("electricity/elec.csv.gz", "class"), ""),
    "Phishing": (lambda: file("river_packaged/phishing.csv.gz", "is_phishing"), "SRP .914 (River)"),
    "Bananas": (lambda: packaged("Bananas"), "AMF .889 (River)"),
    "ImageSegments": (lambda: packaged("ImageSegments"), "AMF .902 (River)"),
    "TrumpApproval, mean absolute error": (lambda: packaged("TrumpApproval"), "AMF .269 (River)"),
    "NOAA weather": (lambda: file("noaa_weather/weather.csv.gz", "target"), ""),
}

LEARNERS: dict[str, Callable[[Any], Any]] = {
    "auto": rt.auto,
    "lag, auto": lambda schema: rt.Lag() | rt.auto(schema),
    "quick": rt.quick,
    "linear": lambda schema: encoder(schema, scaled=False) | rt.Linear(loss=loss(schema)),
    "scale, linear": lambda schema: encoder(schema, scaled=True) | rt.Linear(loss=loss(schema)),
}


def main() -> None:
    lines = [
        "## Accuracy, prequential, nothing tuned",
        "",
        f"| | rows | {' | '.join(LEARNERS)} | no-change | prior | published |",
        f"|---|---|{'---|' * len(LEARNERS)}---|---|---|",
    ]
    for name, (make, published) in STREAMS.items():
        if "flights" not in name and not DATA.is_dir():
            continue
        cells: list[str] = []
        for build in LEARNERS.values():
            stream = make()
            last = list(rt.Prequential(stream, build(stream.schema())))[-1]
            measure = "accuracy" if "accuracy" in last.metrics else "mae"
            cells.append(f"{last.metrics[measure]:.4f}")
        baselines = (f"{last.baselines[who][measure]:.4f}" for who in ("no_change", "prior"))
        lines.append(f"| {name} | {last.rows:,} | {' | '.join(cells)} | {' | '.join(baselines)} | {published} |")
    record("accuracy", "\n".join(lines))


if __name__ == "__main__":
    main()
