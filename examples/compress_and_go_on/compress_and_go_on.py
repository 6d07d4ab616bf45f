# %% [markdown]
# # Compress, learn on, compress again
#
# A net reads handwritten digits on a small device. It knows 0 to 4 when it is shipped; 5 to 9 come later. We
#
# 1. **compress** what it knows, as far as a budget allows, judged on digits that it has not learnt;
# 2. **go on**: the compressed model learns the five new digits, one after the other, with a small memory;
# 3. **compress again**, and see what each rung of the ladder cost and brought.
#
# Needs `pip install "retain[deploy]"`. Claims are followed by an `assert`.

# %%
import matplotlib.pyplot as plt
import numpy as np
from rich.console import Console

import retain as rt
from retain.blocks import take_batch

console = Console()

# %% [markdown]
# ## Ten digits, one after the other
#
# 1,797 pictures of 8 x 8 pixels come with scikit-learn. Four of ten are held out: they judge, and nobody learns them.

# %%
data = rt.streams.digits(share=0.4)


def scaled(batch: rt.Batch) -> rt.Batch:
    return rt.Batch(batch.x.reshape(len(batch), -1), y=batch.y, task=batch.y)


def of(batch: rt.Batch, digits: range) -> rt.Batch:
    return take_batch(batch, np.flatnonzero(np.isin(batch.y, digits)))


train, test = scaled(data.train), scaled(data.test)
replay = rt.strategies.Replay(rt.memory.Past(rt.memory.ClassBalanced(500)), size=32, strength=None)
learner = rt.Neural(rt.neural.MLP(64, 400, 400, 10), strategies=[replay], batch_size=16)


def teach(learner: rt.Neural, digits: range) -> None:
    rows = of(train, digits)
    random = np.random.default_rng(0)
    for _ in range(10):
        learner.learn(take_batch(rows, random.permutation(len(rows))))
    learner.consolidate([rows])


teach(learner, range(5))

# %% [markdown]
# ## The ladder
#
# Each rung is timed beside the net as it is, and asked the same held-out digits. It is taken if no more is lost than
# the budget allows, and if it is smaller or faster *here*. 360 pictures cannot tell half a point: the margin is four.

# %%
budget = rt.Within(accuracy=0.04, per_class=None, forgetting=0.06, smaller=3)
steps = (
    rt.compression.Int8(),
    rt.compression.Shrink(0.5, recover=rt.compression.Distil(passes=5)),
)
first = rt.compress(learner, *steps, data=of(test, range(5)), lessons=of(train, range(5)), budget=budget, seconds=0.05)
before = first.report
console.print(before)
assert before.taken.smaller > 8
assert first.revert() is learner  # which is as it was

# %% [markdown]
# ## It goes on learning
#
# `resume` gives a learner in float32 of the compressed shape, with the memory that it had. `patch` brings what it has
# learnt into what runs, without climbing again.

# %%
small = first.resume()
for digit in range(5, 10):
    for model in (small, learner):
        teach(model, range(digit, digit + 1))


def right(model) -> float:
    return float((model.predict(test.x).argmax(1) == test.y).mean())


first.patch(small)
console.print(f"all ten digits: never compressed {right(learner):.3f}, compressed half way {right(first):.3f}")
assert right(first) > right(learner) - 0.04

# %% [markdown]
# ## And again
#
# What is left is compressed once more; the picture shows every rung of both ladders.

# %%
second = rt.compress(small, *steps, data=test, lessons=train, budget=budget, seconds=0.05)
console.print(second.report)
whole = before.rungs[0].cost.bytes
console.print(f"{whole / len(second.data):.0f} times smaller than at first, {right(second):.3f} right")
assert right(second) > right(learner) - 0.06

figure, (left, right_) = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for name, report, color in (("after five digits", before, "C0"), ("after ten", second.report, "C1")):
    rungs = [rung for rung in report.rungs if rung.cost is not None and rung.name != "graph"]
    accuracy = [rung.judgement.after for rung in rungs]
    sizes = [rung.cost.bytes / 1e3 for rung in rungs]
    times = [1e3 * rung.cost.latency[64].median for rung in rungs]
    for axis, cost in ((left, sizes), (right_, times)):
        axis.plot(cost, accuracy, "o-", color=color, label=name, alpha=0.8)
        for i, (rung, x, y) in enumerate(zip(rungs, cost, accuracy, strict=True)):
            place = {"textcoords": "offset points", "xytext": (0, 7 if i % 2 else -14), "ha": "center"}
            axis.annotate(rung.name, (x, y), **place, fontsize=8, color=color)
left.set(xscale="log", xlim=(15, 1100), xlabel="size, kB", ylabel="accuracy on held-out digits", ylim=(0.9, 1.01))
left.set_xticks([20, 50, 100, 200, 500, 1000], labels=["20", "50", "100", "200", "500", "1,000"])
left.minorticks_off()
right_.set(xlabel="time to answer 64 rows, ms")
right_.set_xlim(0, 1.08 * right_.get_xlim()[1])
left.legend(loc="lower left")
figure.suptitle("Every rung: what it takes, and what it answers")
figure.savefig("compress_and_go_on.png", dpi=110)
