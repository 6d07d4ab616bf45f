from collections import OrderedDict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retain.features.keyed import Keyed, find, touch


@given(st.lists(st.integers(0, 40), max_size=300), st.sampled_from([1, 3, 16, 1000]), st.integers(1, 5))
@settings(deadline=None)
def test_the_key_written_longest_ago_is_forgotten_as_in_an_ordered_dictionary(keys, limit, spread):
    keyed, values, oracle = Keyed(limit=limit), {}, OrderedDict()
    for step, number in enumerate(keys):
        key = np.uint64(number * 4096 + number % spread)  # keys that fall into few places of the table
        slot, new = touch(key, *keyed.arrays, limit)
        if slot < 0:
            keyed.grow()
            slot, new = touch(key, *keyed.arrays, limit)
        assert new == (int(key) not in oracle)
        values[slot] = step
        oracle[int(key)] = step
        oracle.move_to_end(int(key))
        if len(oracle) > limit:
            oracle.popitem(last=False)
        assert [int(keyed.keys[s]) for s in keyed.order()] == list(oracle)
    for number in range(41):
        key = np.uint64(number * 4096 + number % spread)
        slot = find(key, keyed.keys, keyed.table)
        assert (values[slot] if slot >= 0 else None) == oracle.get(int(key))
    again = Keyed(limit=limit)
    again.load(keyed.keys[keyed.order()])
    assert again.keys[again.order()].tolist() == list(oracle)
