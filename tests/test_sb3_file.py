"""Model files of Stable-Baselines3: the same actions as its own loader, and nothing in them is run."""

import io
import json
import os
import zipfile
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from small_suite import small_suite
from stable_baselines3 import DDPG, PPO, SAC, TD3

import planararm
from planararm.benchmark.runner import run
from planararm.errors import FileFormatError, InvalidInputError, PolicyError, UnknownNameError
from planararm.policies import make_policy
from planararm.policies.sb3_file import load_sb3_policy

SMALL = {"policy_kwargs": {"net_arch": [8, 8]}}
MODELS = {
    "ppo": (PPO, "planararm/Reach-v0", {}, {}),
    "ppo-relu": (PPO, "planararm/Reach-v0", {"arm": "unit2"}, {
        "policy_kwargs": {"net_arch": {"pi": [8], "vf": [4]}, "activation_fn": torch.nn.ReLU},
    }),
    "ppo-sde": (PPO, "planararm/Reach-v0", {"control_mode": "delta"}, {"use_sde": True, **SMALL}),
    "sac": (SAC, "planararm/ReachSparse-v0", {}, {"buffer_size": 10, **SMALL}),
    "td3": (TD3, "planararm/Track-v0", {"num_preview": 3}, {"buffer_size": 10, **SMALL}),
    "ddpg": (DDPG, "planararm/Reach-v0", {"max_obstacles": 2, "num_obstacles": 1}, {"buffer_size": 10, **SMALL}),
}  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Each model, untrained, and its file."""
    folder = tmp_path_factory.mktemp("models")
    made = {}
    for name, (kind, env, env_kwargs, options) in MODELS.items():
        model = kind("MultiInputPolicy", gym.make(env, **env_kwargs), device="cpu", seed=1, **deepcopy(options))
        model.save(folder / name)
        made[name] = (model, folder / f"{name}.zip")
    return made


@pytest.mark.parametrize("name", MODELS)
def test_actions_are_those_of_the_model(models, name):
    model, file = models[name]
    _, env, env_kwargs, _ = MODELS[name]
    policy = make_policy(str(file), env=env, env_kwargs=env_kwargs)
    assert policy.episode_steps == gym.spec(env).max_episode_steps
    world = gym.make_vec(env, num_envs=4, **env_kwargs)
    observation, _ = world.reset(seed=3)
    for _ in range(3):
        expected, _ = model.predict(observation, deterministic=True)
        action, _ = policy.predict(observation, deterministic=True)
        np.testing.assert_array_equal(action, expected)
        observation, *_ = world.step(action)
    world.close()


@pytest.mark.parametrize("name", ["ppo", "ppo-sde", "sac"])
def test_an_answer_is_the_end_of_an_episode(models, name):
    model, file = models[name]
    _, env, env_kwargs, _ = MODELS[name]
    policy = load_sb3_policy(file, env=env, env_kwargs=env_kwargs, episode_steps=12)
    group = small_suite().group("ik")
    answer = policy.solve(group.targets, group.q_start, group.scene)
    path = policy.run_episode(group.targets, group.q_start, group.scene, 12).q_path
    np.testing.assert_array_equal(answer.q, path[:, -1])
    for i in np.flatnonzero(group.truth == 1)[:3]:
        world = gym.make(env, **env_kwargs)
        options = {"q": group.q_start[i], "target_position": group.targets[i], "obstacles": group.scene[i].obstacles}
        observation, _ = world.reset(options=options)
        touched = False
        for step in range(12):
            action, _ = model.predict(observation, deterministic=True)
            observation, *_, info = world.step(action)
            touched |= info["collision"]
            # The network's last bits depend on the size of the batch.
            np.testing.assert_allclose(path[i, step + 1], world.unwrapped.state.q, atol=1e-4)
        assert answer.info["collision"][i] == touched
        world.close()


def test_the_benchmark_takes_a_file(models, tmp_path):
    _, file = models["sac"]
    source = {"env": "planararm/ReachSparse-v0", "episode_steps": 5}
    from planararm.benchmark.entrants import Entrant, Limits

    here = list(run([Entrant("sac", str(file), source)], small_suite(), tmp_path / "a", limits=Limits("never")))
    there = list(run([Entrant("sac", str(file), source)], small_suite(), tmp_path / "b"))
    for row, again in zip(here, there, strict=True):
        assert {**row, "solve_time": None, "latency": None} == {**again, "solve_time": None, "latency": None}
    by_arm = {row["arm"]: row for row in here}
    assert by_arm["unit5"]["outcome"] == "unsupported"
    assert by_arm["unit5"]["message"] == "the agent was trained for another arm."
    assert by_arm["unit3"]["outcome"] in ("missed", "infeasible", "unsafe")
    assert {row["motion"] for row in here if row["arm"] == "unit3"} <= {"certified", "contact"}


def rewritten(file, folder, change):
    """A copy of a model file whose members went through ``change``: a function of a dict of bytes."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    copy = folder / "copy.zip"
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return copy


def changed_settings(**values):
    def change(members):
        settings = json.loads(members["data"])
        for name, value in values.items():
            settings[name] = {**settings[name], **value} if isinstance(settings[name], dict) else value
        members["data"] = json.dumps(settings).encode()

    return change


class Bomb:
    """Would leave a trace if it were unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def test_nothing_is_unpickled(models, tmp_path):
    import base64
    import pickle

    trace = str(tmp_path / "trace")
    bomb = base64.b64encode(pickle.dumps(Bomb(trace))).decode()
    names = ("policy_class", "observation_space", "action_space", "lr_schedule")
    copy = rewritten(models["ppo"][1], tmp_path, changed_settings(**{name: {":serialized:": bomb} for name in names}))
    assert make_policy(str(copy)).episode_steps == 100
    assert not os.path.exists(trace)

    def weights(members):
        buffer = io.BytesIO()
        torch.save({"a": Bomb(trace)}, buffer)
        members["policy.pth"] = buffer.getvalue()

    with pytest.raises(FileFormatError, match="cannot be read as tensors"):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, weights)))
    assert not os.path.exists(trace)


def test_other_classes_are_refused(models, tmp_path):
    message = r"asks for the policy class os.system; known are .*my_module:load_my_model"
    change = changed_settings(policy_class={"__module__": "os", "__init__": "<function system.__init__ at 0x1>"})
    with pytest.raises(FileFormatError, match=message):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, change)))
    with pytest.raises(FileFormatError, match=r"asks for the policy class nothing readable.\?"):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, lambda members: members.update(data=b"{}"))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no readable model file of Stable-Baselines3"),
        (b"PK\x03\x04 and then something else", "is no readable model file"),
    ],
)
def test_what_is_no_archive(tmp_path, content, message):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        make_policy(str(tmp_path / "x.zip"))


def test_truncated_anywhere(models, tmp_path):
    content = models["ppo-relu"][1].read_bytes()
    for cut in np.linspace(1, len(content) - 1, 12).astype(int):
        (tmp_path / "x.zip").write_bytes(content[:cut])
        with pytest.raises(FileFormatError):
            make_policy(str(tmp_path / "x.zip"), env_kwargs={"arm": "unit2"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("data"), "has no 'data', so it is no model file"),
        (lambda members: members.pop("policy.pth"), "has no 'policy.pth'"),
        (lambda members: members.update(data=b"[" * 100_000), "is no readable model file"),
        (lambda members: members.update(data=b"[]"), "does not hold the settings and weights"),
        (lambda members: members.update(data=b" " * (1 << 24) + b"{}"), "'data' in .* is larger than 16777216 bytes"),
        (lambda members: members.update({"policy.pth": b"no tensors"}), "cannot be read as tensors"),
    ],
)
def test_damaged_members(models, tmp_path, change, message):
    with pytest.raises(FileFormatError, match=message):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, change)))


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(FileFormatError, match="There is no model file"):
        make_policy(str(tmp_path / "missing.zip"))


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("sac", {}, PolicyError, r"trained with actions whose lowest values are \[-1.0, -1.0, -1.0\]"),
        ("ppo-relu", {}, PolicyError, "trained on observations of 54 numbers, those of planararm/Reach-v0 have 56"),
        ("ppo", {"env": "planararm/Raech-v0"}, UnknownNameError, "Did you mean 'planararm/Reach-v0'"),
        ("ppo", {"policy_kwargs": {"net_arch": [8]}}, PolicyError, r"does not fit: .* has shape .* in the file"),
        ("ppo", {"policy_kwargs": {"activation_fn": "os:system"}}, InvalidInputError, "must be plain or torch.nn:Name"),
        ("ppo", {"envv": 1}, UnknownNameError, "Did you mean 'env'"),
        ("ppo", {"episode_steps": -1}, InvalidInputError, "episode_steps must be a whole number"),
    ],
)
def test_what_does_not_fit_says_what_would(models, name, options, kind, message):
    with pytest.raises(kind, match=message):
        make_policy(str(models[name][1]), **options)


def test_arguments_that_only_unpickling_could_restore(models, tmp_path):
    strange = {":serialized:": "x", "features_extractor_class": "<class 'my.Extractor'>"}
    copy = rewritten(models["ppo"][1], tmp_path, changed_settings(policy_kwargs=strange))
    with pytest.raises(FileFormatError, match=r"features_extractor_class = .* which only unpickling could restore"):
        make_policy(str(copy))
    assert make_policy(str(copy), policy_kwargs={}).episode_steps == 100


def test_without_stable_baselines(models, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(PolicyError, match="is not installed: pip install stable-baselines3"):
        make_policy(str(models["ppo"][1]))


def test_a_model_in_memory_knows_its_episode(models):
    model, _ = models["sac"]
    policy = planararm.make_policy(model)
    assert policy.episode_steps == 50
    assert policy.fixed_interface.control_mode == "delta"
