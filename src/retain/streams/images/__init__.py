"""The public image sets that continual learning is tried on, as `TrainTest` of bytes: images are (n, c, h, w) uint8.

Given a folder, a loader reads what lies there, as it was published, packed or not. Given none, it keeps the files in
the user's cache and downloads what is missing from the set's usual address, checked against what the publisher says.
"""

from __future__ import annotations

# Bound here and not on first use: some functions share their names with the modules they live in.
from retain.streams.images.cifar import cifar10, cifar100
from retain.streams.images.mnist import fashion_mnist, kmnist, mnist
from retain.streams.images.omniglot import omniglot
from retain.streams.images.pictures import pictures
from retain.streams.images.svhn import svhn

__all__ = ["cifar10", "cifar100", "fashion_mnist", "kmnist", "mnist", "omniglot", "pictures", "svhn"]
