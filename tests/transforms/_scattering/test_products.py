"""Products by oneDNN equal plain ones, in every layout that the kernels use."""

import pytest
import torch

from multipath.transforms._scattering import products as _products
from multipath.transforms._scattering.products import product
from tests.transforms.cases import noise

LEFTS = {
    "a matrix": lambda: noise(14, 6),
    "transposed": lambda: noise(6, 14).T,
    "rows of a larger one": lambda: noise(20, 6)[3:17],
}
RIGHTS = {
    "a matrix": lambda: noise(6, 40, seed=1),
    "transposed": lambda: noise(40, 6, seed=1).T,
    "parts of rows": lambda: noise(6, 90, seed=1)[:, 30:70],
    "one column": lambda: noise(6, 1, seed=1),
}


@pytest.fixture(params=[True, False])
def onednn(request, monkeypatch):
    if request.param and not _products._has_onednn():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(_products, "_has_onednn", lambda: request.param)
    monkeypatch.setattr(_products, "_mkl_is_at_home", lambda: False)
    monkeypatch.setattr(_products, "LONGEST_SIDE", 0)
    monkeypatch.setattr(_products, "MULTIPLICATIONS", 0)
    return request.param


@pytest.mark.parametrize("left", LEFTS)
@pytest.mark.parametrize("right", RIGHTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_product(onednn, left, right, dtype):
    left, right = LEFTS[left]().to(dtype), RIGHTS[right]().to(dtype)
    expected = left.double() @ right.double()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    actual = product(left, right)
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=tolerance * 6)


@pytest.mark.parametrize("which", [0, 1])
def test_products_that_record_a_gradient_have_one(onednn, which):
    factors = [noise(4, 3), noise(3, 5, seed=1)]
    factors[which].requires_grad_()
    weight = noise(4, 5, seed=2)
    (gradient,) = torch.autograd.grad((product(*factors) * weight).sum(), factors[which])
    expected = weight @ factors[1].mT if which == 0 else factors[0].mT @ weight
    torch.testing.assert_close(gradient, expected)
    with torch.no_grad():
        torch.testing.assert_close(product(*factors), factors[0] @ factors[1])


@pytest.mark.parametrize("vendor", ["GenuineIntel", "AuthenticAMD"])
@pytest.mark.parametrize("linux", [True, False])
def test_mkl_is_at_home_on_its_makers_processors(vendor, linux, monkeypatch):
    def read(path):
        if not linux:
            raise FileNotFoundError
        return f"processor\t: 0\nvendor_id\t: {vendor}\n"

    monkeypatch.setattr(_products.Path, "read_text", read)
    monkeypatch.setattr(_products.platform, "processor", lambda: "" if linux else f"1, {vendor}")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    try:
        _products._mkl_is_at_home.cache_clear()
        assert _products._mkl_is_at_home() == (vendor == "GenuineIntel")
    finally:
        _products._mkl_is_at_home.cache_clear()


def test_only_large_products_in_single_precision_go_to_onednn(monkeypatch):
    if not _products._has_onednn():
        pytest.skip("this build of torch has no oneDNN")
    left, right = noise(16, 64), noise(64, 4096)
    monkeypatch.setattr(_products, "_mkl_is_at_home", lambda: True)
    assert not _products._pays(left, right)
    monkeypatch.setattr(_products, "_mkl_is_at_home", lambda: False)
    assert _products._pays(left, right)
    assert not _products._pays(left.double(), right.double())
    assert not _products._pays(left[:15], right)
    assert not _products._pays(noise(512, 64), noise(64, 512))
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not _products._pays(left, right)


@pytest.mark.parametrize("failure", ["missing", "changed", "wrong"])
def test_an_operation_that_is_not_what_it_was_is_left_alone(failure, monkeypatch):
    def broken(left, weight):
        if failure == "missing":
            raise AttributeError
        if failure == "changed":
            raise TypeError
        return left @ weight.mT + 1

    monkeypatch.setattr(_products, "_onednn", broken)
    _products._onednn_works.cache_clear()
    try:
        left, right = torch.randn(64, 64), torch.randn(64, 4096)
        torch.testing.assert_close(product(left, right), left @ right)
    finally:
        _products._onednn_works.cache_clear()
