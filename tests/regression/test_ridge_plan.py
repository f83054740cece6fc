"""What a fit will cost, said before it starts and kept to; precision and devices."""

from __future__ import annotations

import multiprocessing
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from ridge_cases import ALPHAS, problem

from brainalign.errors import InputError, MemoryBudgetError
from brainalign.regression import KernelRidgeCV, RidgeCV
from brainalign.regression._plan import FLOPS, PATHS, Sizes, make_plan
from brainalign.regression._sources import Features

HEAVY = (
    "brainalign.regression.ridge.GramPath",
    "brainalign.regression.ridge.open_features",
    "brainalign.regression._cross_validated.KernelFolds",
    "brainalign.regression._cross_validated.BlockwiseFit",
    "brainalign.regression._sources.gram",
    "brainalign.regression.ridge.WeightSink",
    "torch.linalg.eigh",
    "torch.linalg.cholesky_ex",
)


@pytest.fixture
def no_work(monkeypatch):
    """Every heavy function fails when it is called."""

    def never(*args, **options):
        raise AssertionError("work was done")

    for name in HEAVY:
        monkeypatch.setattr(name, never)


def sizes(n=1000, p=100, t=5000, n_alphas=20, folds=5, itemsize=4, linear=True):
    test = [n // folds] * folds
    return Sizes(n, p, t, n_alphas, test, [n - k for k in test], test, itemsize, linear, 0, 4 * p * t)


@pytest.mark.parametrize(("p", "t"), [(300, 48), (40, 304)])
def test_features_are_multiplied_with_what_is_fewer(p, t, monkeypatch):
    """With the dual weights of the targets, or once with the eigenvectors; the plan counts as is done."""
    widths, times = [], Features.times

    def watch(self, weights):
        widths.append(weights.shape[1])
        return times(self, weights)

    monkeypatch.setattr(Features, "times", watch)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((100, p)), rng.standard_normal((100, t))
    RidgeCV(ALPHAS, solver="eigen").fit(X, Y)
    assert widths == ([99] if p < t else [48])
    linear, dual = (sizes(n=100, p=p, t=t, linear=which) for which in (True, False))
    saved = 2 * 100**2 * max(0, t - p)
    assert FLOPS["eigen"](linear) - FLOPS["eigen"](dual) == pytest.approx(2 * 100 * p * t - saved)


@pytest.mark.parametrize("path", list(PATHS))
def test_a_plan_prints_path_work_and_memory(path):
    """The table names the path, the FLOPs, the peak and the budget, as the attributes have them."""
    plan = make_plan(path, sizes(), 2**34, whole_grid=False)
    text = str(plan)
    assert re.search(rf"^path +{path}: {re.escape(PATHS[path])}$", text, re.M)
    assert f"{plan.flops / 1e9:.4g} GFLOP" in text
    assert f"{plan.peak_bytes / 2**20:,.0f} MB at the peak, of 16,384 MB" in text
    assert "1000 samples x 100 features x 5000 targets, 20 penalties, 5 folds, float32" in text
    assert plan.flops == FLOPS[path](sizes())


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("solver", ["auto", "primal", "dual", "factored", "eigen"])
@pytest.mark.parametrize("estimator", [RidgeCV, KernelRidgeCV])
def test_a_plan_does_no_work_and_changes_nothing(estimator, solver):
    """plan runs no product and leaves the estimator as it was."""
    if solver == "primal" and estimator is KernelRidgeCV:
        return
    X, Y, _ = problem()
    model = estimator(solver=solver)
    before = dict(vars(model))
    plan = model.plan(X, Y)
    assert vars(model) == before
    assert plan.path == (solver if solver != "auto" else plan.path)
    assert (plan.n_samples, plan.n_features, plan.n_targets, plan.n_folds) == (60, 20, 5, 5)
    assert plan.dtype == "float64"
    with pytest.raises(AssertionError, match="work was done"):
        model.fit(X, Y)


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("estimator", [RidgeCV, KernelRidgeCV])
@pytest.mark.parametrize("call", ["plan", "fit"])
def test_too_small_a_budget_is_refused_before_work(call, estimator):
    """The error names the need and the budget, and nothing has been computed."""
    X, Y, _ = problem()
    model = estimator(memory_budget=2**20)
    with pytest.raises(MemoryBudgetError, match=r"at least \d+ MB and the budget is 1 MB: .* Raise memory"):
        getattr(model, call)(X, Y)
    assert not hasattr(model, "plan_")


def test_the_plan_of_a_fit_is_kept():
    """plan_ after fit is what plan said before, with weights too."""
    X, Y, counts = problem()
    counts[:3] = 0
    model = RidgeCV(ALPHAS, memory_budget=2**30)
    plan = model.plan(X, Y, counts)
    assert model.fit(X, Y, sample_weight=counts).plan_ == plan
    assert plan.n_samples == 57
    assert plan.budget_bytes == 2**30


def test_a_generator_of_folds_is_not_used_up():
    """plan refuses folds that can be read once only."""
    X, Y, _ = problem()
    cv = iter([(np.arange(30), np.arange(30, 60))])
    with pytest.raises(InputError, match=r"cv is a generator, which plan would use up before fit; give"):
        RidgeCV(cv=cv).plan(X, Y)
    assert RidgeCV(cv=cv).fit(X, Y).plan_.n_folds == 1


@pytest.mark.parametrize("path", list(PATHS))
def test_budgets_are_kept_down_to_the_smallest(path):
    """Blocks and groups shrink with the budget; no plan exceeds its budget; less is an error."""
    whole = make_plan(path, sizes(), 2**40, whole_grid=False)
    smallest = None
    for share in np.linspace(1, 0.05, 40):
        budget = int(share * whole.peak_bytes)
        try:
            plan = make_plan(path, sizes(), budget, whole_grid=False)
        except MemoryBudgetError:
            smallest = budget
            break
        assert plan.peak_bytes <= budget
        assert plan.block_targets % 16 == 0
        assert 1 <= plan.penalties_per_pass <= 20
    assert smallest is not None
    if path == "dual":
        tight = make_plan(path, sizes(), int(0.4 * whole.peak_bytes), whole_grid=False)
        assert tight.penalties_per_pass < 20
        with_all = make_plan(path, sizes(), whole.peak_bytes, whole_grid=True)
        assert with_all.penalties_per_pass == 20


def test_a_copy_of_the_features_is_counted():
    """X in another type, in Fortran order or with rows left out is copied, and the plan says so."""
    X, Y, _ = problem(n=400, p=300)
    plain = RidgeCV(ALPHAS).plan(X, Y).peak_bytes
    size = X.nbytes
    assert RidgeCV(ALPHAS).plan(np.asfortranarray(X), Y).peak_bytes == plain + size
    assert RidgeCV(ALPHAS).plan(X.astype(np.float32), Y).peak_bytes == plain + size
    some = np.ones(400)
    some[::4] = 0
    full = RidgeCV(ALPHAS).plan(X[some > 0], Y[some > 0]).peak_bytes
    assert RidgeCV(ALPHAS).plan(X, Y, some).peak_bytes == full + X[some > 0].nbytes


def _peak_of_fit(path, shape, options, out):
    """In a child: bytes that a fit adds to the resident memory, and what the plan said."""
    torch.set_num_threads(1)
    n, p, _ = shape
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p), dtype=np.float32)
    # libraries are loaded and warm before the count starts
    RidgeCV(ALPHAS, **options).fit(X[:80, :10], X[:80, :20])
    with h5py.File(path, "r") as file:
        before = _memory("VmRSS")
        model = RidgeCV(ALPHAS, **options).fit(X, file["Y"])
        out.put((_memory("VmHWM") - before, model.plan_.peak_bytes))


def _memory(name):
    """Bytes of a line of the status of this process: what it has, or the most that it had."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "options"),
    [((2000, 300, 40_000), {"solver": "primal"}), ((1000, 1500, 20_000), {"solver": "dual"})],
    ids=["primal", "dual"],
)
def test_the_peak_is_what_the_plan_says(shape, options, tmp_path):
    """The resident memory of a process grows by at most 1.1 times the planned peak, responses in a file."""
    n, _, t = shape
    rng = np.random.default_rng(1)
    with h5py.File(tmp_path / "y.h5", "w") as file:
        Y = file.create_dataset("Y", (n, t), dtype="f4", chunks=(n, 64))
        for start in range(0, t, 4000):
            Y[:, start : start + 4000] = rng.standard_normal((n, 4000), dtype=np.float32)
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    child = context.Process(target=_peak_of_fit, args=(tmp_path / "y.h5", shape, options, found))
    child.start()
    used, planned = found.get(timeout=240)
    child.join()
    assert planned > 100 * 2**20
    assert used <= 1.1 * planned
    assert used >= 0.3 * planned, "the plan asks for far more than is used"


def _precisions():
    found = [torch.get_float32_matmul_precision(), torch.backends.mkldnn.matmul.fp32_precision]
    try:
        return [*found, torch.backends.cuda.matmul.allow_tf32]
    except RuntimeError:
        return [*found, torch.backends.cuda.matmul.fp32_precision]


@pytest.mark.parametrize("estimator", [RidgeCV, KernelRidgeCV])
@pytest.mark.parametrize("user", ["medium", "high", "highest"])
def test_reduced_precision_is_off_inside_and_restored(user, estimator, monkeypatch):
    """TF32 and bfloat16 do not touch a solve, whatever was set; the setting comes back, errors included."""
    X, Y, _ = (part.astype(np.float32) for part in problem(n=200, p=60))
    expected = estimator(ALPHAS, solver="dual").fit(X, Y).cv_scores_
    before = torch.get_float32_matmul_precision()
    inside = []
    score = "brainalign.regression._blockwise.score_grid"
    from brainalign.regression._search import score_grid

    def look(*args):
        inside.append(torch.backends.mkldnn.matmul.fp32_precision)
        return score_grid(*args)

    monkeypatch.setattr(score, look)
    try:
        torch.set_float32_matmul_precision(user)
        outside = _precisions()
        found = estimator(ALPHAS, solver="dual").fit(X, Y).cv_scores_
        assert _precisions() == outside
        monkeypatch.setattr(score, None)
        with pytest.raises(TypeError):
            estimator(ALPHAS, solver="dual").fit(X, Y)
        assert _precisions() == outside
    finally:
        torch.set_float32_matmul_precision(before)
    assert set(inside) <= {"none", "ieee"}
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("solver", ["primal", "dual", "factored", "eigen"])
def test_tensors_in_tensors_out(solver):
    """Tensors give tensors with the values that arrays give, of the same type."""
    for dtype in (np.float32, np.float64):
        X, Y, counts = (part.astype(dtype) for part in problem())
        expected = RidgeCV(ALPHAS, solver=solver).fit(X, Y, sample_weight=counts)
        model = RidgeCV(ALPHAS, solver=solver)
        model.fit(*(torch.as_tensor(part) for part in (X, Y, counts)))
        for name in ("alphas_", "best_alphas_", "cv_scores_", "best_scores_", "coef_", "intercept_"):
            found = getattr(model, name)
            assert isinstance(found, torch.Tensor), name
            np.testing.assert_array_equal(found.numpy(), getattr(expected, name))
        predicted = model.predict(torch.as_tensor(X))
        assert isinstance(predicted, torch.Tensor)
        assert predicted.dtype == model.coef_.dtype == torch.as_tensor(X).dtype
        np.testing.assert_allclose(predicted.numpy(), expected.predict(X), rtol=1e-5)
        assert isinstance(model.score_per_target(torch.as_tensor(X), torch.as_tensor(Y)), torch.Tensor)


@pytest.fixture
def cuda():
    """A CUDA device, or a skip."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("search", ["grid", "adaptive"])
@pytest.mark.parametrize(("solver", "p"), [("primal", 12), ("dual", 80), ("factored", 80), ("eigen", 80)])
def test_cuda_equals_cpu(solver, p, search, dtype, cuda, monkeypatch):
    """Every path on a CUDA device, with blocks read ahead into pinned memory, equals the CPU."""
    monkeypatch.setattr("brainalign.regression._plan._block_width", lambda path, sizes: 16)
    X, Y, counts = (part.astype(dtype) for part in problem(p=p, t=75))
    Y[3, 20] = np.nan
    options = {"solver": solver, "alpha_search": search}
    expected = RidgeCV(ALPHAS, **options).fit(X, Y, sample_weight=counts)
    moved = RidgeCV(ALPHAS, device="cuda", **options).fit(X, Y, sample_weight=counts)
    resident = RidgeCV(ALPHAS, **options).fit(
        torch.as_tensor(X, device=cuda), torch.as_tensor(Y), torch.as_tensor(counts)
    )
    assert resident.coef_.device.type == "cuda"
    assert isinstance(moved.coef_, np.ndarray)
    tolerance = 2e-4 if dtype == np.float32 else 1e-9
    for model in (moved, resident):
        scores = torch.as_tensor(model.cv_scores_).cpu().numpy()
        np.testing.assert_allclose(scores, expected.cv_scores_, atol=tolerance)
        coef = torch.as_tensor(model.coef_).cpu().numpy()
        np.testing.assert_allclose(coef, expected.coef_, atol=10 * tolerance)


@pytest.mark.gpu
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_kernels_on_cuda_equal_the_cpu(kernel, cuda):
    """Kernel ridge on a CUDA device predicts as on the CPU."""
    X, Y, counts = problem()
    expected = KernelRidgeCV(ALPHAS, kernel=kernel, gamma=0.01).fit(X, Y, sample_weight=counts)
    moved = KernelRidgeCV(ALPHAS, kernel=kernel, gamma=0.01, device=str(cuda)).fit(X, Y, sample_weight=counts)
    np.testing.assert_allclose(moved.predict(X), expected.predict(X), atol=1e-8)


@pytest.mark.parametrize("path", ["primal", "eigen"])
def test_a_plan_for_a_gpu_counts_the_whole_block(path):
    """A CPU scores a few targets at a time, a GPU all of a block, and smaller budgets take smaller blocks."""
    wide = sizes(n=3000, t=8000)
    on_cpu = make_plan(path, wide, 2**36, whole_grid=False)
    on_gpu = make_plan(path, replace(wide, gpu=True), 2**36, whole_grid=False)
    assert on_gpu.peak_bytes > 1.2 * on_cpu.peak_bytes
    tight = make_plan(path, replace(wide, gpu=True), int(0.9 * on_gpu.peak_bytes), whole_grid=False)
    assert tight.block_targets < on_gpu.block_targets or tight.penalties_per_pass < 20
