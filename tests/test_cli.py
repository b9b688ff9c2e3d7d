"""The command line, through ``main`` and as a process."""

import json
import signal
import subprocess
import sys
import time

import pytest
import small_suite as ours
from small_suite import small_suite

import planararm
from planararm import cli
from planararm.benchmark import suites
from planararm.benchmark.results import RESULTS, read_manifest, read_results

BENCH = ["bench", "--suite", "test/small", "--no-report"]


@pytest.fixture(autouse=True)
def _small_suite(monkeypatch):
    monkeypatch.setitem(suites._BUILDERS, "test/small", small_suite)
    monkeypatch.setattr(sys, "path", [*sys.path])
    suites.load_suite.cache_clear()
    yield
    suites.load_suite.cache_clear()


def run(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_no_command_shows_the_help(capsys):
    assert run() == 0
    shown = capsys.readouterr().out
    for word in ("bench", "demo", "list", "check", "render", "play", "examples:", "my_module:MyPolicy"):
        assert word in shown


@pytest.mark.parametrize(
    "command",
    ["bench", "check", "compare", "demo", "export", "list", "play", "render", "replay", "report", "train", "verify"],
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        run(command, "--help")
    assert ended.value.code == 0
    assert f"usage: planararm {command}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--version")
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"planararm {planararm.__version__}\n"


def test_list_names_everything(capsys):
    assert run("list") == 0
    shown = capsys.readouterr().out
    for word in ("closed-form", "v1/quick", "clutter", "unit3", "lemniscate", "planararm/Reach-v0"):
        assert f"  {word}\n" in shown


def test_bench_prints_the_table_and_writes_results(tmp_path, capsys):
    out = tmp_path / "out"
    assert run(*BENCH, "hold", "closed-form", "small_suite:NaNSometimes", "--out", out, "--seed", 7) == 0
    shown = capsys.readouterr()
    assert "Inverse kinematics, unit3: success [%] and tracking error [fraction of reach]" in shown.out
    assert "Tracking in closed loop" in shown.out
    for name in ("hold", "closed-form", "small_suite:NaNSometimes", "crashed"):
        assert name in shown.out
    assert len(read_results(out)) == 3 * len(small_suite())
    assert read_manifest(out)["seeds"] == [7]
    lines = [line for line in shown.out.splitlines() if line.strip().startswith("closed-form")]
    assert any("\N{EN DASH}" in line for line in lines)


def test_bench_says_when_nothing_was_left_to_do(tmp_path, capsys):
    assert run(*BENCH, "hold", "--out", tmp_path / "out") == 0
    assert "were there already" not in capsys.readouterr().err
    before = (tmp_path / "out" / RESULTS).read_bytes()
    assert run(*BENCH, "hold", "--out", tmp_path / "out") == 0
    assert "20 of 20 rows were there already, from an earlier run" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "out" / RESULTS).read_bytes() == before


def test_fresh_starts_over(tmp_path, capsys):
    assert run(*BENCH, "hold", "--out", tmp_path / "out", "--seed", 1) == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run(*BENCH, "hold", "--out", tmp_path / "out", "--fresh") == 0
    assert {row["seed"] for row in read_results(tmp_path / "out")} == {0}
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_brackets_in_names_are_no_markup(tmp_path, capsys):
    options = json.dumps({"damping": [0.1][0]})
    out = tmp_path / "out"
    assert run(*BENCH, "damped-least-squares", "--policy-kwargs", options, "--out", out) == 0
    assert "damped-least-squares(damping=0.1)" in capsys.readouterr().out
    assert {row["policy"] for row in read_results(out)} == {"damped-least-squares(damping=0.1)"}


def test_options_for_several_policies(tmp_path):
    options = json.dumps({"damped-least-squares": {"damping": 0.1}})
    out = tmp_path / "out"
    assert run(*BENCH, "damped-least-squares", "hold", "--policy-kwargs", options, "--out", out) == 0
    assert {row["policy"] for row in read_results(out)} == {"damped-least-squares(damping=0.1)", "hold"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "hodl"], "planararm: Unknown policy 'hodl'. Did you mean 'hold'?"),
        (["bench", "--suite", "v1/quik", "hold"], "planararm: Unknown suite 'v1/quik'. Did you mean 'v1/quick'?"),
        (["bench", "no_such_module:f"], "planararm: Policy 'no_such_module:f': cannot import 'no_such_module'"),
        (["bench", "small_suite:CannotBeBuilt"], "cannot be built: OSError: weights are gone"),
        (["bench", "hold", "--policy-kwargs", "{"], "planararm: --policy-kwargs must be JSON, got '{'"),
        (["bench", "hold", "--policy-kwargs", "[1]"], "planararm: --policy-kwargs must be a JSON object"),
        (["bench", "--policy-kwargs", '{"a": 1}'], "planararm: --policy-kwargs needs the POLICY"),
        (["bench", "hold", "closed-form", "--policy-kwargs", '{"hodl": {}}'], "policy in --policy-kwargs 'hodl'"),
        (["bench", "hold", "closed-form", "--policy-kwargs", '{"hold": 1}'], "of 'hold' must be a JSON object, got 1"),
        (["check", "hodl"], "planararm: Unknown policy 'hodl'."),
        (["check", "hold", "--scene", "cluter"], "Unknown scene 'cluter'. Did you mean 'clutter'?"),
        (["render", "--out", "x.gif", "--env", "planararm/Rech-v0"], "Did you mean 'planararm/Reach-v0'?"),
        (["render", "--out", "x.gif", "--policy", "hodl"], "planararm: Unknown policy 'hodl'."),
        (["render", "--out", "x.gif", "--steps", "0"], "planararm: --steps must be at least 1, got 0."),
        (["render", "--out", "x.bmp"], "planararm: --out must end in .png, .gif, .mp4, got 'x.bmp'."),
        (["render", "--out", "none/x.gif"], "planararm: --out names the folder 'none', which does not exist."),
    ],
)
def test_errors_are_one_line_and_exit_2(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert run(*arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    assert len([line for line in shown.splitlines() if "compiling what" not in line]) == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback():
    with pytest.raises(planararm.errors.UnknownNameError, match="Unknown policy 'hodl'"):
        run("bench", "hodl", "--debug")


def test_a_policy_in_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine_alone.py").write_text("def ik(target_position, q, scene):\n    return q\n")
    assert run(*BENCH, "mine_alone:ik", "--out", "out") == 0
    assert {row["policy"] for row in read_results(tmp_path / "out")} == {"mine_alone:ik"}


def test_check_reports_and_its_exit_code_tells(capsys):
    assert run("check", "hold") == 0
    assert "checks passed" in capsys.readouterr().out
    assert run("check", "small_suite:NaNSometimes") == 1
    shown = capsys.readouterr().out
    assert "FAIL" in shown
    assert "must return finite joint angles" in shown


def test_an_interrupted_bench_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def interrupt(self, target_position, q, scene, *, target_orientation=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(ours.Boasts, "solve", interrupt)
    command = [*BENCH, "hold", "small_suite:Boasts", "--isolate", "never", "--out", tmp_path / "out"]
    assert run(*command) == 130
    assert "repeat the command to go on" in capsys.readouterr().err
    assert len(read_results(tmp_path / "out")) == len(small_suite())
    monkeypatch.undo()
    monkeypatch.setitem(suites._BUILDERS, "test/small", small_suite)
    assert run(*command) == 0
    assert len(read_results(tmp_path / "out")) == 2 * len(small_suite())


def test_a_missing_extra_is_named(monkeypatch, tmp_path, capsys):
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert run(*BENCH, "hold", "--out", tmp_path / "out") == 2
    assert 'pip install "planararm[cli]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_render_writes_a_file(tmp_path, monkeypatch, capsys, suffix):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    file = tmp_path / f"episode{suffix}"
    assert run("render", "--policy", "closed-form", "--steps", 4, "--seed", 1, "--out", file) == 0
    assert file.read_bytes()[:4] in (b"\x89PNG", b"GIF8")
    assert "4 steps, mean tracking error" in capsys.readouterr().out


def test_play_is_handed_its_options(monkeypatch):
    asked = []
    import planararm.play

    monkeypatch.setattr(planararm.play, "play", lambda **options: asked.append(options), raising=False)
    assert run("play", "--policy", "hold", "--scene", "clutter") == 0
    assert run("play") == 0
    assert asked == [{"policy": "hold", "scene": "clutter"}, {"policy": "closed-form"}]


def test_as_a_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "planararm.cli", "bench", "hodl"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "compiling what" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("planararm: Unknown policy 'hodl'.")


def test_ctrl_c_in_a_process(tmp_path):
    (tmp_path / "slow.py").write_text(
        "import time\nfrom pathlib import Path\n\n"
        "def ik(target_position, q, scene):\n    Path('asked').touch()\n    time.sleep(60)\n    return q\n"
    )
    command = [sys.executable, "-m", "planararm.cli", "bench", "hold", "slow:ik", "--no-report", "--out", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "asked").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, shown = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted. out keeps what was done; repeat the command to go on." in shown
    assert "Traceback" not in shown
    rows = read_results(tmp_path / "out")
    assert {row["policy"] for row in rows} == {"hold"}


def test_options_of_several_policies_are_named(capsys):
    options = ["--policy-kwargs", '{"damping": 0.3}']
    assert run(*BENCH, "damped-least-squares", "hold", *options) == 2
    said = capsys.readouterr().err
    assert '--policy-kwargs of several policies must name them, like {"damped-least-squares": {"damping": ...}}' in said


def test_all_suites_and_one_more(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(suites, "available_suites", lambda: ["test/small"])
    assert run("bench", "hold", "--suite", "all", "test/small", "--no-report", "--out", tmp_path) == 0
    assert len(read_results(tmp_path)) == len(small_suite())
