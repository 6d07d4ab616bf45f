"""Product quantisation against k-means written with loops, and against what it is for."""

import numpy as np
import pytest
import torch

from retain import memory as rm
from retain.core import Rows
from retain.errors import SettingError
from retain.memory.product import codebooks, kmeans, nearest

torch.set_num_threads(1)


def test_kmeans_is_lloyds():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    centres = np.vstack([x[:4], [[99.0, 99, 99]]])  # the last never has a row, and stays
    got = kmeans(torch.from_numpy(x), torch.from_numpy(centres), rounds=7)
    for _ in range(7):
        of = [int(np.argmin([((row - c) ** 2).sum() for c in centres])) for row in x]
        centres = np.array(
            [x[[i for i in range(60) if of[i] == k]].mean(0) if k in of else centres[k] for k in range(5)]
        )
    np.testing.assert_allclose(got.numpy(), centres, atol=1e-12)


def test_codes_do_not_depend_on_how_many_rows_there_are():
    x = torch.randn(300, 4, 9)
    words = codebooks(x, 32, rounds=3, seed=1)
    whole = nearest(x, words)
    assert torch.equal(whole, torch.cat([nearest(part, words) for part in x.split(7)]))
    assert torch.equal(whole, torch.cat([nearest(part, words) for part in x.split(1)]))
    expected = ((x[:, :, None] - words[None]) ** 2).sum(3).argmin(2)
    assert (whole == expected).float().mean() > 0.999


def test_features_of_few_degrees_of_freedom_survive():
    """32 bytes for 128 floats with 8 degrees of freedom: what is lost is a fifth of the variance at most."""
    torch.manual_seed(0)
    features = torch.randn(2_000, 8) @ torch.randn(8, 128)
    memory = rm.Ring(1_000, store=rm.ProductQuantised(32, codewords=64, rows=800))
    memory.add(Rows(features, torch.zeros(2_000).long(), torch.ones(2_000)))
    lost = (memory.rows().x - features[1_000:]).square().mean() / features.square().mean()
    assert lost < 0.2
    assert memory.state_dict()["slots"]["columns"]["x"].nbytes == 32_000


def test_settings_that_make_no_sense():
    with pytest.raises(SettingError, match="expected one part or more"):
        rm.ProductQuantised(0)
    with pytest.raises(SettingError, match="10 numbers cannot be cut into 3 equal parts"):
        rm.Ring(9, store=rm.ProductQuantised(3, codewords=2, rows=2)).add(
            Rows(torch.ones(3, 10), torch.zeros(3).long(), torch.ones(3))
        )
