"""What a head answers by as a layer against what its scores say."""

import numpy as np
import pytest
import torch

from retain.errors import SettingError
from retain.scores import Scores
from retain.strategies.layers import Nearest, Votes


@pytest.mark.parametrize(("link", "k"), [("odds", 1), ("rest", 3), ("softmax", 3), ("shares", 3)])
@pytest.mark.parametrize("beyond", [0, 2])
def test_votes_are_answers_whatever_the_link(link, k, beyond):
    rng = np.random.default_rng(0)
    scores = Scores(rng.normal(size=(k, 5)), rng.normal(size=k), link)
    x = rng.normal(size=(200, 5)).astype(np.float32)
    said = Votes(scores, outputs=scores.classes + beyond)(torch.from_numpy(x)).softmax(1).numpy()
    np.testing.assert_allclose(said[:, : scores.classes], scores.answers(x), atol=1e-6)
    assert not said[:, scores.classes :].any()
    if link == "shares":  # among the rows are some for which nobody votes
        assert (scores.answers(x) == 1 / 3).all(axis=1).any()


def test_distances_stay_exact_where_they_are_small():
    means = torch.nn.functional.normalize(torch.randn((3, 64), generator=torch.Generator().manual_seed(0)))
    x = means * torch.tensor([[1.0], [7.0], [1e3]])
    assert float(Nearest(means, outputs=3)(x).diagonal().abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"link": "numbers"}, "scores of numbers"), ({"link": "softmax", "low": np.zeros(2)}, "scores within bounds")],
)
def test_what_is_no_vote_is_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        Votes(Scores(np.zeros((2, 3)), np.zeros(2), **settings), outputs=2)
