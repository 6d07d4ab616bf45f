"""Readers of the public image sets: from folders, from archives, by download that is checked; damage is told."""

import gzip
import hashlib
import struct
import tarfile
import zipfile
from importlib import import_module
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from retain.errors import SettingError, SourceError
from retain.streams import images
from retain.streams.images.download import Published, cache, found

mnist, cifar, omniglot = (import_module(f"retain.streams.images.{name}") for name in ("mnist", "cifar", "omniglot"))
RNG = np.random.default_rng(0)
NAMES = [file.name for file in mnist._MNIST]


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


X, Y = RNG.integers(0, 256, (30, 28, 28)), np.arange(30) % 10
FILES = dict(zip(NAMES, map(idx, (X, Y, X[:10], Y[:10])), strict=True))


def lay(folder, *, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        path = folder / (name if packed else name.removesuffix(".gz"))
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def png(pixels):
    out = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_from_a_folder_packed_or_not(tmp_path, packed):
    data = images.mnist(lay(tmp_path, packed=packed))
    assert data.train.x.dtype == np.uint8
    assert (data.train.x[:, 0] == X).all()
    assert (data.train.y == Y).all()
    assert (data.test.x[:, 0] == X[:10]).all()
    assert data.classes == tuple("0123456789")


def test_a_file_that_is_missing_is_told_with_its_address(tmp_path):
    lay(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    with pytest.raises(SourceError, match=r"no train-labels.*ossci-datasets.*give no folder"):
        images.mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG....", "expected an IDX file"),
        (FILES[NAMES[0]][:-5], "expected .30, 28, 28. by its head"),
        (gzip.compress(FILES[NAMES[0]])[:-40], "cut off|damaged"),
    ],
)
def test_a_damaged_file_is_told(tmp_path, content, says):
    lay(tmp_path)
    (tmp_path / NAMES[0]).write_bytes(content)
    with pytest.raises(SourceError, match=says):
        images.mnist(tmp_path)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A mirror whose files have the checksums that are expected, and an empty cache."""
    mirror = lay(tmp_path / "mirror")
    sums = [md5(content) for content in FILES.values()]
    monkeypatch.setattr(mnist, "_MNIST", mnist._files("https://example.invalid", content=sums))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return mirror


def test_without_a_folder_files_are_downloaded_checked_and_kept(published):
    data = images.mnist(mirror=published.as_uri())
    assert (data.train.x[:, 0] == X).all()
    assert sorted(path.name for path in cache("mnist").iterdir()) == sorted(NAMES)
    for path in published.iterdir():
        path.unlink()
    assert (images.mnist(mirror=published.as_uri()).train.y == Y).all()  # from the cache


def test_the_checksum_is_of_the_content_however_it_is_packed(published):
    for name, content in FILES.items():
        (published / name).write_bytes(gzip.compress(content, compresslevel=1, mtime=12345))
    assert len(images.mnist(mirror=published.as_uri()).train) == 30


def test_what_was_not_published_is_not_kept(published):
    wrong = bytearray(FILES[NAMES[2]])
    wrong[100] ^= 1
    (published / NAMES[2]).write_bytes(gzip.compress(bytes(wrong)))
    with pytest.raises(SourceError, match=r"t10k-images.*MD5.*expected"):
        images.mnist(mirror=published.as_uri())
    assert sorted(path.name for path in cache("mnist").iterdir()) == sorted(NAMES[:2])


@pytest.mark.parametrize("mirror", ["file:///nowhere/at/all", "http://127.0.0.1:9/mnist", "ftp://example.invalid"])
def test_an_address_that_does_not_answer_is_told(published, mirror):
    with pytest.raises(SourceError, match="cannot download"):
        images.mnist(mirror=mirror)


def test_packed_checksums_are_of_the_file_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file.bin").write_bytes(gzip.compress(b"content"))
    address = tmp_path.as_uri()
    whole = md5((tmp_path / "file.bin").read_bytes())
    assert found([Published("file.bin", address, packed=whole)], None, cached="set")[0].is_file()
    content = md5(b"content")
    with pytest.raises(SourceError, match="MD5"):
        found([Published("file.bin", address, packed=content)], None, cached="other")


def records(labels, n):
    rows = RNG.integers(0, 256, (n, labels + 3072)).astype(np.uint8)
    rows[:, :labels] %= 10
    rows[:10, labels - 1] = np.arange(10)
    return rows


def test_cifar_from_its_archive_and_from_its_files(tmp_path):
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    parts = {name: records(1, 12) for name in names}
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, rows in parts.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = rows.nbytes
            archive.addfile(member, BytesIO(rows.tobytes()))
    packed = images.cifar10(tmp_path)
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz") as archive:
        archive.extractall(tmp_path / "loose", filter="data")
    loose = images.cifar10(tmp_path / "loose")
    for data in (packed, loose):
        assert (data.train.x.reshape(60, -1) == np.concatenate([parts[n] for n in names[:5]])[:, 1:]).all()
        assert (data.test.y == parts["test_batch.bin"][:, 0]).all()
        assert data.classes[3] == "cat"


def test_cifar_100_takes_the_fine_labels(tmp_path):
    rows = records(2, 100)
    (tmp_path / "train.bin").write_bytes(rows.tobytes())
    (tmp_path / "test.bin").write_bytes(rows.tobytes())
    (tmp_path / "fine_label_names.txt").write_text("\n".join(f"thing{i}" for i in range(100)))
    data = images.cifar100(tmp_path)
    assert (data.train.y == rows[:, 1]).all()
    assert data.classes[7] == "thing7"
    (tmp_path / "test.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(SourceError, match="multiple of 3074"):
        images.cifar100(tmp_path)


def test_the_pickled_version_is_not_read(tmp_path):
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    (tmp_path / "cifar-10-other.tar.gz").write_bytes(b"")
    with pytest.raises(SourceError, match="a pickle, which can run code"):
        images.cifar10(tmp_path)


def pictured(folder, *, test=True):
    for part in ("train", "test") if test else ("train",):
        for i in range(20):
            path = folder / part / ("cat" if i % 2 else "dog") / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(np.full((4, 5, 3), i)))
    return folder


@pytest.mark.parametrize("form", ["folder", "zip", "tar.xz"])
def test_pictures_from_a_folder_or_an_archive(tmp_path, form):
    folder = pictured(tmp_path / "set")
    path = folder
    if form == "zip":
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in folder.rglob("*.png"):
                archive.write(file, file.relative_to(tmp_path))
    elif form == "tar.xz":
        path = tmp_path / "set.tar.xz"
        with tarfile.open(path, "w:xz") as archive:
            archive.add(folder, "set")
    data = images.pictures(path)
    assert data.train.x.shape == (20, 3, 4, 5)
    assert data.classes == ("cat", "dog")
    assert ((data.train.x[:, 0, 0, 0] % 2 == 0) == (data.train.y == 1)).all()
    assert len(data.test) == 20


def test_pictures_without_a_test_part_are_held_out_and_other_sizes_refused(tmp_path):
    data = images.pictures(pictured(tmp_path, test=False))
    assert (len(data.train), len(data.test)) == (16, 4)
    (tmp_path / "train" / "cat" / "01.png").write_bytes(png(np.zeros((9, 9))))
    with pytest.raises(SourceError, match="one size"):
        images.pictures(tmp_path)
    (tmp_path / "train" / "cat" / "01.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"cannot read the picture .*01\.png"):
        images.pictures(tmp_path)
    with pytest.raises(SourceError, match="no pictures"):
        images.pictures(tmp_path / "train" / "dog")
    with pytest.raises(SourceError, match="cannot read"):
        images.pictures(tmp_path / "nothing.zip")


def test_omniglot_learns_15_drawings_and_is_tested_on_5(tmp_path):
    with zipfile.ZipFile(tmp_path / "images_background.zip", "w") as archive:
        for letter in ("character01", "character02"):
            for drawer in range(1, 21):
                drawing = np.full((105, 105), 255, np.uint8)
                drawing[:50] = 0  # ink
                archive.writestr(f"images_background/Greek/{letter}/0001_{drawer:02}.png", png(drawing))
    data = images.omniglot(tmp_path, size=21)
    assert data.train.x.shape == (30, 1, 21, 21)
    assert (data.train.x[:, 0, 0] == 255).all()
    assert (data.train.x[:, 0, -1] == 0).all()
    assert data.classes == ("Greek/character01", "Greek/character02")
    assert len(data.test) == 10
    with pytest.raises(SettingError, match="at least one pixel"):
        images.omniglot(tmp_path, size=0)


def test_svhn_from_its_matlab_files(tmp_path):
    io = pytest.importorskip("scipy.io")
    x, y = RNG.integers(0, 256, (32, 32, 3, 20)).astype(np.uint8), (np.arange(20) % 10 + 1)[:, None]
    for part in ("train", "test"):
        io.savemat(tmp_path / f"{part}_32x32.mat", {"X": x, "y": y})
    data = images.svhn(tmp_path)
    assert (data.train.x[3, 2] == x[:, :, 2, 3]).all()
    assert data.train.y.tolist() == (y[:, 0] % 10).tolist()
    (tmp_path / "test_32x32.mat").write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match="copy it again"):
        images.svhn(tmp_path)


def test_the_sets_beside_the_repository_are_what_was_published(data):
    folder = data / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no MNIST at {folder}")
    for file in mnist._MNIST:
        content = gzip.decompress((folder / file.name).read_bytes())
        assert md5(content) == file.content
    found = images.mnist(folder)
    assert found.train.x.shape == (60_000, 1, 28, 28)
    assert np.bincount(found.test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_every_file_has_one_checksum():
    files = [*mnist._MNIST, *mnist._FASHION, *mnist._KMNIST, cifar._TEN, cifar._HUNDRED, *omniglot._FILES]
    assert all((file.content is None) != (file.packed is None) for file in files)
