# %% [markdown]
# # One line, learnt three ways
#
# A straight line through 1,000 points is the smallest model there is, and it already shows what this library is
# about. We learn the same line
#
# - **(a)** row by row, as rows arrive;
# - **(b)** chunk by chunk;
# - **(c)** task by task, each task showing another part of the world, and never coming back;
#
# each time by **gradient steps** and by **normal-equation steps**, each time in plain `torch` and in `retain`. The
# measure is always the same: how far are we, in the end, from the line that sees all rows at once?
#
# *What to notice:* gradient steps come close (we ask for 0.1), forget, and need help to remember. The normal-equation
# step ends in exactly the right line (we ask for ten digits), in any order, with nothing to tune. Claims on this
# page are followed by an `assert` that holds them to account.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import retain as rt
from retain.learners.linear import InverseScaling

# %% [markdown]
# ## The rows
#
# The truth is a gentle curve; we insist on fitting a line. So every stretch of the curve would choose another line,
# and whoever forgets the left when the right arrives ends up with the wrong one.
#
# $$ y = 1 + \tfrac{3}{2}\,x - \tfrac{7}{20}\,x^2 + \text{noise}, \qquad x \in [-2, 2]. $$
#
# The rows are sorted by $x$ and cut into four *tasks* from left to right. For (a) and (b) the same rows are shuffled.

# %%
torch.set_num_threads(1)  # two parameters need no team
rng = np.random.default_rng(7)
n, tasks = 1_000, 4
x = np.sort(rng.uniform(-2, 2, n).astype(np.float32)).astype(np.float64)  # retain keeps inputs as float32: so do we
y = 1 + 1.5 * x - 0.35 * x**2 + rng.normal(0, 0.2, n)

shuffled = rng.permutation(n)
chunks = np.split(shuffled, n // 25)
parts = np.split(np.arange(n), tasks)

# %% [markdown]
# ## The answer
#
# With $X$ the rows $(1, x)$ and $\theta = (\text{intercept}, \text{slope})$, the least-squares line on all data is
#
# $$ \hat\theta = (X^\top X)^{-1} X^\top y. $$

# %%
X = np.column_stack([np.ones(n), x])
best = np.linalg.solve(X.T @ X, X.T @ y)


def distance(theta):
    """How far a line is from the closed form on all the data: the larger error of intercept and slope."""
    return float(np.abs(theta - best).max())


print(f"closed form on all rows: y = {best[0]:.3f} + {best[1]:.3f} x")

# %% [markdown]
# ## Two steps
#
# Both start from what the model gets wrong, the residual $y - \hat y$ with $\hat y = X\theta$:
#
# $$ \textbf{gradient:}\quad \theta \leftarrow \theta + \eta\, X^\top (y - \hat y)
# \qquad\qquad
# \textbf{normal equation:}\quad \theta \leftarrow \theta + (X^\top X)^{-1} X^\top (y - \hat y) $$
#
# *A word on the sign.* The loss is $\tfrac12\lVert y - X\theta\rVert^2$ and its gradient is $-X^\top(y - \hat y)$. We
# step against the gradient, and the two minus signs make a plus. Written with $\hat y - y$, the same step needs a
# minus in front; with the wrong sign it runs away from the answer, and the normal-equation step does so just as
# decidedly as it arrives with the right one.
#
# Put $\hat y = X\theta$ into the second step and $\theta$ cancels: on all the data at once, *one* step from
# *anywhere* is the answer.
#
# $$ \theta + (X^\top X)^{-1} X^\top (y - X\theta) = (X^\top X)^{-1} X^\top y. $$
#
# On a stream the rows come in blocks. Add up the Gram matrix of all rows so far, and step with that:
#
# $$ A \leftarrow A + X^\top X, \qquad \theta \leftarrow \theta + A^{-1} X^\top (y - \hat y). $$
#
# If $A\theta = b$ held before, with $b$ the sum of all $X^\top y$ so far, then it holds after:
#
# $$ (A + X^\top X)\,\theta_{\text{new}} = (A + X^\top X)\,\theta + X^\top (y - X\theta)
# = A\theta + X^\top y = b + X^\top y. $$
#
# So $\theta$ is the closed form on all rows so far, after every block, whatever the blocks were. Here are both steps
# in torch. One row does not determine a line, so the inverse is a pseudo-inverse until two have come.

# %%
inputs, targets = torch.from_numpy(x)[:, None], torch.from_numpy(y)[:, None]


def line():
    """A line through zero, to begin with."""
    module = nn.Linear(1, 1, dtype=torch.float64)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def coefficients(module):
    """(intercept, slope) of a torch line, as a tensor that gradients flow through."""
    return torch.cat([module.bias, module.weight[0]])


def gradient_steps(module, blocks, *, rate, slower_after, addend=lambda _: 0.0):
    """One step down the mean squared error of each block; the rate falls like 1 / t."""
    optimiser = torch.optim.SGD(module.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda t: slower_after / (slower_after + t))
    for rows in blocks:
        loss = 0.5 * (targets[rows] - module(inputs[rows])).square().mean() + addend(coefficients(module))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def normal_steps(module, gram, blocks):
    """One normal-equation step for each block; returns the Gram matrix of all rows so far."""
    for rows in blocks:
        block = torch.cat([torch.ones_like(inputs[rows]), inputs[rows]], dim=1)  # (rows, 2)
        gram = gram + block.T @ block
        with torch.no_grad():
            step = torch.linalg.pinv(gram, hermitian=True) @ block.T @ (targets[rows] - module(inputs[rows]))
            module.bias += step[0]
            module.weight += step[1:]
    return gram


def theta(model):
    """(intercept, slope) of a line, learnt by either library."""
    if isinstance(model, nn.Module):
        return coefficients(model).detach().numpy().copy()
    return np.array([*model.intercept, *model.weights])


# %% [markdown]
# In `retain` a learner has one verb: `learn(batch)` takes rows in arrival order. `rt.Linear` steps down the gradient
# row by row and `rt.RLS` makes the normal-equation step row by row (it keeps a triangular factor of $A$ and never
# inverts anything).

# %%


def batch(rows):
    """These rows, in this order."""
    return rt.Batch(x[rows, None], y=y[rows])


def gradient_learner(*, rate=0.2, slower_after=100):
    """The same falling rate as above: `InverseScaling` is (t0 + t) ** -power."""
    schedule = InverseScaling(power=1.0, t0=slower_after)
    return rt.Linear(loss=rt.Squared(), update=rt.SGD(learning_rate=rate * slower_after, schedule=schedule))


def normal_learner():
    """Recursive least squares without a penalty: plain least squares."""
    return rt.RLS(l2=0.0)


results = {}  # how the rows come -> distances: gradient in torch, in retain, normal equation in torch, in retain

# %% [markdown]
# ## (a) Row by row
#
# One pass, one step for each row. *What to notice:* torch and retain make the same gradient steps and end in the same
# line to eleven digits or so; retain's loop over the rows is compiled. Both are near the answer, not on it: the last
# rows still push the line about, by as much as the rate allows. The normal-equation step has no rate, and no such
# error.

# %%
single = [shuffled[i : i + 1] for i in range(n)]
gradient_steps(line(), single[:1], rate=0.2, slower_after=100)  # torch loads its parts, before the clock runs

torch_gradient, torch_normal = line(), line()
start = perf_counter()
gradient_steps(torch_gradient, single, rate=0.2, slower_after=100)
torch_seconds = perf_counter() - start
normal_steps(torch_normal, torch.zeros(2, 2, dtype=torch.float64), single)

# %%
gradient_learner().learn(batch(single[0]))  # and retain its compiled loop

retain_gradient, retain_normal = gradient_learner(), normal_learner()
start = perf_counter()
retain_gradient.learn(batch(shuffled))
retain_seconds = perf_counter() - start
retain_normal.learn(batch(shuffled))

# %%
lines = [theta(model) for model in (torch_gradient, retain_gradient, torch_normal, retain_normal)]
results["(a) row by row"] = [distance(found) for found in lines]
assert np.abs(lines[0] - lines[1]).max() < 1e-9  # the same steps
assert distance(lines[1]) < 0.1  # close: one pass, a noisy end
assert max(distance(lines[2]), distance(lines[3])) < 1e-10  # there
print(f"{n:,} gradient steps: torch {torch_seconds:.2f} s, retain {retain_seconds * 1000:.1f} ms")

# %% [markdown]
# ## (b) Chunk by chunk
#
# The same rows in chunks of 25. In torch a chunk is a *mini-batch*: 25 rows, one step, less noise, another result. In
# retain a chunk is only how rows travel: learning a chunk *is* learning its rows one by one, bit for bit. How your
# data happens to be cut into messages, files or calls does not change your model.

# %%
torch_gradient = line()
gradient_steps(torch_gradient, chunks, rate=0.5, slower_after=20)
torch_normal = line()
normal_steps(torch_normal, torch.zeros(2, 2, dtype=torch.float64), chunks)

retain_gradient, retain_normal = gradient_learner(), normal_learner()
for rows in chunks:
    retain_gradient.learn(batch(rows))
    retain_normal.learn(batch(rows))

before = lines
lines = [theta(model) for model in (torch_gradient, retain_gradient, torch_normal, retain_normal)]
results["(b) chunk by chunk"] = [distance(found) for found in lines]
assert np.array_equal(lines[1], before[1])  # not nearly: exactly
assert np.array_equal(lines[3], before[3])
assert max(distance(lines[0]), distance(lines[1])) < 0.1
assert max(distance(lines[2]), distance(lines[3])) < 1e-10

# %% [markdown]
# ## (c) Task by task
#
# Now the rows come from left to right: first all of task 1, forty times over, then all of task 2, and so on. No task
# comes back.
#
# First, nothing is done about it. *What to notice:* gradient steps end where the **last** task pulls them, and
# everything on the left is lost. This is catastrophic forgetting, in a model with two parameters. The normal-equation
# step passes every row once and ends in the closed form, as before: sums do not care about order.

# %%
passes = 40
mini_batches = [[rows for _ in range(passes) for rows in np.split(rng.permutation(part), 5)] for part in parts]
history = {"gradient steps": [], "normal-equation steps": []}  # the line after each task

torch_gradient, torch_normal, gram = line(), line(), torch.zeros(2, 2, dtype=torch.float64)
retain_gradient = rt.Linear(loss=rt.Squared(), update=rt.SGD(learning_rate=0.01))
retain_normal = normal_learner()
for part, blocks in zip(parts, mini_batches, strict=True):
    gradient_steps(torch_gradient, blocks, rate=0.2, slower_after=100)
    gram = normal_steps(torch_normal, gram, [part])
    for rows in blocks:
        retain_gradient.learn(batch(rows))
    retain_normal.learn(batch(part))
    history["gradient steps"].append(theta(torch_gradient))
    history["normal-equation steps"].append(theta(retain_normal))

lines = [theta(model) for model in (torch_gradient, retain_gradient, torch_normal, retain_normal)]
results["(c) task by task"] = [distance(found) for found in lines]
assert min(distance(lines[0]), distance(lines[1])) > 0.4  # forgotten
assert max(distance(lines[2]), distance(lines[3])) < 1e-10  # nothing to forget

# %% [markdown]
# ### Consolidation
#
# How could gradient steps remember rows that are gone? When a task ends, the loss of all rows so far is, around its
# minimum $\theta^*$, a parabola, and its curvature is the Gram matrix $A$:
#
# $$ \tfrac12 \lVert y_{\text{old}} - X_{\text{old}}\theta \rVert^2
# = \text{const} + \tfrac12 (\theta - \theta^*)^\top A\, (\theta - \theta^*). $$
#
# So we keep $\theta^*$ and $A$, let the rows go, and add this anchor to the loss of the next task. This is what
# *elastic weight consolidation* does for neural nets, where the parabola is an approximation and only the diagonal of
# $A$ (the Fisher information) is affordable. For a line it is exact, as long as every task is learnt to its end.
#
# With only the diagonal, as in EWC, a good deal is lost even here: intercept and slope of a task are strongly
# correlated, and the diagonal does not know.

# %%


def consolidated(keep):
    """Gradient steps over the tasks; after each task, `keep` of its Gram matrix is added to the anchor."""
    module, anchored = line(), []
    gram, star = torch.zeros(2, 2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for part, blocks in zip(parts, mini_batches, strict=True):
        curvature = gram / len(part)  # the losses of blocks are means: so is the anchor

        def anchor(now, curvature=curvature, star=star):
            return 0.5 * (now - star) @ curvature @ (now - star)

        gradient_steps(module, blocks, rate=0.2, slower_after=100, addend=anchor)
        star = torch.from_numpy(theta(module))
        task = torch.from_numpy(X[part])
        gram = gram + keep(task.T @ task)
        anchored.append(theta(module))
    return anchored


history["gradient steps, consolidated"] = consolidated(lambda gram: gram)
diagonal = consolidated(lambda gram: torch.diag(gram.diagonal()))

# %% [markdown]
# A parabola over two parameters is also what **two points** make. Put them on the line $\theta^*$, at $\bar x - s$
# and $\bar x + s$ (mean and standard deviation of all $x$ so far), and give each half the weight of all rows so far:
# they have the same Gram matrix $A$ and the same minimum. So in retain consolidating needs nothing new: two weighted
# rows, replayed among those of the task, stand for everything that is gone. (For models that are no lines there is no
# such exact summary; there one replays real rows from a memory.)

# %%
retain_gradient = rt.Linear(loss=rt.Squared(), update=rt.SGD(learning_rate=0.01))
count, total, squares = 0, 0.0, 0.0  # of the x so far: all that is kept of them
for part, blocks in zip(parts, mini_batches, strict=True):
    if count:
        mean, (intercept, slope) = total / count, theta(retain_gradient)
        deviation = np.sqrt(squares / count - mean**2)
    for rows in blocks:
        new = batch(rows)
        if count:  # each new row is followed by one of the two points
            points = mean + deviation * np.tile([-1.0, 1.0], len(rows) // 2)
            new = rt.Batch(
                np.stack([x[rows], points], axis=1).reshape(-1, 1),
                y=np.stack([y[rows], intercept + slope * points], axis=1).reshape(-1),
                weight=np.tile([1.0, count / len(part)], len(rows)),
            )
        retain_gradient.learn(new)
    count, total, squares = count + len(part), total + x[part].sum(), squares + (x[part] ** 2).sum()

mean, deviation = total / n, np.sqrt(squares / n - (total / n) ** 2)
two = np.array([[1, mean - deviation], [1, mean + deviation]])
assert np.allclose(n / 2 * two.T @ two, X.T @ X)  # two points stand for all rows

found = [history["gradient steps, consolidated"][-1], theta(retain_gradient), lines[2], lines[3]]
results["    with consolidation"] = [distance(line) for line in found]
assert max(distance(found[0]), distance(found[1])) < 0.1  # remembered
assert distance(diagonal[-1]) > 2 * distance(found[0])  # and half remembered

# %% [markdown]
# ## All together
#
# Distances from the closed form on all 1,000 rows. For the normal-equation step there is nothing to consolidate: it
# *is* its own summary.

# %%
table = Table(title="Distance from the line that saw all rows at once", title_justify="left")
table.add_column("how the rows come\n")
for column in ("gradient\ntorch", "gradient\nretain", "normal eq.\ntorch", "normal eq.\nretain"):
    table.add_column(column, justify="right")
for name, values in results.items():
    table.add_row(name, *(f"{value:.3f}" if value > 1e-6 else f"{value:.0e}" for value in values))
console = Console()
console.print(table)
console.print(f"with the diagonal of A only, as in EWC: {distance(diagonal[-1]):.3f}")

# %% [markdown]
# The picture tells the same story. Left: the four tasks, and where the lines end. Right: the error on the rows of all
# tasks *so far*, as the tasks go by. *What to notice:* for the last task alone, the line that forgot is the best one.
# That is why forgetting goes unseen where only the newest data is watched. Consolidated gradient steps (orange, wide)
# and normal-equation steps (blue, dashed) all but coincide: the blue line lies on the orange one.

# %%
colours = {"gradient steps": "C3", "gradient steps, consolidated": "C1", "normal-equation steps": "C0"}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for number, part in enumerate(parts, start=1):
    left.scatter(x[part], y[part], s=3, color=str(0.85 - 0.15 * number), linewidths=0)
    left.annotate(f"task {number}", (x[part].mean(), -4.4), ha="center", color="0.4")
seen = [part[-1] + 1 for part in parts]  # rows after each task
styles = {"gradient steps": "-", "gradient steps, consolidated": "-", "normal-equation steps": (0, (3, 2))}
widths = {"gradient steps": 2, "gradient steps, consolidated": 5, "normal-equation steps": 2}
for name, colour in colours.items():
    intercept, slope = history[name][-1]
    left.plot(x[[0, -1]], intercept + slope * x[[0, -1]], color=colour, linestyle=styles[name], linewidth=widths[name])
    errors = [np.sqrt(np.mean((y[:rows] - X[:rows] @ history[name][rows * tasks // n - 1]) ** 2)) for rows in seen]
    look = {"color": colour, "linestyle": styles[name], "linewidth": widths[name], "marker": "o", "label": name}
    right.plot(range(1, tasks + 1), errors, **look)
last = {name: np.mean((y[parts[-1]] - X[parts[-1]] @ found[-1]) ** 2) for name, found in history.items()}
assert min(last, key=last.get) == "gradient steps"  # best on what it saw last
left.set(title="Where the lines end", xlabel="x", ylabel="y", ylim=(-4.7, None))
right.set(title="Error on all tasks so far (RMSE)", xlabel="tasks learnt", xticks=range(1, tasks + 1), ylim=(0, None))
right.legend(frameon=False, handlelength=5)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
figure.savefig("linear_regression.png", dpi=110)
console.print("picture: linear_regression.png")

# %% [markdown]
# ## When the truth changes: a rule
#
# Remembering everything is wrong when the world has changed. Here the rows come six times over, and after the third
# the line turns round. The exact step now averages two truths. A *rule* says **when** to act (the losses drift),
# **what** to do (teach a new line on the latest 200 rows), and **whether** to dare: the new line stands trial on the
# rows that follow, beside the old one, and takes its place only if it proves better on these.
#
# `backtest` runs the rule on past rows, and beside it no rule at all.

# %%
again = np.tile(shuffled, 6)
turned = np.where(np.arange(len(again)) < 3 * n, y[again], 4 - y[again])
pipeline = rt.Pipeline(
    stream=rt.streams.arrays(x[again, None], turned),
    learner=normal_learner(),
    rules=[
        rt.Rule(
            name="new line",
            when=rt.OnDrift(rt.detectors.ADWIN()),
            do=rt.Retrain(last=200),
            gate=rt.Better(largest=None),  # distances have no bound
        )
    ],
    step=100,
)
tried = pipeline.backtest(window=300).traces
for name, trace in tried.items():
    console.print(f"{name}: mean absolute error {trace.loss:.2f}, {trace.count('promoted')} promoted")
for deed in tried["rules"].deeds:
    console.print(f"  after {deed.rows:,} rows, {deed}")
assert tried["rules"].count("promoted") == 1
assert tried["rules"].loss < 0.5 * tried["no rules"].loss

# %% [markdown]
# ## What to take away
#
# - A **gradient step** knows only the rows in front of it. It needs a rate, many passes, and something that remembers
#   for it.
# - A **normal-equation step** carries the sums of all rows. It needs neither rate nor passes, forgets nothing, and
#   the order of rows does not matter. The price is a matrix of the width squared: fine for hundreds of features, not
#   for millions of weights.
# - **Consolidation** is how a gradient learner borrows that memory: exactly for a line, approximately for anything
#   else.
# - In `retain`, how rows are cut into chunks never matters, and every learner has the same verb, so the two are
#   exchanged by changing one line.
# - Where the truth changes, memory is no virtue: a **rule** begins anew, and only on evidence.
