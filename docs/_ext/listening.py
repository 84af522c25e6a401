"""Pages to listen to, beside those of Sphinx: training step by step, and a map of modulations."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, StrictUndefined

from multipath.applications.audio.spectrograms import magma
from multipath.applications.distance import page
from multipath.applications.distance.compare import compare
from multipath.applications.runs.files import write_text
from multipath.applications.synths.granular import GranularSynth

FOLDER = Path(__file__).parents[1] / "listening"
RATE = 4096
WORDS = {
    "granular": {
        "title": "Granular textures",
        "text": "Grains that rise or fall: how many there are, and how steeply they go, wherever "
        "they happen to be.",
    },
    "chirplet": {
        "title": "Chirplets",
        "text": "A tone that rises while its loudness beats: how fast it beats (AM), and how fast "
        "it rises (FM), whenever it sounds.",
    },
    "drum": {
        "title": "Drums",
        "text": "A struck membrane: its pitch, its decay, the damping of its higher modes, its "
        "stiffness and its shape. Some of it can hardly be heard, and no loss between sounds gets "
        "clearly below the error that it begins with.",
    },
}


def write_training(file: Path, runs: Path = FOLDER / "runs.json") -> None:
    """Write the page of what ``docs/listening_runs.py`` has trained."""
    loaders = [FileSystemLoader(FOLDER), PackageLoader("multipath.applications", "templates")]
    environment = Environment(
        loader=ChoiceLoader(loaders), autoescape=True, undefined=StrictUndefined
    )
    found = json.loads(runs.read_text(encoding="utf-8"))
    template = environment.get_template("page.html.jinja")
    write_text(file, template.render(found=found, words=WORDS, magma=magma()))


def write_difference(file: Path, groups: int = 8, steps: int = page.STEPS) -> None:
    """Write what ``multipath distance --page`` makes of two textures."""
    synth = GranularSynth(
        n_samples=RATE,
        sample_rate=float(RATE),
        n_grains=24,
        grain_samples=1024,
        f_min=256.0,
        f_max=1024.0,
        pitches="spread",
    )
    with torch.no_grad():  # the same grains, rising and falling
        pair = synth(torch.tensor([[0.6, 0.8], [0.6, 0.2]]), torch.tensor([7, 7]))
    names = ["grains that rise", "the same grains, falling"]
    page.write_page(compare(*pair, RATE), pair, names, file, groups=groups, steps=steps)


def write_pages(app: SimpleNamespace, error: Exception | None) -> None:
    """After a build of HTML; the map, which takes half a minute, only if its sources changed."""
    if error is not None or app.builder.name != "html":
        return
    write_training(Path(app.outdir, "listen_to_training.html"))
    file = Path(app.outdir, "which_modulation_differs.html")
    parts = Path(page.__file__).parents[1]
    sources = [Path(__file__), *parts.rglob("*.py"), *parts.glob("templates/*")]
    if not file.exists() or file.stat().st_mtime < max(each.stat().st_mtime for each in sources):
        write_difference(file)


def setup(app: SimpleNamespace) -> dict[str, bool]:
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
