"""Steps for linear and analytic learners: what goes, what stays, and what is refused."""

import numpy as np
import pytest
from tests.compression.light import BITS, bent, hashed, learnt, numbers, texts

import retain as rt
from retain.compression import Draft, FewerBits, Half, Int8, Lessons, Narrow, Truncate, ladder
from retain.errors import SettingError
from retain.testing.compare import same_state


def small(step, learner, *batches):
    before = learner.state_dict()
    made = step(Draft(learner), Lessons(batches, teacher=learner)).learner
    same_state(learner.state_dict(), before, 0.0, "its state")
    return made


@pytest.mark.parametrize("classes", [2, 4])
def test_truncate_takes_a_share_of_each_output(classes):
    learner = rt.Linear(loss=rt.Logistic(), update=rt.FTRL(), l1=0.5)
    learner.learn(numbers(2_000, classes=classes))
    whole, less = np.atleast_2d(learner.weights), np.atleast_2d(small(Truncate(0.5), learner).weights)
    before, after = np.count_nonzero(whole, axis=1), np.count_nonzero(less, axis=1)
    np.testing.assert_array_equal(after, before - np.rint(before / 2))
    kept = less != 0
    np.testing.assert_array_equal(less[kept], whole[kept])
    effects = learner.effects()
    for effect, stays, there in zip(effects, kept, whole != 0, strict=True):
        assert effect[stays].min() >= effect[there & ~stays].max()


def test_truncate_by_what_the_first_does():
    learner = learnt().learner
    effects = learner.effects()[0]
    less = small(Truncate(least=0.2), learner)
    np.testing.assert_array_equal(less.weights != 0, (learner.weights != 0) & (effects >= 0.2 * effects.max()))
    assert (Truncate(0.5).name, Truncate(least=0.2).name) == ("truncate 50%", "truncate below 0.2")


def test_truncate_counts_how_often_a_feature_comes():
    """Half of the weights by what they move cost less than half of them by size."""
    learner = learnt(update=rt.Adaptive(), l1=0.0)
    held = texts(4_000, seed=1)
    weights, state = learner.learner.weights, learner.learner.state_dict()
    there = np.flatnonzero(weights)
    gone = there[np.argsort(np.abs(weights[there]))[: round(0.7 * len(there))]]
    state["slots"][2, gone] = 0.0
    by_size = learnt(update=rt.Adaptive(), l1=0.0)
    by_size.learner.load_state_dict(state)
    right = [(one.predict(held.x).argmax(1) == held.y).mean() for one in (small(Truncate(0.7), learner), by_size)]
    assert right[0] > right[1] + 0.01


def test_fewer_bits_answer_rows_of_fewer_bits():
    learner = learnt()
    less = small(FewerBits(9, passes=0), learner, texts(100))
    held = texts(3_000, seed=1)
    assert less.transforms[0].apply(held.x).width == less.learner.weights.size == 512
    right = [(one.predict(held.x).argmax(1) == held.y).mean() for one in (less, learner)]
    assert right[0] > right[1] - 0.1
    rows = less.transforms[0].apply(held.x)
    np.testing.assert_array_equal(less.predict(held.x), less.learner.predict(rows))
    assert (learner.transforms[0].bits, FewerBits(9).name) == (BITS, "9 bits")


def test_fewer_bits_find_the_hash_in_nested_chains():
    nested = rt.Chain([rt.Select("text")], learnt())
    less = small(FewerBits(9), nested, texts(100))
    assert less.learner.transforms[0].bits == 9
    assert nested.learner.transforms[0].bits == BITS


@pytest.mark.parametrize(
    ("make", "bound"),
    [
        (lambda: rt.Ridge(batch_size=500), 1e-5),  # features are in float32
        (lambda: rt.SLDA(batch_size=500), 1e-5),
        (lambda: rt.NearestMean(batch_size=500), 1e-5),
        (rt.RLS, 1e-5),
        # Rows fall to other folds where features are others, and the folds choose another penalty.
        (lambda: rt.Ridge(l2=None, batch_size=1_000), 0.01),
    ],
)
def test_narrow_leaves_the_learner_that_had_only_ever_had_these(make, bound):
    learner = rt.RandomFeatures(60) | make()
    learner.learn(numbers(2_000))
    less = small(Narrow(0.6), learner)
    features = less.transforms[0]
    assert features.outputs == 24
    other = features.narrowed(np.arange(24)) | make()
    other.learn(numbers(2_000))
    x = numbers(300, seed=1).x
    np.testing.assert_allclose(less.predict(x), other.predict(x), atol=bound)
    more = numbers(500, seed=2)
    less.learn(more)
    other.learn(more)
    np.testing.assert_allclose(less.predict(x), other.predict(x), atol=bound)


def test_narrow_keeps_what_matters():
    """Half of the features, the best, answer better than half of them as they come."""
    learner, held = bent(300), numbers(4_000, seed=1)
    learner.learn(numbers(6_000))
    half = bent(150)
    half.learn(numbers(6_000))
    right = [(one.predict(held.x).argmax(1) == held.y).mean() for one in (small(Narrow(0.5), learner), half, learner)]
    assert right[0] > right[1] + 0.005
    assert right[0] > right[2] - 0.01


def test_a_narrow_artefact_comes_back_from_a_blank_parent():
    learner = bent(100)
    learner.learn(numbers(3_000))
    budget = rt.Within(accuracy=0.2, per_class=None)
    artifact = rt.compress(learner, Narrow(0.5), Half(), data=numbers(3_000, seed=1), budget=budget, seconds=0.01)
    other = rt.compression.Artifact(bent(100))
    other.load_state_dict(artifact.state_dict())
    x = numbers(50, seed=2).x
    np.testing.assert_array_equal(other.predict(x), artifact.predict(x))
    more = other.resume()
    more.learn(numbers(500, seed=3))
    assert more.transforms[0].outputs == 50
    other.patch(more)
    np.testing.assert_allclose(other.predict(x), more.predict(x), atol=1e-2)
    costs = {rung.name: rung.cost.multiply_adds for rung in artifact.report.rungs if rung.cost}
    assert (costs["parent"], costs["narrow 50%"]) == (100 * 8 + 100 * 3, 50 * 8 + 50 * 3)


def test_every_kind_has_its_ladder():
    names = [[step.name for step in ladder(learner)] for learner in (learnt(), _learnt(bent()), _learnt(rt.RLS()))]
    truncated = ["truncate 10%", "truncate 25%", "truncate 50%"]
    assert names == [
        ["float16", "int8", *truncated, f"{BITS - 2} bits", f"{BITS - 4} bits"],
        ["float16", "int8", "narrow 50%", "narrow 50%", "narrow 25%", "narrow 25%"],
        ["float16", "int8"],
    ]


def test_patch_refuses_another_shape_of_what_is_in_front():
    learner = bent(100)
    learner.learn(numbers(3_000))
    budget = rt.Within(accuracy=0.2, per_class=None)
    artifact = rt.compress(learner, Narrow(0.5), data=numbers(3_000, seed=1), budget=budget, seconds=0.01)
    x = numbers(50, seed=2).x
    before = artifact.predict(x)
    with pytest.raises(SettingError, match="another chain"):
        artifact.patch(learner)
    np.testing.assert_array_equal(artifact.predict(x), before)


def _learnt(learner):
    learner.learn(numbers(1_000))
    return learner


@pytest.mark.parametrize(
    ("step", "learner", "told"),
    [
        (Truncate(0.5), rt.RLS, "Truncate takes weights of an rt.Linear; got RLS"),
        (FewerBits(4), rt.Linear, "right behind an rt.Hash; got NoneType in front of it"),
        (FewerBits(4), lambda: rt.Scale() | rt.Linear(), "right behind an rt.Hash; got Scale in front of it"),
        (FewerBits(BITS), learnt, f"Hash of {BITS} bits got bits={BITS}; expected fewer"),
        (Narrow(0.5), rt.RLS, "SLDA or NearestMean; got NoneType there"),
        (Narrow(0.5), lambda: rt.Scale() | rt.RLS(), "got Scale there"),
        (Narrow(0.1), lambda: _learnt(bent(4)), "takes none of 4 features away"),
        (Narrow(0.5), lambda: _learnt(rt.RandomFeatures(9) | rt.RLS(forgetting=0.9)), "narrowed exactly"),
        (FewerBits(4), hashed, "Linear has learnt nothing yet"),
        (
            Narrow(0.5),
            lambda: rt.RandomFeatures(9) | rt.FeCAM(),
            "in front of Ridge, RLS, SLDA or NearestMean; got FeCAM",
        ),
    ],
)
def test_what_a_step_needs_is_said(step, learner, told):
    with pytest.raises(SettingError, match=told):
        step(Draft(learner()), Lessons([], teacher=learner()))


@pytest.mark.parametrize(
    "make",
    [
        Truncate,
        lambda: Truncate(0.5, least=0.1),
        lambda: Truncate(1.0),
        lambda: Truncate(least=0.0),
        lambda: FewerBits(0),
        lambda: FewerBits(4, passes=-1),
        lambda: Narrow(0.0),
        lambda: Narrow(1.0),
    ],
)
def test_settings_out_of_range(make):
    with pytest.raises(SettingError, match="expected"):
        make()


def test_who_cannot_be_compressed_is_told_what_can():
    fecam = rt.FeCAM(batch_size=50)
    fecam.learn(numbers(600))
    for learner in (fecam, rt.NoChange(), rt.Hedge(rt.Linear())):
        with pytest.raises(
            SettingError, match=r"one weight for each feature \(Linear, Ridge.*got (FeCAM|NoChange|Hedge)"
        ):
            rt.compress(learner, Half(), data=numbers(2_000), seconds=0.01)
    with pytest.raises(SettingError, match="RLS has learnt nothing yet"):
        rt.compress(rt.RLS(), Int8(), data=numbers(2_000), seconds=0.01)
