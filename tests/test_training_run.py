"""Training runs: whatever interrupts them, they end with the same bits; and what they leave behind."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import small_training
import torch
from small_training import Fit, duka_trainee, proposal_trainee

from planararm.errors import InvalidInputError, MissingExtraError, UnknownNameError, WeightsError
from planararm.learning import checkpoint, curves, duka, recipes, run, torch_state
from planararm.learning.interrupts import Interrupts
from planararm.learning.run import DivergedError, Progress, open_run, train
from planararm.nn import LevenbergMarquardt
from planararm.policies import make_policy
from planararm.policies.numpy_mlp import NumpyMLP
from planararm.policies.pretrained import load_pretrained, save_pretrained

SETTINGS = {"policy": "line", "seed": 0, "sizes": (1, 2)}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_curve(monkeypatch):
    monkeypatch.setattr(run._Run, "_draw", lambda self: (None, ()))


@pytest.fixture
def small_validation(monkeypatch):
    from planararm.learning import proposals_torch

    monkeypatch.setattr(proposals_torch, "VALIDATION_SIZE", 32)


def go(trainee, folder, **options):
    return train(trainee, folder, **{"settings": SETTINGS, "validate_every": 4, **options})


def rows(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def timeless(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


class StopAt(Progress):
    def __init__(self, step, number=signal.SIGINT):
        self.at, self.number = step, number

    def stepped(self, step, num_steps, loss):
        if step == self.at:
            signal.raise_signal(self.number)


def interrupted_twice(make, folder, first, second, **options):
    for at, resume in ((first, False), (second, True)):
        with pytest.raises(KeyboardInterrupt):
            go(make(), folder, progress=StopAt(at), resume=resume, **options)
    return go(make(), folder, resume=True, **options)


MAKERS = {
    "line": lambda monkeypatch: Fit(12),
    "duka": lambda monkeypatch: duka_trainee(monkeypatch),
    "proposals": lambda monkeypatch: proposal_trainee(12),
}


@pytest.mark.parametrize("what", MAKERS)
def test_interrupted_and_resumed_is_uninterrupted_to_the_bit(what, tmp_path, monkeypatch, no_curve, small_validation):
    make = lambda: MAKERS[what](monkeypatch)  # noqa: E731
    whole = go(make(), tmp_path / "whole")
    parts = interrupted_twice(make, tmp_path / "parts", 3, 8)
    for file in ("model.safetensors", "history.jsonl"):
        assert (tmp_path / "parts" / file).exists()
    assert (tmp_path / "whole/model.safetensors").read_bytes() == (tmp_path / "parts/model.safetensors").read_bytes()
    assert timeless(parts.history) == timeless(whole.history) == timeless(rows(tmp_path / "parts"))
    assert parts.best["step"] == whole.best["step"]
    ours, theirs = (checkpoint.read_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert ours.record.numbers == theirs.record.numbers
    assert ours.state.keys() == theirs.state.keys()
    for name, value in ours.state.items():
        assert value.dtype == theirs.state[name].dtype
        np.testing.assert_array_equal(value, theirs.state[name])


def test_killed_at_any_moment_it_goes_on_from_the_last_good_checkpoint(tmp_path):
    def start(folder, *flags, seconds="0"):
        return subprocess.Popen([sys.executable, small_training.__file__, str(folder), seconds, *flags],
                                stderr=subprocess.PIPE, text=True)  # fmt: skip

    undisturbed = start(tmp_path / "whole", seconds="1000")
    folder, reached = tmp_path / "parts", 0
    for delay in (0.03, 0.071, 0.113):
        process = start(folder, *(["--resume"] if reached else []))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = checkpoint.read_checkpoint(folder) if folder.exists() else None
            if found is not None and found.record.step > reached:
                break
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        reached = checkpoint.read_checkpoint(folder).record.step
        assert 0 < reached < 80
        (folder / ".checkpoint.safetensors.of_the_killed").write_bytes(b"half")
    last = start(folder, "--resume")
    assert last.communicate() == (None, "")
    assert undisturbed.communicate() == (None, "")
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole/model.safetensors").read_bytes()
    assert timeless(rows(folder)) == timeless(rows(tmp_path / "whole"))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_sigterm_waits_for_the_step_and_leaves_a_checkpoint(tmp_path):
    with pytest.raises(SystemExit) as ended:
        go(Fit(), tmp_path, progress=StopAt(5, signal.SIGTERM))
    assert ended.value.code == 143
    assert checkpoint.read_checkpoint(tmp_path).record.step == 5
    assert not (tmp_path / "model.safetensors").exists()


@pytest.fixture
def set_handler():
    before = signal.getsignal(signal.SIGTERM)
    yield lambda handler: signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGTERM, before)


def test_a_handler_of_the_callers_is_called_after_the_step_and_the_run_goes_on(set_handler, tmp_path, no_curve):
    called = []
    set_handler(lambda number, frame: called.append(checkpoint.read_checkpoint(tmp_path).record.step))
    summary = go(Fit(), tmp_path, progress=StopAt(5, signal.SIGTERM))
    assert called == [5]
    assert summary.step == 20
    whole = go(Fit(), tmp_path / "whole")
    assert timeless(summary.history) == timeless(whole.history)


def test_a_signal_that_is_ignored_stays_ignored(set_handler, tmp_path, no_curve):
    set_handler(signal.SIG_IGN)
    ours = signal.getsignal(signal.SIGINT)
    assert go(Fit(), tmp_path, progress=StopAt(5, signal.SIGTERM)).step == 20
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is ours


def test_a_second_signal_does_not_wait():
    reached = []

    def hurry():
        with Interrupts():
            for count in (1, 2):
                signal.raise_signal(signal.SIGINT)
                reached.append(count)

    with pytest.raises(KeyboardInterrupt):
        hurry()
    assert reached == [1]


def test_it_trains_in_a_thread(tmp_path, no_curve):
    thread = threading.Thread(target=go, args=(Fit(), tmp_path))
    thread.start()
    thread.join(20)
    assert checkpoint.read_checkpoint(tmp_path).record.step == 20


def test_an_error_in_half_a_step_keeps_the_checkpoint_before_it(tmp_path):
    class Broken(Fit):
        def step(self):
            if self.step_count == 6:
                self.weight[0] = 1e9
                raise RuntimeError("out of memory")
            return super().step()

    with pytest.raises(RuntimeError, match="out of memory"):
        go(Broken(), tmp_path, checkpoint_seconds=0)
    found = checkpoint.read_checkpoint(tmp_path)
    assert found.record.step == 6
    assert found.state["weight"][0] < 100


def test_the_best_is_exported_and_of_equal_ones_the_last(tmp_path):
    trainee = Fit(20, scores={4: 0.9, 8: 0.4, 12: 0.4, 16: 0.7, 20: 0.8})
    summary = go(trainee, tmp_path, command="planararm train line")
    assert (summary.reason, summary.step, summary.best["step"]) == ("steps", 20, 12)
    tensors, config = load_pretrained(tmp_path, policy="line")
    other = Fit(12)
    for _ in range(12):
        other.step()
    np.testing.assert_array_equal(tensors["weight"], other.weight)
    training = config["training"]
    assert (training["command"], training["seed"], training["steps"]) == ("planararm train line", 0, 20)
    assert training["settings"] == {**SETTINGS, "sizes": [1, 2]}
    assert training["scores"]["score"] == 0.4
    assert training["seconds"] >= 0
    assert {"python", "numpy", "planararm"} <= set(training["versions"])
    assert config["inputs"] == 1
    assert summary.curve.read_bytes()[:4] == b"\x89PNG"
    assert not summary.notes


def test_patience_ends_it_and_a_resumed_run_knows(tmp_path, no_curve):
    scores = {4: 0.5, 8: 0.5, 12: 0.6, 16: 0.1, 20: 0.1}
    summary = go(Fit(20, scores=scores), tmp_path, patience=2)
    assert (summary.reason, summary.step, summary.best["step"]) == ("patience", 12, 8)
    again = go(Fit(20, scores=scores), tmp_path, patience=2, resume=True)
    assert (again.reason, again.step) == ("patience", 12)
    longer = go(Fit(20, scores=scores), tmp_path, patience=3, resume=True)
    assert (longer.reason, longer.step, longer.best["step"]) == ("steps", 20, 20)


def test_a_loss_or_a_score_that_is_no_number_ends_it(tmp_path):
    with pytest.raises(DivergedError, match=r"The loss of step 9 is nan: .* keeps the checkpoint of step 8"):
        go(Fit(losses={9: float("nan")}), tmp_path / "a", checkpoint_seconds=0)
    assert checkpoint.read_checkpoint(tmp_path / "a").record.step == 8
    with pytest.raises(DivergedError, match=r"The score of step 4 is inf: .* keeps the checkpoint of step 0"):
        go(Fit(scores={4: float("inf")}), tmp_path / "b")


def test_history_has_the_mean_loss_and_a_bounded_number_of_rows(tmp_path, no_curve, monkeypatch):
    monkeypatch.setattr(run, "NUM_ROWS", 5)
    history = go(Fit(20, losses={i: float(i) for i in range(1, 21)}), tmp_path, validate_every=10).history
    assert [row["step"] for row in history] == [4, 8, 10, 12, 16, 20]
    assert [row["loss"] for row in history] == [2.5, 6.5, 9.5, 11.5, 14.5, 18.5]
    assert [row["step"] for row in history if "score" in row] == [10, 20]
    assert all(row["lr"] == 0.01 for row in history)


def test_resuming_a_finished_run_writes_its_weights_once_more(tmp_path, no_curve):
    go(Fit(), tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "history.jsonl").write_text("torn")
    summary = go(Fit(), tmp_path, resume=True)
    assert summary.step == 20
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert len(rows(tmp_path)) == 20


def test_a_folder_with_a_run_is_not_overwritten(tmp_path, no_curve):
    go(Fit(), tmp_path)
    with pytest.raises(InvalidInputError, match="holds this run already, at step 20: --resume goes on, --fresh starts"):
        go(Fit(), tmp_path)
    for resume in (False, True):
        with pytest.raises(
            InvalidInputError, match=r"another run \(arm None there, 'x' asked for; seed 0 there, 1 ask"
        ):
            go(Fit(), tmp_path, settings={**SETTINGS, "seed": 1, "arm": "x"}, resume=resume)
    (tmp_path / "mine.txt").write_text("kept")
    summary = go(Fit(4, seed=1), tmp_path, settings={"seed": 1}, fresh=True)
    assert summary.step == 4
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match=r"Nothing to resume: .* holds no run"):
        open_run(tmp_path / "none", SETTINGS, resume=True)
    with pytest.raises(InvalidInputError, match="choose one"):
        open_run(tmp_path, SETTINGS, resume=True, fresh=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError, match="is a file; choose another"):
        open_run(tmp_path / "file", SETTINGS)
    with pytest.raises(InvalidInputError, match="cannot be written to"):
        open_run(tmp_path / "file" / "below", SETTINGS)
    with pytest.raises(InvalidInputError, match="settings of a run must be JSON"):
        open_run(tmp_path, {"seed": float("nan")})
    save_pretrained(tmp_path / "weights", {"a": np.ones(1)}, {"policy": "line"})
    with pytest.raises(InvalidInputError, match="holds weights without a run"):
        open_run(tmp_path / "weights", SETTINGS)
    assert open_run(tmp_path / "new" / "folder", SETTINGS) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validate_every": 0}, "validate_every must be a whole number"),
        ({"patience": 0}, "patience must be a whole number"),
        ({"checkpoint_seconds": -1}, "checkpoint_seconds must be a number"),
    ],
)
def test_numbers_out_of_range(options, message, tmp_path):
    with pytest.raises(InvalidInputError, match=message):
        go(Fit(), tmp_path / "x", **options)
    assert not (tmp_path / "x").exists()


def test_damaged_checkpoints_are_told(tmp_path):
    go(Fit(4), tmp_path)
    file = tmp_path / checkpoint.CHECKPOINT
    good = file.read_bytes()
    for bad in (b"", good[:100], good[:-1], b"\xff" * 64, b"PK\x03\x04" + good):
        file.write_bytes(bad)
        with pytest.raises(WeightsError, match=r"is damaged, or no checkpoint: .*--fresh"):
            go(Fit(4), tmp_path, resume=True)
    for text, message in (
        ("{", "is damaged"),
        ("[" * 10**5, "is damaged"),
        ("[1]", "format 'list'"),
        ('{"format": 2}', "format 2, this planararm reads 1"),
        ('{"format": 1}', "format 1"),
    ):
        file.write_bytes(safetensors.numpy.save({"state.weight": np.ones(2)}, {"run": text}))
        with pytest.raises(WeightsError, match=message):
            go(Fit(4), tmp_path, resume=True)
    file.write_bytes(good)
    record = json.loads(json.dumps(asdict(checkpoint.read_checkpoint(tmp_path).record)))
    for name, values in {
        "settings": ([], 1), "numbers": (None,), "best_config": ("x",), "step": (-1, True, 1.0), "every": (0, "4"),
        "loss_count": (-1, None), "waited": ([],), "loss_sum": ("x", None, 10**400), "seconds": ([1],),
        "history": ({}, [1], [{"step": 4}], [{"step": 4, "loss": "x"}]), "best": (1, {}, {"score": 0.5}),
    }.items():  # fmt: skip
        for value in values:
            text = json.dumps({"format": 1, **record, name: value})
            file.write_bytes(safetensors.numpy.save({"state.weight": np.ones(2)}, {"run": text}))
            with pytest.raises(WeightsError, match=f"is damaged: its {name} cannot be "):
                go(Fit(4), tmp_path, resume=True)
    record = checkpoint.Record({**SETTINGS, "sizes": [1, 2]}, step=1, numbers={})
    checkpoint.write_checkpoint(tmp_path, checkpoint.Checkpoint(record, {"weight": np.ones(2)}, {}))
    with pytest.raises(WeightsError, match="does not fit what is trained"):
        go(proposal_trainee(), tmp_path, resume=True)


def test_a_checkpoint_is_data_only(tmp_path):
    record = checkpoint.Record(SETTINGS, numbers={"rng": object()})
    with pytest.raises(InvalidInputError, match="must be JSON"):
        checkpoint.write_checkpoint(tmp_path, checkpoint.Checkpoint(record, {}, {}))
    empty = checkpoint.Checkpoint(checkpoint.Record({}), {"a": np.ones(1)}, {})
    with pytest.raises(WeightsError, match="cannot be written"):
        checkpoint.write_checkpoint(tmp_path / "none", empty)


def test_without_matplotlib_it_goes_on_and_says_so(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"planararm\[report\]"):
        curves.draw_learning_curve([], tmp_path / "x.png")
    summary = go(Fit(4), tmp_path / "run")
    assert summary.curve is None
    assert "learning_curve.png" in summary.notes[0]
    assert (tmp_path / "run/model.safetensors").exists()


def test_a_curve_of_zeros_and_negative_numbers(tmp_path):
    history = [{"step": i, "loss": -float(i), "lr": 1.0, "score": 0.0, "any": 0.1} for i in range(3)]
    assert curves.draw_learning_curve(history, tmp_path / "x.png").stat().st_size > 1000


def test_torch_state_there_and_back(small_validation):

    one, two = proposal_trainee(), proposal_trainee()
    for _ in range(3):
        one.step()
    two.load_state(*one.state())
    assert two.step_count == 3
    kinds = {name.rpartition(".")[2] for name in one.state()[0] if name.startswith("optimiser.")}
    assert kinds == {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}
    assert one.step() == two.step()
    arrays, numbers = one.state()
    with pytest.raises(WeightsError, match="missing"):
        two.load_state({name: value for name, value in arrays.items() if "trunk_in" not in name}, numbers)
    with pytest.raises(WeightsError, match=r"'optimiser\.0\.99.step' is of none of them"):
        two.load_state({**arrays, "optimiser.0.99.step": np.zeros(())}, numbers)
    with pytest.raises(WeightsError, match="must have the shape of its parameter"):
        two.load_state({**arrays, "optimiser.1.0.exp_avg": np.zeros(3)}, numbers)
    with pytest.raises(InvalidInputError, match=r"no torch.bfloat16; train in float32"):
        torch_state.to_array(torch.ones(2, dtype=torch.bfloat16))
    parameter = torch.nn.Parameter(torch.ones(2))
    searching = torch.optim.LBFGS([parameter])
    searching.step(lambda: (parameter**2).sum())
    with pytest.raises(InvalidInputError, match=r"LBFGS remembers .* no tensor"):
        torch_state.optimiser_arrays(searching)
    whole = torch.arange(3)
    assert torch_state.to_array(whole).dtype == np.int64


def test_trained_proposals_are_a_policy(tmp_path, small_validation, no_curve):
    go(proposal_trainee(4), tmp_path)
    policy = make_policy("torch-mlp", weights=tmp_path)
    from planararm.scene import make_scene

    q = np.asarray(policy.solve([1.0, 1.0], np.zeros(3), make_scene("empty")).q)
    assert q.shape == (3,)
    start = recipes.make_trainee("torch-mlp", init=tmp_path, steps=3)
    tensors, _ = load_pretrained(tmp_path, policy="torch-mlp")
    assert start.num_steps == 3
    assert all(np.array_equal(value, tensors[name]) for name, value in start.weights().items())
    with pytest.raises(WeightsError, match="is nothing to begin with: the weights are for 3 links, the arm has 5"):
        recipes.make_trainee("torch-mlp", "unit5", init=tmp_path)


def test_duka_in_steps_is_duka_at_once(tmp_path, monkeypatch, no_curve):
    trainee = duka_trainee(monkeypatch)
    scores = []
    while trainee.step_count < trainee.num_steps:
        trainee.step()
        scores.append(trainee.validate()["score"])
    assert trainee.step_count == 12
    assert scores[-1] == min(scores)
    for kind, net in duka.train_networks(0).items():
        np.testing.assert_array_equal(net.network.get_vector(), trainee.networks()[kind].network.get_vector())
    tensors, config = trainee.export()
    folder = save_pretrained(tmp_path, tensors, config)
    assert NumpyMLP(folder).config["num_hidden"] == 8
    again = recipes.make_trainee("numpy-mlp", steps=3, init=folder)
    again.step()
    assert again.validate()["pose"] == trainee.validate()["pose"]


def test_duka_stops_early_where_a_network_is_done(monkeypatch):
    trainee = duka_trainee(monkeypatch, 60)
    monkeypatch.setattr(trainee._search, "patience", 1)
    while trainee.stage == 0:
        trainee.step()
    assert trainee.step_count < 20
    assert trainee.num_steps == trainee.step_count + 40
    monkeypatch.setattr(trainee._search, "_flat", np.inf)
    trainee.step()
    assert trainee.stage == 2


def test_levenberg_marquardt_goes_on_where_it_was():
    def search():
        return LevenbergMarquardt(
            lambda x: (float(r(x) @ r(x)), j(x).T @ r(x), j(x).T @ j(x)), lambda x: float(r(x) @ r(x)), [-1.2, 1.0],
            validation=lambda x: float(np.abs(x - 1).sum()),
        )  # fmt: skip

    r = lambda x: np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])  # noqa: E731
    j = lambda x: np.array([[-20 * x[0], 10.0], [-1.0, 0.0]])  # noqa: E731
    one, two = search(), search()
    for _ in range(4):
        one.step()
    arrays, numbers = one.state()
    two.load_state(arrays, json.loads(json.dumps(numbers)))
    while one.step():
        assert two.step()
    assert not two.step()
    assert one.result.reason == two.result.reason
    np.testing.assert_array_equal(one.result.theta, two.result.theta)
    assert one.result.validation_error == two.result.validation_error
    with pytest.raises(InvalidInputError, match=r"theta must have shape \(.*2\), got \(3,\)"):
        two.load_state({**arrays, "theta": np.zeros(3)}, numbers)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("torch-mpl",), UnknownNameError, "Unknown policy to train 'torch-mpl'. Did you mean 'torch-mlp'"),
        (("torch-mlp", "unit3", "mixt"), UnknownNameError, "Did you mean 'mixed'"),
        (("torch-mlp", "unit3", "mixed", 0, 5, "gpu"), UnknownNameError, "Unknown device 'gpu'"),
        (("numpy-mlp", "unit3"), InvalidInputError, "trained for the arm 'duka' of its paper, got 'unit3'"),
        (("numpy-mlp", None, "mixed"), InvalidInputError, "trained without discs, scenes 'free', got 'mixed'"),
        (("numpy-mlp", None, None, 0, 5, "cuda"), InvalidInputError, "trained on the CPU, got device 'cuda'"),
        (("numpy-mlp", None, None, 0, 2), InvalidInputError, r"steps must be a whole number in \[3,"),
        (("torch-mlp", "unit3", "mixed", 0, 5, "cpu", "torch-mlp-unit33"), WeightsError, "Did you mean 'torch-mlp-un"),
    ],
)
def test_recipes_refuse(arguments, error, message):
    with pytest.raises(error, match=message):
        recipes.make_trainee(*arguments)


def test_every_recipe_is_a_policy_and_has_its_function():
    import importlib

    for recipe in recipes.RECIPES.values():
        module, _, function = recipe.target.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "planararm.learning.proposals_torch", None)
    with pytest.raises(ModuleNotFoundError, match="proposals_torch"):
        recipes.make_trainee("torch-mlp")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from planararm.learning import recipes\n"
        "try: recipes.make_trainee('torch-mlp')\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent,
                          env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])})  # fmt: skip
    assert done.stdout.startswith("MissingExtraError training 'torch-mlp' needs an optional dependency: pip install")
