"""A window against Python's own deque."""

from collections import deque

import torch

from retain.core import Rows
from retain.memory import Bytes, Ring


def test_it_holds_the_last_rows_oldest_first():
    memory, expected = Ring(7), deque(maxlen=7)
    start = 0
    for n in (1, 3, 5, 0, 2, 20, 7, 6):
        x = torch.arange(start, start + n)[:, None]
        memory.add(Rows(x, torch.arange(n), torch.ones(n)))
        expected.extend(range(start, start + n))
        start += n
        assert memory.rows().x[:, 0].tolist() == list(expected)
        assert memory.sample(7).x[:, 0].tolist() == list(expected)


def test_with_less_room_the_newest_stay():
    # x, y and weight are 20 bytes, a logit 4: 12 rows of 2 logits, 10 of 5
    memory = Ring(Bytes(400))
    x = torch.arange(30)[:, None]
    rows = Rows(x, torch.zeros(30, dtype=torch.int64), torch.ones(30), {"logits": torch.ones(30, 2)})
    memory.add(rows)
    assert memory.rows().x[:, 0].tolist() == list(range(16, 30))
    memory.add(Rows(x[:3], rows.y[:3], rows.weight[:3], {"logits": torch.ones(3, 5)}))
    assert memory.rows().x[:, 0].tolist() == [*range(23, 30), 0, 1, 2]
    assert memory.rows().extra["logits"].sum(1).tolist() == [2.0] * 7 + [5.0] * 3
