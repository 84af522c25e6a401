"""What was found: probabilities, shares, and files that keep it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multipath import PathTable
from multipath.errors import ConfigurationError, InputError
from multipath.importance import ThetaImportance, load_probabilities
from multipath.transforms import JTFS

from .cases import DTYPE


def made_up(curvature, residuals=None):
    paths = JTFS(n_samples=128, J=3, Q=(1, 1), J_fr=1, Q_fr=1, T=16, F=2).paths
    values = torch.as_tensor(curvature, dtype=DTYPE)[:, : len(paths)]
    return ThetaImportance(paths, tuple("abc"[: len(values)]), values, residuals, {"seed": 1})


N_PATHS = len(made_up(torch.ones(1, 99)).paths)


CURVATURES = st.lists(
    st.lists(st.floats(1e-30, 1e30), min_size=N_PATHS, max_size=N_PATHS), min_size=1, max_size=3
)


@settings(max_examples=25)
@given(CURVATURES, st.floats(0, 1))
def test_probabilities(curvature, floor):
    result = made_up(curvature)
    found = result.probabilities(floor)
    assert float(found.sum()) == pytest.approx(1, abs=1e-12)
    assert (found >= floor / N_PATHS * (1 - 1e-12)).all()
    plain = sum(row / row.sum() for row in result.curvature) / len(curvature)
    torch.testing.assert_close(found, (1 - floor) * plain + floor / N_PATHS)
    torch.testing.assert_close(result.sampler(floor).probabilities, found)
    inside = [i < 2 for i in range(N_PATHS)]
    assert result.share(inside, floor) == pytest.approx(float(found[:2].sum()))


def test_what_cannot_be_made_into_probabilities():
    result = ThetaImportance(PathTable(3), ("a",), torch.tensor([[1.0, 0.0, 2.0]]))
    with pytest.raises(ConfigurationError, match=r"1 paths have probability 0, .*pass a floor"):
        result.probabilities(reweight=True)
    assert (result.probabilities(0.1, reweight=True) > 0).all()
    with pytest.raises(ConfigurationError, match=r"floor must lie in \[0, 1\]"):
        result.probabilities(1.5)
    with pytest.raises(InputError, match="one truth value for each of the 3 paths"):
        result.share([True])
    for values, message in (
        ([[1.0, 2.0]], r"shape \(U, P\) = \(1, 3\), got \(1, 2\)"),
        ([[1.0, torch.nan, 2.0]], "finite and not negative"),
        ([[1.0, -1.0, 2.0]], "finite and not negative"),
        ([[0.0, 0.0, 0.0]], "no path has any curvature along a"),
    ):
        with pytest.raises(InputError, match=message):
            ThetaImportance(PathTable(3), ("a",), torch.tensor(values))


def test_saved_and_loaded(tmp_path):
    values = torch.rand(2, N_PATHS, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    result = made_up(values, residuals=values / 100)
    file = tmp_path / "new" / "result.pt"
    result.save(file)
    loaded = ThetaImportance.load(file)
    assert torch.equal(loaded.curvature, result.curvature)
    assert torch.equal(loaded.residuals, result.residuals)
    assert loaded.parameters == ("a", "b")
    assert loaded.settings == {"seed": 1}
    assert list(loaded.paths) == list(result.paths)
    assert torch.equal(load_probabilities(file), result.probabilities())
    assert str(loaded) == str(result)
    assert "largest residual" in str(result)
    assert [f.name for f in file.parent.iterdir()] == ["result.pt"]


def test_files_that_are_no_results(tmp_path):
    file = tmp_path / "result.pt"
    with pytest.raises(InputError, match="there is no file"):
        ThetaImportance.load(file)
    made_up(torch.ones(1, N_PATHS)).save(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match="cannot be read"):
        ThetaImportance.load(file)
    for content in ({"format": "other"}, [1, 2]):
        torch.save(content, file)
        with pytest.raises(InputError, match="is no result of theta-importance"):
            load_probabilities(file)
    torch.save({"format": "multipath theta-importance result, 1"}, file)
    with pytest.raises(InputError, match=r"is incomplete .*paths"):
        ThetaImportance.load(file)
    torch.save(torch.tensor([0.5, 0.6]), file)
    with pytest.raises(InputError, match=r"add up to 1, got shape \(2,\) and sum 1.1"):
        load_probabilities(file)
    torch.save(torch.tensor([0.25, 0.75]), file)
    assert load_probabilities(file).tolist() == [0.25, 0.75]
