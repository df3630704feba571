"""What people had on their disks and typed elsewhere, tried here: each case says in plain words what, and what comes of it."""

import errno
import io
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import nbformat
import pandas as pd
import pytest
import torch
import torchvision.datasets
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image
from tests import test_foreign
from typer.testing import CliRunner

import pairs
import smooth_interpolation as si
from smooth_interpolation import book, claims, cli, config, figures, files, locations, your_network
from smooth_interpolation.book import pages
from smooth_interpolation.book.board import Board
from smooth_interpolation.data import datasets
from smooth_interpolation.errors import UserError
from smooth_interpolation.figures import alt_text
from smooth_interpolation.measure import anchors
from smooth_interpolation.runs import record_format, store, weights
from smooth_interpolation.train import models
from smooth_interpolation.your_network import images as your_data

TEN = "abcdefghij"
BOOK = locations.repository() / "book"
PARAMS = locations.params_file("demo", "convnet-noise20")


class World:
    """An empty directory for images, a cache, and nothing else."""

    def __init__(self, root, caplog, recwarn):
        self.root, self.data, self.caplog, self.recwarn = root, root / "data", caplog, recwarn
        self.data.mkdir()

    def write(self, place, *names):
        """Images of one colour that says their class, for `x.png`; folders for `x/`; links for `x -> y`; else empty files."""
        for name in names:
            name, _, target = name.partition(" -> ")
            path = place / name
            (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
            if target:
                path.symlink_to(target)
            elif name.endswith((".png", ".bmp")) and not path.name.startswith("."):
                path.write_bytes(picture(path.parent.name, path.suffix[1:]))
            elif not name.endswith("/"):
                path.touch()
        return place

    def said(self):
        return " ".join([*self.caplog.messages, *(str(warning.message) for warning in self.recwarn)])


def picture(label, kind="png"):
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (TEN.index(label[0]) if label[0] in TEN else 99,) * 3).save(buffer, kind)
    return buffer.getvalue()


def both(*names, splits=("train", "test")):
    return [f"{split}/{name}" for split in splits for name in names]


def classes(labels, images):
    """The labels that images of each colour have, in the order of the colours: of the first ten letters, 0123456789."""
    return "".join(
        str(label) for _, label in sorted(zip(images.flatten(1)[:, 0].tolist(), labels.tolist(), strict=True))
    )


def load(*names, name="pets", at="pets"):
    def try_it(world):
        world.write(world.data / at, *names)
        train = datasets.load(name).train
        return classes(train.labels, train.images)

    return try_it


def load_zip(*names, at="pets.zip", name="pets"):
    def try_it(world):
        with zipfile.ZipFile(world.data / at, "w") as archive:
            for entry in names:
                archive.writestr(entry, picture(Path(entry).parent.name) if entry.endswith(".png") else b"")
        train = datasets.load(name).train
        return classes(train.labels, train.images)

    return try_it


def examine(*names, at=""):
    def try_it(world):
        images, labels, _, _ = your_data.read(world.write(world.root / "mine", *names) / at)
        return classes(labels, (255 * images).round().byte())

    return try_it


def measured(letters, n_outputs):
    """A folder of these classes, and a network of so many outputs."""

    def try_it(world):
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, n_outputs))
        place = world.write(world.root / "mine", *of(letters))
        return len(your_network.examine(network, place, n_points=2, n_paths=1, n_tangents=1, strengths=(2,)).points)

    return try_it


def of(letters, more=""):
    return [f"{letter}{more}/0.png" for letter in letters]


def elsewhere(*made, then):
    """Make several things in the data directory, and then try something."""

    def try_it(world):
        for at, names in made:
            world.write(world.data / at, *names)
        return then(world)

    return try_it


def replaced(path, change, *, at="pets"):
    """Load, replace a file by another of the same size and nearly the same time, and load again."""

    def try_it(world):
        world.write(world.data / at, *(name.replace(".png", ".bmp") for name in CIFAR))
        before = datasets.load("pets")
        there = world.data / at / path
        status = there.stat()
        there.write_bytes(change)
        os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
        assert there.stat().st_size == status.st_size
        after = datasets.load("pets")
        return int((before.train.images[before.train.labels == 0] != after.train.images[after.train.labels == 0]).sum())

    return try_it


def moved_cache(world):
    """Two data directories, each with images of the same names and sizes, one after the other."""
    found = []
    for letters in (TEN, TEN[::-1]):
        os.environ[locations.DATA_VARIABLE] = str(world.root / letters)
        for split in ("train", "test"):
            for name, colour in zip(TEN, letters, strict=True):
                path = world.root / letters / "pets" / split / name / "0.bmp"
                path.parent.mkdir(parents=True)
                path.write_bytes(picture(colour, "bmp"))
                os.utime(path, (0, 0))
        train = datasets.load("pets").train
        found.append(classes(train.labels, train.images))
    return found


def weights_of_two_sets_of_images(world):
    """Networks of one run, trained on images of one name and different content: whose weights are given back."""
    run = config.find("demo", "convnet-noise20", {"epochs": 3}).run(2, 1)
    for i, fingerprint in enumerate(("a" * 64, "b" * 64)):
        weights.save_network(models.create("convnet", 2, 10, seed=i), run, fingerprint)
    given = [weights.network(run, fingerprint).state_dict() for fingerprint in ("a" * 64, "b" * 64)]
    own = [models.create("convnet", 2, 10, seed=i).state_dict() for i in (0, 1)]
    same = [all(torch.equal(one[name], other[name]) for name in one) for one, other in zip(given, own, strict=True)]
    with pytest.raises(UserError, match="No weights"):
        weights.network(run, "c" * 64)
    return same


def weights_of_nobody_knows_what(world):
    run = config.find("demo", "convnet-noise20", {"epochs": 3}).run(2, 1)
    weights.save_network(models.create("convnet", 2, 10, seed=0), run)
    weights.network(run, "a" * 64)


def paths_of(world):
    """Files in the cache of paths after sets of images and settings: the same pixels are found again, others are not."""
    images = torch.arange(2 * 3 * 64, dtype=torch.uint8).view(2, 3, 8, 8)
    settings = {"strengths": [1, 2], "n_paths": 2, "n_tangents": 1, "seed": 0}
    counts = []
    for change, more in ((0, {}), (0, {}), (1, {}), (0, {"seed": 1}), (0, {"path_kind": "shift"})):
        list(anchors.shared(images + change, **{**settings, **more}))
        counts.append(len(list((locations.cache() / "neighbourhoods").iterdir())))
    return counts


def pair(*damages):
    """Edit a page, do something to its notebook afterwards, and write the pair twice: is the text kept, and shown; is all quiet?"""

    def try_it(world):
        text, notebook = world.root / "fig3.md", world.root / "fig3.ipynb"
        for path in (text, notebook):
            shutil.copy(BOOK / path.name, path)
        before = json.loads(notebook.read_text())
        for number, cell in enumerate(before["cells"]):
            cell["id"] = f"older-{number}"  # than those that are made of the text
        notebook.write_text(json.dumps(before))
        text.write_text(text.read_text() + "\nAn edit.\n\nTwice.\n\n+++\n\nTwice.\n")
        edited = text.read_bytes()
        for damage in damages:
            damage(notebook)
        os.utime(notebook, (2**31, 2**31))
        pairs.main([str(notebook)])
        written = notebook.read_bytes()
        pairs.main([str(text)])
        page = nbformat.reads(written.decode(), as_version=4)
        nbformat.validate(page)
        kept = {cell["id"] for cell in before["cells"]}
        return (
            text.read_bytes() == edited and "An edit." in page.cells[-2].source and page.cells[-1].source == "Twice.",
            notebook.read_bytes() == written,
            any(cell.get("outputs") or cell.get("execution_count") for cell in page.cells),
            len(kept & {cell.id for cell in page.cells}) > len(kept) / 2,
        )

    return try_it


def executed(notebook):
    page = nbformat.read(notebook, as_version=4)
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = 1, [nbformat.v4.new_output("stream", text="1")]
    page.metadata["language_info"] = {"name": "python", "version": "3.11.9"}
    nbformat.write(page, notebook)


def in_another_order(notebook):
    page = json.loads(notebook.read_text())
    notebook.write_text(json.dumps(dict(reversed(page.items()))))


def unchanged_pages(world):
    """All pages of this book, whose notebooks were touched: what is written, and which files are changed."""
    for path in BOOK.glob("*"):
        if path.suffix in (".md", ".ipynb"):
            shutil.copy(path, world.root)
    before = {path: path.read_bytes() for path in world.root.glob("*.*") if path.suffix in (".md", ".ipynb")}
    pairs.main([str(path) for path in before])
    return [path.name for path, content in before.items() if path.read_bytes() != content]


def book_without_links(world):
    """`make book`'s command over a book whose links came as text files."""
    (world.root / "book").mkdir()
    for name, content in (("_toc.yml", "format: jb-book\nroot: index\n"), ("_config.yml", "title: Mine\n")):
        (world.root / name).write_text(content)
        (world.root / "book" / name).write_text(f"../{name}")
    (world.root / "book/index.md").write_text("# Hello\n")
    (command,) = re.findall(r"\$\(BIN\)/(jupyter-book build book --config .*)", (BOOK.parent / "Makefile").read_text())
    program, *rest = shlex.split(command.replace("$(CURDIR)", str(world.root)))
    result = subprocess.run([Path(sys.executable).with_name(program), *rest], cwd=world.root, capture_output=True)
    return result.returncode, "Mine" in (world.root / "book/_build/html/index.html").read_text()


def typed(*words):
    """A command of the terminal, from a directory that has nothing to do with the project."""

    def try_it(world):
        result = CliRunner().invoke(cli.app, [str(word) for word in words])
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return try_it


def at_home(then):
    """`~` is a directory with images, a params file, and nothing else."""

    def try_it(world):
        home = Path(os.environ["HOME"])
        world.write(home / "mine", *of(TEN))
        world.write(home / "data" / "pets", *CIFAR)
        shutil.copy(PARAMS, home / "mine.yaml")
        return then(world)

    return try_it


def data_at_home(world):
    os.environ[locations.DATA_VARIABLE] = "~/data"
    return len(datasets.load("pets").train)


def examined_at(place):
    return lambda world: len(your_data.read(place)[0])


def records_at_home(world):
    run = config.load("~/mine.yaml").run(1, 0)
    home = Path(os.environ["HOME"])
    os.environ[locations.RESULTS_VARIABLE] = "~/more"
    places = store.path_of(run, Path("~/records")), store.path_of(run)
    return [place.relative_to(home).parts[0] for place in places]


def figure_at_home(world):
    figures.save(Figure(), Path("~/drawn.svg"))
    return (Path(os.environ["HOME"]) / "drawn.svg").stat().st_size > 0


def unwritten(number):
    """A record that the disk does not take, for a reason of the system's."""

    def try_it(world):
        run = config.load(PARAMS).run(1, 0)
        with (
            mock.patch.object(record_format, "encode", return_value=b""),
            mock.patch.object(files, "write_atomically", side_effect=OSError(number, os.strerror(number))),
        ):
            store.write({}, run)

    return try_it


def dry(params, *make):
    """A dry run in a process of its own: what it says, and what is on the disk then that was not."""

    def try_it(world):
        world.write(world.data / "cifar10", *make) if make else None
        before = set(world.root.rglob("*"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "SMOOTH", "MPL"))}
        places = {locations.DATA_VARIABLE: str(world.data), locations.RESULTS_VARIABLE: str(world.root / "results")}
        command = [sys.executable, "-B", "-m", "smooth_interpolation.cli", "sweep", params, "--dry-run"]
        run = subprocess.run(command, cwd=world.root, env=kept | places, capture_output=True, text=True)
        said = run.stdout + run.stderr
        return "Nothing was started" in said or "would be done" in said or said, set(world.root.rglob("*")) - before

    return try_it


def papermill(page, *words):
    """A page of this book, executed with parameters: the last line of what it says, if it fails."""

    def try_it(world):
        command = [sys.executable, "-m", "papermill", BOOK / f"{page}.ipynb", world.root / "out.ipynb", *words]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise UserError(run.stderr.strip().splitlines()[-1])
        return run.returncode

    return try_it


def scale_given(**names):
    """What every page does with parameters, by its first cells: takes a scale, refuses in one sentence, or neither."""

    def try_it(world):
        found = {}
        cell = "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in names.items())
        for path in sorted(BOOK.glob("*.ipynb")):
            codes = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
            if "parameters" in codes[0].metadata.get("tags", []):
                said = "scale =" in codes[0].source and "demo" in codes[0].source and "laptop" in codes[0].source
                found[path.stem] = "takes" if said else "does not say so"
                continue
            space = {"In": ["", cell]}
            try:
                exec(codes[0].source, space)
                found[path.stem] = "ignores"
            except UserError as error:
                found[path.stem] = "refuses" if f"{', '.join(names)} cannot be set" in str(error) else str(error)
        return {word: sum(value == word for value in found.values()) for word in found.values()}

    return try_it


def readme_on_scales(world):
    """Whether the notebooks that README says take a scale are those that have parameters."""
    (said,) = re.findall(r"`-p scale \.\.\.` chooses.*?refuse them", (BOOK.parent / "README.md").read_text(), re.DOTALL)
    named = {path.stem for name in re.findall(r"`([\w*-]+)`", said) for path in BOOK.glob(f"{name}.md")}
    named |= {f"fig{i}" for i in range(1, 8) if "`fig1` to `fig7`" in said}
    return named == {path.stem for path in BOOK.glob("*.md") if "tags: [parameters" in path.read_text()}


def downloaded(trouble):
    """A copy without `.git`, or with one that git does not read: what a build looks at first, what a run records, and says."""

    def try_it(world):
        copy = world.root / "copy"
        for name in ("lib", "params", "book/_ext"):
            shutil.copytree(BOOK.parent / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        variables = {"PYTHONPATH": os.pathsep.join((str(copy / "lib"), str(copy / "book/_ext")))}
        if trouble == "no git":
            variables["PATH"] = str(world.root / "nowhere")
        elif trouble == "broken":
            (copy / ".git").write_text("gitdir: nowhere\n")
        elif trouble == "empty":
            (copy / ".git").mkdir()
        elif trouble == "no commit":
            subprocess.run(["git", "-C", str(copy), "init", "--quiet"], check=True)
        elif trouble == "another's":
            git = ["git", "-C", str(copy), "-c", "user.name=a", "-c", "user.email=a@b.example"]
            for words in (["init", "--quiet"], ["add", "lib"], ["commit", "--quiet", "--message", "ours"]):
                subprocess.run([*git, *words], check=True)
            variables["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"  # as git itself tests 'dubious ownership'
        look = (
            "from types import SimpleNamespace as N; import book_files; from smooth_interpolation import locations; "
            "from smooth_interpolation.claims import verdicts; from smooth_interpolation.runs import provenance; "
            "print(verdicts.fixed(), book_files._outdated(None, N(found_docs={'fig2'}), 0, 0, 0), locations.repository()); "
            "print(provenance.code()['commit'], provenance.code()['dirty']); provenance.warn_of_unknown()"
        )
        run = subprocess.run(
            [sys.executable, "-B", "-c", look], env={**os.environ, **variables}, capture_output=True, text=True
        )
        first, second = run.stdout.splitlines()
        return (
            first == f"a commit that is unknown outside of git ['fig2'] {copy}",
            second,
            re.sub(" and the version", "", run.stderr.strip()),
        )

    return try_it


def on_paper(make):
    """What LaTeX takes of a thing that a page shows: the first of the forms that it can print."""

    def try_it(world):
        found = DisplayFormatter().format(make(of_the_book("demo")))[0]
        kind = next(kind for kind in ("application/pdf", "text/latex", "text/markdown", "text/plain") if kind in found)
        return f"{kind}: {found[kind]}"

    return try_it


def of_the_book(scale):
    """The records that came with the book, whatever the directory of one's own is."""
    os.environ.pop(locations.RESULTS_VARIABLE, None)
    return si.records(scale, "convnet-noise20")


def params_of_ones_own(world):
    (world.root / "mine.yaml").write_text(PARAMS.read_text().replace("experiment: convnet-noise20", "experiment: mine"))
    return " ".join(typed("claims", "mine.yaml")(world).split())


def claims_listed(*words):
    return lambda world: " ".join(typed("claims", *words, f"--results={BOOK.parent / 'results'}")(world).split())


def pages_of_two_builds(world):
    """Which pages are read anew: at first, again, after a record more, and after another directory of records."""
    import book_files

    found, env = [], SimpleNamespace(found_docs={"fig2"})
    (world.root / "results").mkdir()
    for change in (
        lambda: None,
        lambda: None,
        (world.root / "results" / "w001-s0.json").touch,
        lambda: os.environ.pop(locations.RESULTS_VARIABLE),
    ):
        change()
        found.append(len(book_files._outdated(None, env, set(), set(), set())))
    return found


def names_given(allowed=pages.NAMES, **names):
    cell = "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in names.items())
    return lambda world: pages.check_names({"In": ["mine = 1", cell]}, allowed)


NO_COMMIT = (True, "None None", "The commit of the code cannot be found out: records will say unknown.")
ALL = "0123456789"
CIFAR = both(*of(TEN))
# Number in the list of troubles, what was tried, how, what comes of it: a value, and words that are said besides; or, as one
# text, words of the sentence that refuses it
CASES = [
    # What is a class
    (2, "a hidden folder beside ten classes, examined", examine(*of(TEN), ".ipynb_checkpoints/0.png"), (ALL, "")),
    (2, "the same, as a dataset", load(*CIFAR, *both(".ipynb_checkpoints/0.png")), (ALL, "")),
    (2, "hidden folders within classes, and .DS_Store", load(*CIFAR, "train/a/.cache/0.png", ".DS_Store", "train/.DS_Store"), (ALL, "")),
    (2, "what macOS adds to zips", load_zip(*CIFAR, "__MACOSX/train/a/._0.png", "train/a/._0.png"), (ALL, "")),
    (2, "what a disk station and Python leave, examined", examine(*of(TEN), "@eaDir/0.png", "__pycache__/x.pyc", "a/__pycache__/x"), (ALL, "")),
    (2, "the same, as a dataset", load(*CIFAR, *both("@eaDir/0.png", "lost+found/"), "__pycache__/"), (ALL, "")),
    (2, "text beside the images, examined", examine(*of(TEN), "a/notes.txt", "b/more.gif"), (ALL, "files of other formats (2: 1 .txt, 1 .gif, such as 'a/notes.txt')")),
    (2, "text beside the images, as a dataset", load(*CIFAR, "train/a/notes.txt"), (ALL, "files of other formats (1: 1 .txt, such as 'train/a/notes.txt')")),
    (2, "text beside the images, in a zip", load_zip(*CIFAR, "train/a/notes.txt"), (ALL, "files of other formats (1: 1 .txt, such as 'train/a/notes.txt')")),
    (2, "folders within a class, examined", examine(*of(TEN), "a/deep/0.png"), (ALL, "folders within a class (1, such as 'a/deep')")),
    (2, "folders within a class, in a zip", load_zip(*CIFAR, "train/a/deep/0.png", "train/a/deep/1.png"), (ALL, "folders within a class (1, such as 'train/a/deep')")),
    (2, "images in no class, examined", examine(*of(TEN), "0.png"), (ALL, "files in no class (1, such as '0.png')")),
    (2, "images in no class, as a dataset", load(*CIFAR, "train/0.png"), (ALL, "files in no class (1, such as 'train/0.png')")),
    (2, "an empty class, examined", examine(*of("abd"), "c/"), "mine: c/ holds no images that are read"),
    (2, "an empty class, in both splits", load(*both(*of("abd"), "c/")), "pets: train/c/ holds no images that are read"),
    (2, "an empty class in a zip", load_zip(*both(*of("abd"), "c/")), "pets.zip: train/c/ holds no images that are read"),
    (2, "a class of GIF alone", examine(*of("abd"), "c/0.gif"), "c/ holds no images that are read"),
    (2, "a class of folders alone", load(*both(*of("abd"), "c/deep/0.png")), "train/c/ holds no images that are read"),
    (2, "a class in the test split alone", load(*both(*of("ab")), "test/c/0.png"), "'c' is only in one of them"),
    (2, "a hidden class", examine(*of("abd"), ".c/0.png"), ("012", "")),
    (2, "no class at all", examine("0.png", "1.png"), "mine holds no images under <class>/*"),
    (2, "a file that is no folder", examine("0.png", at="0.png"), "0.png is no folder"),
    (2, "classes named 0 to 10", lambda world: your_data.read(world.write(world.root / "mine", *(f"{i}/0.png" for i in range(11))))[1].tolist() and world.said(), ("'10' is label 2", None)),
    (12, "a folder of 12 classes, and a network of 10 outputs", measured("abcdefghijkl", 10), "The folder holds 12 classes and the network has 10 outputs: name"),
    (12, "a folder of 9 classes, and a network of 10 outputs", measured("abcdefghi", 10), (4, "The folder holds 9 classes and the network has 10 outputs: labels number")),
    (12, "a folder of as many classes as the network has outputs", measured(TEN, 10), (4, "")),
    # Splits
    (2, "a dataset examined whole", examine(*CIFAR), "mine holds test/, train/, which are splits and no classes: name one of them"),
    (2, "one split of it", examine(*CIFAR, at="train"), (ALL, "")),
    (2, "train and val", load(*both(*of(TEN), splits=("train", "val"))), "pets holds train/, val/ but no test/: rename val/ to test/"),
    (2, "train and valid, in a zip", load_zip(*both(*of(TEN), splits=("train", "valid"))), "pets.zip holds train/, valid/ but no test/: rename valid/ to test/"),
    (2, "train and eval", load(*both(*of(TEN), splits=("train", "eval"))), "pets holds eval/, train/ but no test/: rename eval/ to test/"),
    (2, "train, val and test", load(*CIFAR, *both(*of(TEN), splits=("val",))), (ALL, "names beside train/ and test/ (1, such as 'val')")),
    (2, "Train and Test", load(*both(*of(TEN), splits=("Train", "Test"))), "pets holds Test/, Train/ but no train/ and no test/: rename Test/"),
    (2, "a zip with a folder around all", load_zip(*(f"pets/{name}" for name in CIFAR)), "pets.zip holds pets/ but no train/ and no test/"),
    # Ambiguous or partial sources, and downloads over what is there
    (2, "a folder and a zip of one name", elsewhere(("pets", CIFAR), then=load_zip(*CIFAR)), "pets.zip are both images of 'pets'"),
    (2, "a folder beside torchvision's archive", elsewhere(("cifar10", CIFAR), ("cifar-10-python.tar.gz", ["x/"]), then=load(*CIFAR, name="cifar10", at="cifar10")), (ALL, "are read from")),
    (2, "cifar10 with val", load(*both(*of(TEN), splits=("train", "val")), name="cifar10", at="cifar10"), "cifar10 holds train/, val/ but no test/"),
    (2, "cifar10 without anything in it", load("x/", name="cifar10", at="cifar10"), "cifar10 holds x/ but no train/"),
    (2, "CIFAR-10/ for cifar10", load(*CIFAR, name="cifar10", at="CIFAR-10"), "CIFAR-10 may be images of 'cifar10', all or a part: if they are all, name it cifar10/"),
    (2, "CIFAR-10 as PNG, in a folder that says so", load(*CIFAR, name="cifar10", at="cifar10_png"), "cifar10_png may be images of 'cifar10'"),
    (2, "CIFAR-10 as bytes, from its own page", load("x/", name="cifar10", at="cifar-10-batches-bin"), "cifar-10-batches-bin may be images of 'cifar10'"),
    (2, "cifar10.tar.gz, of whatever", load("cifar10.tar.gz", name="cifar10", at="."), "cifar10.tar.gz may be images of 'cifar10', all or a part: if they are all, make them a folder cifar10/"),
    (2, "the data directory itself, with test/ alone", load("test/a/0.png", name="cifar10", at="."), "data holds test/ but no train/"),
    (2, "one half in a zip", load_zip(*CIFAR, at="cifar10-1.zip", name="cifar10"), "cifar10-1.zip may be images of 'cifar10', all or a part"),
    (2, "half of torchvision's folder", load("data_batch_1", name="cifar10", at="cifar-10-batches-py"), "data_batch_2 is missing"),
    (2, "the data directory itself, with val", load(*both(*of(TEN), splits=("train", "val")), name="cifar10", at="."), "data holds train/, val/ but no test/"),
    # Datasets for one another
    (20, "CIFAR-10 in the data directory itself", load(*CIFAR, name="cifar10", at="."), (ALL, "")),
    (20, "that answering for cifar100", load(*CIFAR, name="cifar100", at="."), "data holds 10 classes and cifar100 has 100"),
    (20, "cifar100/ with ten classes", load(*CIFAR, name="cifar100", at="cifar100"), "cifar100 holds 10 classes and cifar100 has 100"),
    (20, "CIFAR-10 itself beside cifar10/", elsewhere((".", CIFAR), then=load(*CIFAR, name="cifar10", at="cifar10")), (ALL, None)),
    (20, "pet, beside pets-of-my-neighbour.zip", load_zip(*CIFAR, at="pets-of-my-neighbour.zip", name="pet"), "No images of 'pet'"),
    (20, "pets, beside pets-of-my-neighbour.zip", load_zip(*CIFAR, at="pets-of-my-neighbour.zip", name="pets"), "pets-of-my-neighbour.zip may be images of 'pets'"),
    # Caches
    (3, "an image replaced by one of the same size", replaced("train/a/0.bmp", picture("z", "bmp")), (3 * 32 * 32, "")),
    (3, "two data directories with the same names, sizes and times", moved_cache, ([ALL, ALL[::-1]], None)),
    (3, "two sets of images of one name, and the weights", weights_of_two_sets_of_images, ([True, True], None)),
    (3, "weights that do not say of which images", weights_of_nobody_knows_what, "No weights of"),
    (3, "other pixels, seeds and kinds of paths", paths_of, ([1, 1, 2, 3, 4], None)),
    (3, "records added, or elsewhere, between two builds of the book", pages_of_two_builds, ([1, 0, 1, 1], None)),
    # Pairs of text and notebook: the text is kept and shown, a second time changes nothing, no outputs, ids are kept
    (4, "a page edited, and its notebook touched", pair(), ((True, True, False, True), None)),
    (4, "a page edited, and its notebook executed", pair(executed), ((True, True, False, True), None)),
    (4, "a page edited, and its notebook saved with keys in another order", pair(in_another_order), ((True, True, False, True), None)),
    (4, "a notebook that is empty", pair(lambda notebook: notebook.write_text("")), ((True, True, False, False), None)),
    (4, "a notebook with marks of a conflict", pair(lambda notebook: notebook.write_text("<<<<<<< HEAD\n{}")), ((True, True, False, False), None)),
    (4, "a page without a notebook", pair(Path.unlink, Path.touch), ((True, True, False, False), None)),
    (4, "notebooks touched, and no page edited", unchanged_pages, ([], None)),
    (4, "a notebook without a page", lambda world: pairs.main([str(world.root / "none.ipynb")]), "none.md is no page"),
    # The command's edge
    (13, "a params file of the project, named from elsewhere", typed("status", "params/demo/convnet-noise20.yaml"), ("demo/convnet-noise20", None)),
    (13, "one that is nearly of that name", typed("status", "params/demo/convnet-nose20.yaml"), f"did you mean '{BOOK.parent}/params/demo/convnet-noise20.yaml'?"),
    (13, "a record of another project's, named from elsewhere", typed("show", "results/none.json"), "Cannot read results/none.json"),
    (13, "~ in the name of a params file", at_home(typed("status", "~/mine.yaml")), ("demo/convnet-noise20", None)),
    (13, "~ in --results=", at_home(typed("status", "~/mine.yaml", "--results=~/records")), ("demo/convnet-noise20", None)),
    (13, "~ in places of records", at_home(records_at_home), (["records", "more"], None)),
    (13, "~ in the data directory", at_home(data_at_home), (20 // 2, None)),
    (13, "~ in the folder examined", at_home(examined_at("~/mine")), (10, None)),
    (13, "~ in a figure's file", at_home(figure_at_home), (True, None)),
    (13, "the home of a user that is not there", examined_at("~nobody-of-this-name/mine"), "~nobody-of-this-name/mine is no folder"),
    (13, "a place where one may not write", unwritten(errno.EACCES), "Permission denied: choose another place."),
    (13, "a disk that is read only", unwritten(errno.EROFS), "Read-only file system: choose another place."),
    (13, "a disk that is full", unwritten(errno.ENOSPC), "No space left on device: free some space or choose another place."),
    (13, "a dry run of drawn images", dry("params/demo/convnet-noise20.yaml"), ((True, set()), None)),
    (13, "a dry run of images that would be downloaded", dry("params/laptop/convnet-noise20.yaml"), ((True, set()), None)),
    (13, "a dry run of images that are there", dry("params/laptop/convnet-noise20.yaml", *CIFAR), ((True, set()), None)),
    # Without git
    (5, "a build and a run in a download without .git", downloaded("no .git"), (NO_COMMIT, "")),
    (5, "a build and a run without git", downloaded("no git"), (NO_COMMIT, "")),
    (5, "a build and a run with a broken .git", downloaded("broken"), (NO_COMMIT, "")),
    (5, "a build and a run with an empty .git", downloaded("empty"), (NO_COMMIT, "")),
    (5, "a build and a run in a repository without commits", downloaded("no commit"), (NO_COMMIT, "")),
    (5, "a build and a run in a repository of another owner", downloaded("another's"), (NO_COMMIT, "")),
    # Parameters of notebooks
    (11, "--inject-paths", names_given(width=3, PAPERMILL_INPUT_PATH="a.ipynb", PAPERMILL_OUTPUT_PATH="b.ipynb"), (None, "")),
    (11, "--inject-paths, and a name that is not known", names_given(PAPERMILL_INPUT_PATH="a.ipynb", widht=3), "'widht' is not known; did you mean 'width'?"),
    (11, "--inject-paths, by papermill itself, for a page without parameters", papermill("bibliography", "--inject-paths"), (0, "")),
    (16, "a scale for every page", scale_given(scale="demo"), ({"takes": 14, "refuses": 14}, None)),
    (16, "nothing for every page", scale_given(PAPERMILL_INPUT_PATH="a.ipynb"), ({"takes": 14, "ignores": 14}, None)),
    (16, "the notebooks that README names", readme_on_scales, (True, None)),
    (16, "a scale for a page without parameters, by papermill itself", papermill("bibliography", "-p", "scale", "demo"), "ConfigError: This page has no parameters, so scale cannot be set"),
    (16, "a width for a page beyond the paper, which has a scale alone", names_given(("scale",), width=3), "'width' is not known; it can be one of scale"),
    # On paper
    (6, "a figure, by LaTeX", on_paper(lambda runs: book.show(figures.fig2(runs), runs.volumes, "fig2")), ("application/pdf: ", None)),
    (6, "a takeaway, by LaTeX", on_paper(lambda runs: book.takeaway(runs, "Peaks at {test.peak_at}.", "Not certain.")), ("text/markdown: **Takeaway.** ", None)),
    (6, "a table with a caption, by LaTeX", on_paper(lambda runs: book.table(runs.summary(), "Runs.")), ("text/markdown: Runs.\n\n| ", None)),
    (6, "the table of all claims, by LaTeX", on_paper(lambda runs: Board(claims.judge(runs).assign(scale="gpu")).matrix()), ("| The paper says ", None)),
    (6, "an instrument, by LaTeX, below the figure that is its first state", on_paper(lambda runs: book.instrument(runs, "volumes")), ("text/markdown: <!--", None)),
    # Claims
    (17, "a table of your-network, judged", lambda world: claims.judge(pd.DataFrame({"width": [1]})), "These are no records but a DataFrame"),
    (17, "the same, drawn", lambda world: figures.fig2(pd.DataFrame({"width": [1]})), "These are no records but a DataFrame"),
    (17, "claims on a params file of one's own", params_of_ones_own, ("It does not apply: it is about ResNets", None)),
    (17, "how CONTRIBUTING says that a claim is added", lambda world: all(f"`{name}" in (BOOK.parent / "CONTRIBUTING.md").read_text() for name in ("claim(name, section, figures, experiments, statement, check)", "tests/worlds.py", "book/claims.yaml")), (True, None)),
    # Figures and tables of a width
    (18, "a width that was not measured, marked", typed("figure", "fig2", PARAMS, "--output=x.svg", "--width=1000", f"--results={BOOK.parent / 'results'}"), "Width 1000 is not measured: mark one of 1, 2, 4, 8, 16"),
    (18, "the same, in Python", lambda world: figures.fig2(of_the_book("demo"), mark_width=1000), "Width 1000 is not measured"),
    (18, "the words of a figure with a marked width", lambda world: alt_text.describe(figures.fig2(of_the_book("demo"), mark_width=4)), ("Marked: w = 4.", None)),
    (18, "the table of a marked width", lambda world: pages.numbers(of_the_book("demo").with_width(4)).data, ("scale: means over points and paths; seed 0.", None)),
    (18, "a record, shown", typed("show", "results/demo/convnet-noise20/w001-s0.json"), ("The number beside them: augmentations per path", None)),
    # Sentences of verdicts
    (19, "where a peak is, and what counts as near", claims_listed(PARAMS), ("the threshold is w = 8 (near: w = 6 to 12)", None)),
    (19, "samples that do not agree, and what is asked for", claims_listed(PARAMS), ("of the samples agree; 97.5% are asked for.", None)),
    (19, "the unit of an effect, in a sentence", claims_listed(PARAMS), ("peak minus widest network (norm): ", None)),
    (19, "the unit of an effect, in the list", claims_listed(), ("%: percentage points or percent; w: a width", None)),
    # Links and resource forks
    (14, "links in the book that came as text files", book_without_links, ((0, True), None)),
    (14, "._0.png, examined", examine(*of(TEN), "a/._0.png"), (ALL, "")),
    (14, "._0.png, as a dataset", load(*CIFAR, "train/a/._0.png"), (ALL, "")),
    (14, "a link to nothing, examined", examine(*of(TEN), "a/1.png -> gone.png"), "a/1.png is a link to nothing ('gone.png')"),
    (14, "a link to nothing, as a dataset", load(*CIFAR, "train/a/1.png -> gone.png"), "train/a/1.png is a link to nothing"),
    (14, "a class that is a link to nothing", load(*both(*of("abd")), "train/c -> gone"), "train/c is a link to nothing"),
    (14, "a split that is a link to nothing", load(*both(*of(TEN), splits=("train",)), "test -> gone"), "test is a link to nothing"),
    (14, "a dataset that is a link to nothing", lambda world: load(name="pets")(World.write(world, world.data, "pets -> gone") and world), "pets is a link to nothing"),
    (14, "a link within the folder", examine(*of(TEN), "a/1.png -> 0.png"), ("00123456789", "")),
]  # fmt: skip


def test_every_trouble_was_tried():
    """The other numbers, of networks, normalisations, losses and arrays, are cases in `test_foreign`."""
    assert {number for number, *_ in CASES} | set(test_foreign.TABLES) == set(range(1, 21))
    assert all(test_foreign.TABLES.values())


@pytest.fixture
def world(tmp_path, monkeypatch, caplog, recwarn):
    monkeypatch.setenv(locations.DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(locations.CACHE_VARIABLE, str(tmp_path / "cache"))
    every = locations.data_directories
    monkeypatch.setattr(locations, "data_directories", lambda: every()[:1])
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(locations.RESULTS_VARIABLE, str(tmp_path / "results"))
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        monkeypatch.setattr(kind, "download", lambda self: pytest.fail("a download has begun"))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, checksum=None: os.path.exists(path))
    caplog.set_level(logging.WARNING)
    return World(tmp_path, caplog, recwarn)


@pytest.mark.parametrize(
    ("number", "tried", "try_it", "expected"), CASES, ids=[f"{n}: {tried}" for n, tried, *_ in CASES]
)
def test_what_was_tried(number, tried, try_it, expected, world):
    if isinstance(expected, str):
        with pytest.raises(UserError) as caught:
            try_it(world)
        assert expected in str(caught.value) and "\n" not in str(caught.value)
        return
    value, words = expected
    found = try_it(world)
    assert found == value or (words is None and value in found)
    if words is not None:
        assert words in world.said() and (words or not world.said())
