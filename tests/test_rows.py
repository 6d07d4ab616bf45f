"""Rows as tensors: taken, joined, put down and read back."""

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'retain[torch]'")

from retain.core import Rows  # noqa: E402 - after the skip
from retain.errors import SettingError  # noqa: E402
from retain.rows import from_array, from_state, join, take, to_array, to_state  # noqa: E402
from retain.state import decode, encode  # noqa: E402


def rows(n: int, *, start: int = 0, **extra: torch.Tensor) -> Rows:
    number = torch.arange(start, start + n)
    return Rows(number[:, None].float().expand(n, 2), number, torch.ones(n), extra)


def test_a_slice_is_a_view_and_numbers_are_copied_in_the_given_order() -> None:
    whole = rows(5, logits=torch.arange(10.0).reshape(5, 2))
    part, picked = take(whole, slice(1, 3)), take(whole, torch.tensor([4, 0]))
    assert part.y.data_ptr() == whole.y[1:].data_ptr()
    assert picked.y.tolist() == [4, 0]
    assert picked.x.tolist() == [[4, 4], [0, 0]]
    assert picked.extra["logits"].tolist() == [[8, 9], [0, 1]]


def test_rows_are_joined_one_part_after_the_other() -> None:
    both = join([rows(2), rows(3, start=7)])
    assert both.y.tolist() == [0, 1, 7, 8, 9]
    assert len(both) == len(both.x) == len(both.weight) == 5


def test_parts_with_other_columns_are_not_joined() -> None:
    with pytest.raises(SettingError, match=r"extra columns.*'loss'.*give the same to all"):
        join([rows(2), rows(2, loss=torch.zeros(2))])
    with pytest.raises(SettingError, match="at least one block"):
        join([])


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.bool]
)
def test_tensors_of_every_type_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0.0, 1.0], [1.5, -2.0]]).to(dtype)
    entry = decode(encode({"t": to_array(tensor)}))["t"]
    back = from_array(entry)
    assert back.dtype is dtype
    assert torch.equal(back, tensor)


def test_what_was_put_down_shares_nothing_with_what_it_was_taken_from() -> None:
    tensor = torch.zeros(3)
    array = to_array(tensor)
    tensor += 1
    assert array.tolist() == [0, 0, 0]
    back = from_array(array)
    back += 1
    assert array.tolist() == [0, 0, 0]


def test_rows_travel_as_a_state() -> None:
    whole = rows(3, task=torch.tensor([1, 1, 2]))
    back = from_state(decode(encode(to_state(whole))))
    for name in ("x", "y", "weight"):
        assert torch.equal(getattr(back, name), getattr(whole, name))
    assert torch.equal(back.extra["task"], whole.extra["task"])
