"""Stores keep to the errors that they state."""

import pytest
import torch

from retain import memory as rm
from retain.core import Rows
from retain.errors import PoisonError, SettingError

torch.set_num_threads(1)


def through(store, x):
    book = store.book(x)
    return store.decode(store.encode(x, book), book, like=x[:0])


def test_uint8_is_within_half_a_step():
    x = torch.rand(200, 30) * 7 - 3
    got = through(rm.UInt8(-3.0, 4.0), x)
    assert (got - x).abs().max() <= 7 / 510 + 1e-6
    assert got.dtype == torch.float32
    fitted = through(rm.UInt8(rows=200), x)
    assert (fitted - x).abs().max() <= (x.max() - x.min()) / 510 + 1e-6
    # put down again, it stays where it is
    assert torch.equal(through(rm.UInt8(-3.0, 4.0), got), got)


def test_uint8_images_come_back_exactly():
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    x = image.float() / 255
    assert torch.equal((through(rm.UInt8(0.0, 1.0), x) * 255).round().to(torch.uint8), image)


def test_uint8_holds_to_the_ends_outside():
    got = through(rm.UInt8(0.0, 1.0), torch.tensor([[-5.0, 0.2, 7.0]]))
    assert got[0].tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_uint8_of_rows_that_are_all_alike():
    memory = rm.Ring(5, store=rm.UInt8(rows=3))
    memory.add(Rows(torch.full((4, 2), 0.3), torch.zeros(4).long(), torch.ones(4)))
    assert torch.equal(memory.rows().x, torch.full((4, 2), 0.3))


def test_uint8_keeps_the_first_rows_as_they_are_until_it_is_fitted():
    x = torch.rand(9, 4)
    memory = rm.Ring(20, store=rm.UInt8(rows=6))
    memory.add(Rows(x[:5], torch.zeros(5).long(), torch.ones(5)))
    assert torch.equal(memory.rows().x, x[:5])
    memory.add(Rows(x[5:], torch.zeros(4).long(), torch.ones(4)))
    assert memory.state_dict()["slots"]["columns"]["x"].dtype == "uint8"
    assert memory.state_dict()["slots"]["book"]["high"] == x[:6].max().item()


def test_half_is_off_by_one_part_in_2048():
    x = torch.randn(300, 20) * torch.logspace(-3, 4, 20)
    assert ((through(rm.Half(), x) - x).abs() <= x.abs() / 2048 + 3e-8).all()
    assert through(rm.Half(), torch.tensor([[1e30, -1e30]])).tolist() == [[65504.0, -65504.0]]


@pytest.mark.parametrize("store", [rm.UInt8(0, 1), rm.Half(), rm.ProductQuantised(2, codewords=2, rows=2)])
def test_codes_of_words_are_not_made_smaller(store):
    with pytest.raises(PoisonError, match=r"got inputs of torch.int64; .* Plain\(\)"):
        rm.Ring(5, store=store).add(Rows(torch.ones(3, 4).long(), torch.zeros(3).long(), torch.ones(3)))


def test_settings_that_make_no_sense():
    for make in (lambda: rm.UInt8(1.0), lambda: rm.UInt8(1.0, 1.0), lambda: rm.UInt8(rows=0)):
        with pytest.raises(SettingError):
            make()
