"""``planararm train`` and the weights in ``planararm list``, through ``main`` and as a process."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from planararm import cli
from planararm.errors import UnknownNameError
from planararm.learning import command, progress, proposals_torch, recipes
from planararm.learning.checkpoint import read_checkpoint
from planararm.policies import make_policy
from planararm.policies.pretrained import list_pretrained, load_pretrained
from planararm.scene import make_scene


@pytest.fixture(autouse=True)
def _recipes(monkeypatch, tmp_path):
    for name, function in (("line", "make_fit"), ("slow", "make_slow_fit"), ("bad", "make_bad_fit")):
        monkeypatch.setitem(recipes.RECIPES, name, recipes.Recipe(f"small_training:{function}", 20, 4))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])


def train(*arguments):
    return cli.main(["train", *(str(argument) for argument in arguments)])


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as ended:
        train("--help")
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for words in (
        "usage: planararm train",
        "examples:",
        "planararm train torch-mlp --resume",
        "--patience N",
        "Ctrl-C",
    ):
        assert words in shown
    for line in command.OPTIONS:
        assert f"--{line.replace('_', '-')}" in shown
    assert max(len(line) for line in cli.train.EPILOG.splitlines()) <= 120


def test_list_shows_the_bundled_weights(capsys):
    assert cli.main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "weights:\n" in shown
    assert list_pretrained()
    for name in list_pretrained():
        assert f"  {name}\n" in shown


def test_it_trains_and_says_how_to_use_what_came_out(capsys):
    assert train("line", "--validate-every", 5) == 0
    shown = capsys.readouterr()
    folder = "runs/train/line-unit3"
    for words in (
        "line for unit3: all steps taken; 20 steps in 0 s",
        "       first        best        last",
        "score",
        f'make_policy("line", weights="{folder}")',
        f"""planararm bench line --policy-kwargs '{{"weights": "{folder}"}}'""",
        f"Learning curve: {folder}/learning_curve.png",
    ):
        assert words in shown.out
    lines = shown.err.splitlines()
    assert [line.partition("  ")[0] for line in lines] == [f"step {step}/20" for step in (5, 10, 15, 20)]
    assert "(best)" in lines[0]
    assert "steps/s" in lines[0]
    _, config = load_pretrained(folder, policy="line")
    assert config["training"]["command"] == "planararm train line --validate-every 5"
    assert config["training"]["settings"]["steps"] == 20


def test_trained_torch_weights_are_a_policy(monkeypatch, capsys):
    monkeypatch.setattr(proposals_torch, "VALIDATION_SIZE", 32)
    before = torch.get_num_threads()
    try:
        assert train("torch-mlp", "--steps", 2, "--threads", 1, "--device", "cpu", "--out", "my nets/a") == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    used = next(line for line in capsys.readouterr().out.splitlines() if "make_policy" in line)
    policy = eval(used, {"make_policy": make_policy})
    assert np.shape(policy.solve([1.0, 1.0], np.zeros(3), make_scene("empty")).q) == (3,)


def test_the_run_goes_on_only_when_asked_to(capsys):
    assert train("line", "--out", "a", "--patience", 9) == 0
    capsys.readouterr()
    assert train("line", "--out", "a") == 2
    assert "holds this run already, at step 20: --resume goes on, --fresh starts over" in capsys.readouterr().err
    assert train("line", "--out", "a", "--resume") == 0
    assert "going on at step 20 of 20" in capsys.readouterr().err
    assert train("line", "--out", "a", "--resume", "--steps", 30) == 2
    assert "another run (steps 20 there, 30 asked for)" in capsys.readouterr().err
    assert train("line", "--out", "a", "--fresh", "--steps", 30) == 0
    assert read_checkpoint(Path("a")).record.step == 30


def test_two_seeds_give_two_networks():
    for seed in (0, 1, 1):
        assert train("line", "--seed", seed, "--out", f"s{seed}", "--fresh") == 0
    one, two = (load_pretrained(f"s{seed}", policy="line")[0]["weight"] for seed in (0, 1))
    assert not np.array_equal(one, two)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torch-mpl"], "Unknown policy to train 'torch-mpl'. Did you mean 'torch-mlp'?"),
        (["hold"], "Unknown policy to train 'hold'."),
        (["torch-mlp", "--arm", "unit33"], "Unknown arm 'unit33'. Did you mean 'unit3'?"),
        (["torch-mlp", "--scenes", "mixt"], "Unknown kind of training scenes 'mixt'. Did you mean 'mixed'?"),
        (["torch-mlp", "--device", "cdua"], "Unknown device 'cdua'. Did you mean 'cuda'?"),
        (["torch-mlp", "--steps", "0"], "--steps must be at least 1, got 0."),
        (["torch-mlp", "--steps", "-5"], "--steps must be at least 1, got -5."),
        (["torch-mlp", "--validate-every", "0"], "--validate-every must be at least 1, got 0."),
        (["torch-mlp", "--patience", "0"], "--patience must be at least 1, got 0."),
        (["torch-mlp", "--threads", "0"], "--threads must be at least 1, got 0."),
        (["torch-mlp", "--init", "torch-mlp-unit4"], "No weights 'torch-mlp-unit4'"),
        (["torch-mlp", "--init", "projected-mlp-unit3"], "holds weights of 'projected-mlp', not of 'torch-mlp'"),
        (["numpy-mlp", "--arm", "unit3"], "numpy-mlp is trained for the arm 'duka' of its paper, got 'unit3'"),
        (["numpy-mlp", "--scenes", "hard"], "trained without discs, scenes 'free', got 'hard'"),
        (["numpy-mlp", "--threads", "2"], "numpy-mlp is not: set the environment variable OMP_NUM_THREADS"),
        (["numpy-mlp", "--steps", "2"], "steps must be a whole number in [3,"),
        (["line", "--resume"], "Nothing to resume: 'runs/train/line-unit3' holds no run; begin one without --resume."),
        (["line", "--resume", "--fresh"], "--resume goes on with a run and --fresh throws it away: choose one."),
        (["line", "--out", "/dev/null"], "The folder for the run, '/dev/null', is a file; choose another."),
        (["line", "--out", "/dev/null/x"], "The folder for the run, '/dev/null/x', cannot be written to"),
    ],
)
def test_errors_are_one_line_and_exit_2(arguments, message, tmp_path, capsys):
    assert train(*arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""
    assert list(tmp_path.iterdir()) == []


def test_options_that_are_no_numbers_are_refused_by_the_parser(capsys):
    for words in (["--steps", "many"], ["--seed", "-1"]):
        with pytest.raises(SystemExit) as ended:
            train("line", *words)
        assert ended.value.code == 2
        assert words[0] in capsys.readouterr().err


def test_cuda_where_there_is_none(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train("torch-mlp", "--device", "cuda") == 2
    assert "finds no CUDA here; use 'cpu'" in capsys.readouterr().err


def test_missing_torch_is_named(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "planararm.learning.proposals_torch")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert train("torch-mlp") == 2
    assert "training 'torch-mlp' needs an optional dependency: pip install \"planararm[torch]\"" in (
        capsys.readouterr().err
    )


def test_missing_matplotlib_is_told_and_missing_rich_is_no_matter(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("matplotlib", "rich")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("matplotlib", "matplotlib.figure", "rich", "rich.console"):
        monkeypatch.setitem(sys.modules, name, None)
    assert train("line") == 0
    shown = capsys.readouterr()
    assert "No learning_curve.png was drawn. The learning curve needs an optional dependency" in shown.err
    assert "Learning curve:" not in shown.out
    assert "make_policy" in shown.out


def test_a_diverged_run_ends_with_an_error(capsys):
    assert train("bad", "--out", "a") == 2
    assert "planararm: The loss of step 2 is nan: the training has diverged. 'a' keeps the checkpoint" in (
        capsys.readouterr().err
    )


def test_debug_shows_the_traceback():
    with pytest.raises(UnknownNameError, match="torch-mpl"):
        train("torch-mpl", "--debug")


def test_ctrl_c_before_the_first_step(monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "make_trainee", interrupt)
    assert train("line") == 130
    assert "interrupted before the first step; nothing is kept" in capsys.readouterr().err


SCRIPT = """
import sys
from planararm import cli
from planararm.learning import recipes
recipes.RECIPES["slow"] = recipes.Recipe("small_training:make_slow_fit", 150, 50)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_in_a_process_and_the_command_that_resumes(number, code, tmp_path):
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path}

    def start(*words):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=environment, cwd=tmp_path)  # fmt: skip

    process = start("train", "slow", "--out", "my run", "--seed", "2", "--fresh")
    try:
        deadline = time.monotonic() + 30
        history = tmp_path / "my run" / "history.jsonl"
        while time.monotonic() < deadline and not (history.exists() and history.stat().st_size > 500):
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    first, last = err.strip().splitlines()[-2:]
    step = read_checkpoint(tmp_path / "my run").record.step
    assert 0 < step < 150
    assert first == f"planararm: interrupted at step {step}. my run keeps what was done; to go on:"
    words = shlex.split(last)
    assert words == ["planararm", "train", "slow", "--seed", "2", "--out", "my run", "--resume"]
    resumed = start(*words[1:])
    out, err = resumed.communicate(timeout=30)
    assert resumed.returncode == 0
    assert f"going on at step {step} of 150" in err
    assert 'make_policy("slow", weights="my run")' in out
    assert json.loads((tmp_path / "my run" / "config.json").read_text())["training"]["steps"] == 150


def test_the_bar_shows_loss_score_and_speed():
    import io

    from rich.console import Console

    file = io.StringIO()
    with progress.BarProgress(Console(file=file, force_terminal=True, width=150)) as bar:
        bar.begin(3, 10, 1.0)
        bar.stepped(4, 10, 0.1234)
        bar.validated({"step": 4, "loss": 0.1, "score": 0.25}, True)
        bar.validated({"step": 4, "loss": 0.1, "score": 0.5}, False)
        bar.stepped(5, 9, 0.5)
    shown = file.getvalue()
    for words in ("5/9", "loss 0.5", "score 0.5 (best 0.25)", "steps/s"):
        assert words in shown
    with progress.BarProgress(Console(file=file)):
        pass


def test_the_bar_of_a_resumed_run_knows_the_best_and_fits_into_80_columns():
    import io
    import re

    from rich.console import Console

    file = io.StringIO()
    with progress.BarProgress(Console(file=file, force_terminal=True, width=80)) as bar:
        bar.begin(9000, 10000, 1.0, 0.03125)
        bar.stepped(9001, 10000, 0.0272899)
        bar.validated({"step": 9001, "loss": 0.1, "score": 0.0432109}, False)
        bar.stepped(9002, 10000, 0.0272899)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", file.getvalue())
    assert "(best 0.0312)" in shown.split("9001", 1)[0]
    last = shown.replace("\r", "\n").strip().splitlines()[-1]
    assert " 9002/10000 loss 0.0273  score 0.0432 (best 0.0312) " in last
    assert re.search(r" steps/s \d:\d\d:\d\d$", last)


def test_lines_also_come_where_nothing_is_validated(monkeypatch, capsys):
    monkeypatch.setattr(progress, "QUIET", 0.0)
    lines = progress.PlainProgress()
    lines.begin(0, 7300, 0.0)
    lines.stepped(1, 7300, 0.5)
    assert capsys.readouterr().err.startswith("step 1/7300  loss 0.5  ")
    assert [progress.duration(x) for x in (5.2, 61, 3600, 7325)] == ["5 s", "1 min 01 s", "1 h 00 min", "2 h 02 min"]


def test_in_a_terminal_there_is_a_bar(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(progress.make_progress(), progress.BarProgress)
    monkeypatch.delenv("FORCE_COLOR")
    assert not isinstance(progress.make_progress(), progress.BarProgress)
