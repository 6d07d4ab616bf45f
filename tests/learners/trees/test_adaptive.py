"""`HoeffdingAdaptiveTree` replaces what fails."""

import numpy as np

import retain as rt
from retain import blocks


def test_it_follows_a_drift_that_a_plain_tree_does_not():
    concepts = [rt.streams.RandomTree(seed=s, numeric=5, nominal=0) for s in (1, 2, 3)]
    stream = rt.streams.Recurring(concepts, every=10_000, n=30_000)
    accuracy = {}
    for make in (rt.HoeffdingTree, rt.HoeffdingAdaptiveTree):
        tree = make()
        right = [tree.learn(batch).argmax(1) == batch.y for batch in stream]
        accuracy[make] = np.concatenate(right)[20_000:].mean()
    assert accuracy[rt.HoeffdingAdaptiveTree] > accuracy[rt.HoeffdingTree] + 0.05


def test_without_drift_it_is_about_as_good_as_a_plain_tree():
    stream = rt.streams.Sine(seed=3, n=10_000, block=10_000)
    batch = next(iter(stream))
    plain, adaptive = (
        (make().learn(batch).argmax(1) == batch.y).mean() for make in (rt.HoeffdingTree, rt.HoeffdingAdaptiveTree)
    )
    assert adaptive > plain - 0.01


def test_trees_beside_are_part_of_the_state():
    """Saved while trees grow beside others, it goes on as if never stopped."""
    concepts = [rt.streams.RandomTree(seed=s, numeric=5, nominal=0) for s in (1, 2)]
    whole = blocks.concat_batches(list(rt.streams.Recurring(concepts, every=3000, n=9000)))
    batches = [blocks.take_batch(whole, slice(start, start + 100)) for start in range(0, 9000, 100)]
    through, resumed = rt.HoeffdingAdaptiveTree(), rt.HoeffdingAdaptiveTree()
    beside = 0
    for batch in batches:
        expected = through.learn(batch)
        again = rt.HoeffdingAdaptiveTree()
        again.load_state_dict(resumed.state_dict())
        resumed = again
        beside += int((resumed._errors.beside >= 0).any())
        assert (resumed.learn(batch) == expected).all()
    assert beside > 0
