"""Writes the files of the README, `payments.csv` and `sensors.csv`, beside this script."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def files() -> dict[str, str]:
    """Payments by the hour, a twentieth of them fraud; readings of sensors, fault after fault."""
    rng = np.random.default_rng(0)
    payments = ["at,amount,country,channel,fraud"]
    for hour in range(2_000):
        fraud = rng.random() < 0.05
        amount = rng.lognormal(4 + 2 * fraud, 1)
        country = rng.choice(["de", "fr", "pl"])
        channel = rng.choice(["web", "shop"], p=[0.9, 0.1] if fraud else [0.5, 0.5])
        at = np.datetime64("2025-01-01T00:00:00") + np.timedelta64(hour, "h")
        payments.append(f"{at},{amount:.2f},{country},{channel},{'yes' if fraud else 'no'}")
    faults = ["none", "bearing", "belt", "leak", "motor", "valve"]
    sensors = ["heat,current,pressure,vibration,fault"]
    for fault, centre in zip(faults, rng.normal(0, 2, (len(faults), 4)), strict=True):
        sensors += [",".join(f"{value:.3f}" for value in row) + f",{fault}" for row in rng.normal(centre, 1, (300, 4))]
    return {f"{name}.csv": "\n".join(lines) + "\n" for name, lines in (("payments", payments), ("sensors", sensors))}


if __name__ == "__main__":
    for name, text in files().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8")
