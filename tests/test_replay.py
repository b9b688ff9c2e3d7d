"""The replay of a single task as a page of its own."""

import numpy as np
import pytest
from small_report import AWKWARD, BROWSER, browse, data_of, moving_suite, run_moving, run_small
from small_suite import small_suite

from planararm.benchmark.report import write_replay
from planararm.benchmark.results import RESULTS
from planararm.cli import main
from planararm.errors import FileFormatError, InvalidInputError, UnknownNameError


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    run_small(folder / "a")
    run_moving(folder / "b")
    return folder


@pytest.fixture
def known_suites(monkeypatch):
    suites = {suite.name: suite for suite in (small_suite(), moving_suite())}
    monkeypatch.setattr("planararm.benchmark.report.page.load_suite", suites.__getitem__)


def test_a_task_with_everybody_s_answers(out):
    page = write_replay(out / "a", "ik/3", suite=small_suite())
    assert page == out / "a" / "replay-ik-00003.html"
    text = page.read_text(encoding="utf-8")
    data = data_of(text)
    ((task,),) = (suite["replays"] for suite in data["suites"])
    assert (task["name"], task["set"], len(task["answers"])) == ("ik/00003", "chosen", len(data["policies"]))
    assert task["target"] == pytest.approx(small_suite().groups[0].targets[3], abs=1e-5)
    assert len(text) < 100_000


def test_chosen_policies_in_their_order(out, tmp_path):
    page = write_replay(out / "a", "track/00001", ["hold", AWKWARD], suite=small_suite(), out=tmp_path / "x" / "p.html")
    text = page.read_text(encoding="utf-8")
    data = data_of(text)
    assert page == tmp_path / "x" / "p.html"
    assert data["policies"] == ["hold", AWKWARD]
    assert text.count("</script") == 2


def test_all_frames_of_a_path(out, tmp_path):
    page = write_replay(out / "b", "moving/00000", suite=moving_suite(), out=tmp_path / "p.html")
    (task,) = data_of(page.read_text(encoding="utf-8"))["suites"][0]["replays"]
    assert task["times"] == pytest.approx(0.05 * np.arange(moving_suite().groups[0].targets.shape[1]))


@pytest.mark.usefixtures("known_suites")
def test_the_suite_that_has_the_task_is_found(out, tmp_path):
    page = write_replay(out, "moving/1", out=tmp_path / "p.html")
    assert data_of(page.read_text(encoding="utf-8"))["suites"][0]["name"] == "test/moving"
    with pytest.raises(UnknownNameError, match=r"Unknown task 'movin/1'. Did you mean 'moving/00000'\?"):
        write_replay(out, "movin/1")


@pytest.mark.usefixtures("known_suites")
def test_several_suites_that_have_the_task(out, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for file in ("manifest.json", RESULTS):
            (tmp_path / name / file).write_bytes((out / "a" / file).read_bytes())
    with pytest.raises(
        InvalidInputError, match=r"Several suites have a task 'ik/1': name the folder of one, .*one' or"
    ):
        write_replay(tmp_path, "ik/1")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("ikk/00003", r"Unknown task 'ikk/00003'. Did you mean 'ik/00003'\?"),
        ("tracks/00002", r"Unknown task 'tracks/00002'. Did you mean 'track/00002'\?"),
        ("ik", r"Unknown task 'ik'.* Known: ik-unit5/00004, ik/00011, track/00002"),
        ("ik/x", r"Unknown task 'ik/x'"),
        ("ik/-1", r"Unknown task 'ik/-1'"),
        ("nothing/99999", r"Unknown task 'nothing/99999'.* Known: ik-unit5/00000"),
    ],
)
def test_an_unknown_task(out, task, message):
    with pytest.raises(UnknownNameError, match=message):
        write_replay(out / "a", task, suite=small_suite())


def test_a_number_that_there_is_not(out):
    with pytest.raises(InvalidInputError, match=r"no task 'ik/12': group 'ik' of 'test/small' has the numbers 0 to 11"):
        write_replay(out / "a", "ik/12", suite=small_suite())


def test_an_unknown_policy(out):
    with pytest.raises(UnknownNameError, match=r"Unknown policy in these results 'hodl'. Did you mean 'hold'\?"):
        write_replay(out / "a", "ik/1", ["hodl"], suite=small_suite())


def test_nothing_to_show(out):
    with pytest.raises(FileFormatError, match=r"no answers to 'ik-unit5/00001' by closed-form: they have not been run"):
        write_replay(out / "a", "ik-unit5/1", ["closed-form"], suite=small_suite())


@pytest.mark.usefixtures("known_suites")
def test_the_command(out, tmp_path, capsys):
    target = tmp_path / "page.html"
    command = ["replay", str(out / "a"), "ik/00002", "--policy", "hold", "--policy", "damped", "--out", str(target)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"Replay: {target}\n"
    assert data_of(target.read_text(encoding="utf-8"))["policies"] == ["hold", "damped"]
    assert main(["replay", str(out / "a"), "ikk/00002"]) == 2
    assert "Did you mean 'ik/00002'?" in capsys.readouterr().err


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_it_plays_in_a_browser(out, tmp_path):
    page = write_replay(out / "b", "moving/0", suite=moving_suite(), out=tmp_path / "p.html")
    script = """
      const { discsAt, replay } = window.planararm;
      const disc = () => discsAt(replay.view.task.discs, replay.facts().time);
      const before = disc();
      byId("replay-play").click();
      await wait(1000);
      byId("replay-play").click();
      found.frame = Number(byId("replay-frame").value);
      found.time = replay.facts().time;
      found.discs = [before, disc()];
      found.broken = window.broken === undefined;
    """
    found = browse(page, tmp_path, script)
    assert found["complaints"] == []
    assert found["broken"]
    assert found["frame"] > 5
    for time, discs in zip((0.0, found["time"]), found["discs"], strict=True):
        centers = moving_suite().groups[0].scene[0].obstacles.positions(time)
        assert np.array(discs)[:, :2] == pytest.approx(centers, abs=1e-6)
