"""Transforms that learn on the stream: each row is transformed with what was known before it.

One file per transform; `columns.py` reads and writes Arrow columns for all of them, `interner.py` numbers strings,
`keyed.py` remembers a bounded number of keys, `murmur.py` hashes.
"""
