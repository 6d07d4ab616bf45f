"""How soon it is there: `import retain`, `retain --help`, and a linear learner's first prediction, in CPU-seconds.

The bars: 0.05, 0.3 and 1, the last with the kernel cache warm. NumPy's import stands beside for scale. Where SciPy
is installed numba imports it too, so run this with nothing but `retain` installed (`make run` does so) as well as
in that of the tests; each has its own section in the results.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from measure import best, interleave, middle, record

FIRST = """
import numpy as np, retain as rt
x = np.zeros((1, 20), dtype=np.float32)
learner = rt.Linear(loss=rt.Logistic())
learner.learn(rt.Batch(x, y=np.zeros(1, dtype=np.int64)))
learner.predict(x)
"""


def main() -> None:
    python = sys.executable
    commands = {
        "python itself": [python, "-c", "pass"],
        "import retain": [python, "-c", "import retain"],
        "import numpy": [python, "-c", "import numpy"],
        "retain --help": [python, "-m", "retain", "--help"],
        "first prediction": [python, "-c", FIRST],
    }
    costs = interleave(commands, times=9)
    installed = "SciPy installed" if find_spec("scipy") else "without SciPy"
    base = costs["python itself"]
    bars = {
        "import retain": "0.05",
        "retain --help": "0.3 (with Python itself)",
        "first prediction": "1 (with Python itself)",
    }
    lines = [
        f"## Start-up, {installed}",
        "",
        "| | best | median | less Python itself (best) | bar |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {best(c):.3f} | {middle(c):.3f} | {best(c) - best(base):.3f} | {bars.get(name, '')} |"
            for name, c in costs.items()
        ),
    ]
    record(f"start {installed}", "\n".join(lines))


if __name__ == "__main__":
    main()
