"""Ranges of parameters: pairs of numbers, and nothing else."""

import math
import re

import numpy as np
import pytest
import torch

from multipath.applications.matching.presets import preset
from multipath.applications.synths.am_chirp import AMChirpRanges, AMChirpSynth
from multipath.applications.synths.chirplet import ChirpletRanges, ChirpletSynth
from multipath.applications.synths.drum import DrumRanges, DrumSynth
from multipath.errors import ConfigurationError

MAKERS = {
    "tau": lambda value: DrumSynth(DrumRanges(tau=value)),
    "alpha": lambda value: DrumRanges(alpha=value),
    "carrier": lambda value: AMChirpSynth(AMChirpRanges(carrier=value)),
    "fm": lambda value: AMChirpRanges(fm=value),
    "AM": lambda value: ChirpletSynth(ChirpletRanges(value, (1.0, 2.0))),
}
WRONG = [
    *(5, "ab", "12", (), (1.0,), (1.0, 2.0, 3.0), (2.0, 1.0), (1.0, 1.0), (0.0, 1.0)),
    *((-1.0, 1.0), (1.0, math.nan), (math.nan, 1.0), (1.0, math.inf), ("1", "2"), (1.0, None)),
    *({1.0, 2.0}, (1.0, 2.0 + 0j), torch.ones(2, 2), (False, True)),
]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_a_wrong_range_is_refused_in_one_sentence(name, wrong):
    with pytest.raises(ConfigurationError, match=f"the {name} range must .*got") as refused:
        MAKERS[name](wrong)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wrong", [5, (2.0, 1.0), (1.0, 2.0, 3.0)], ids=repr)
def test_a_wrong_range_of_a_task_is_refused(wrong):
    for task, name in (("drum", "omega"), ("amchirp", "am")):
        with pytest.raises(ConfigurationError, match=f"the {name} range must"):
            preset("quick", task, **{f"{name}_range": wrong}).task.build_synth()


@pytest.mark.parametrize("synth", [ChirpletSynth, AMChirpSynth, DrumSynth])
@pytest.mark.parametrize("wrong", [0, False, (), {}, 5, (1.0, 2.0), torch.ones(2)], ids=repr)
def test_what_are_no_ranges_is_refused(synth, wrong):
    with pytest.raises(ConfigurationError, match=r"ranges must be .*Ranges.*, got"):
        synth(wrong)


def test_numbers_of_any_kind_make_the_same_ranges():
    plain = DrumRanges(tau=(0.5, 2.0))
    for value in ([0.5, 2], np.array([0.5, 2.0]), torch.tensor([0.5, 2.0]), (np.float32(0.5), 2)):
        assert DrumRanges(tau=value) == plain
        assert re.search("tau 0.5 to 2,", str(DrumRanges(tau=value)))


@pytest.mark.parametrize(
    ("task", "name"), [("chirplet", "max_shift"), ("amchirp", "max_shift"), ("drum", "max_delay")]
)
@pytest.mark.parametrize("wrong", ["3", 1.5, True, (1,)], ids=repr)
def test_delays_are_whole_numbers(task, name, wrong):
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number, got"):
        preset("quick", task, **{name: wrong})
