"""CapyMOA's side of `bench_trees.py`: a worker, run by an interpreter that has capymoa.

    python from_java.py FILE.arff NAME [NAME ...]

One line of JSON for each learner: accuracy, and CPU-seconds of the whole process, JIT and garbage collection among
them, from the first row to the last. The evaluation is the one that stays within Java (`optimise=True`). This
file may not be called moa.py: that is a package of Java's here.
"""

import json
import sys
import time

import capymoa.classifier as moa
from capymoa.evaluation import prequential_evaluation
from capymoa.stream import ARFFStream

LEARNERS = {
    "HoeffdingTree": lambda schema: moa.HoeffdingTree(schema=schema),
    "HoeffdingAdaptiveTree": lambda schema: moa.HoeffdingAdaptiveTree(schema=schema),
    "EFDT": lambda schema: moa.EFDT(schema=schema),
    "ARF": lambda schema: moa.AdaptiveRandomForestClassifier(schema=schema, ensemble_size=10),
    "SRP": lambda schema: moa.StreamingRandomPatches(schema=schema, ensemble_size=10),
    "LeveragingBagging": lambda schema: moa.LeveragingBagging(schema=schema, ensemble_size=10),
    "OnlineBagging": lambda schema: moa.OnlineBagging(schema=schema, ensemble_size=10),
    "OnlineBoosting": lambda schema: moa.OzaBoost(schema=schema, boosting_iterations=10),
}


def main() -> None:
    path, *names = sys.argv[1:]
    for name in names:
        stream = ARFFStream(path)
        learner = LEARNERS[name](stream.get_schema())
        start = time.process_time()
        result = prequential_evaluation(stream=stream, learner=learner, window_size=100_000, optimise=True)
        seconds = time.process_time() - start
        print(
            json.dumps({"name": name, "accuracy": result.cumulative.accuracy() / 100, "seconds": seconds}), flush=True
        )


main()
