"""Model files of Stable-Baselines3: the same actions as its own loader, and nothing in them is run."""

import io
import json
import os
import sys
import zipfile
from copy import deepcopy

import gymnasium as gym
import numpy as np
import pytest
import torch
from small_suite import small_suite
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3

import planararm
from planararm.benchmark.runner import run
from planararm.errors import FileFormatError, InvalidInputError, PolicyError, UnknownNameError
from planararm.policies import check_policy, make_policy
from planararm.policies.sb3_file import load_sb3_policy

SMALL = {"policy_kwargs": {"net_arch": [8, 8]}}
MODELS = {
    "ppo": (PPO, "planararm/Reach-v0", {}, {}),
    "ppo-relu": (PPO, "planararm/Reach-v0", {"arm": "unit2"}, {
        "policy_kwargs": {"net_arch": {"pi": [8], "vf": [4]}, "activation_fn": torch.nn.ReLU},
    }),
    "ppo-sde": (PPO, "planararm/Reach-v0", {"control_mode": "delta"}, {"use_sde": True, **SMALL}),
    "a2c": (A2C, "planararm/ReachSparse-v0", {"num_preview": 2}, SMALL),
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
def test_an_episode_is_that_of_the_environment(models, name):
    model, file = models[name]
    _, env, env_kwargs, _ = MODELS[name]
    policy = load_sb3_policy(file, env=env, env_kwargs=env_kwargs, episode_steps=12)
    group = small_suite().group("ik")
    for i in np.flatnonzero(group.truth == 1)[:3]:
        q, target, scene = group.q_start[i], group.targets[i], group.scene[i]
        world = gym.make(env, **env_kwargs)
        observation, _ = world.reset(options={"q": q, "target_position": target, "obstacles": scene.obstacles})
        path, touched = [q], False
        for _ in range(12):
            action, _ = model.predict(observation, deterministic=True)
            observation, *_, info = world.step(action)
            path.append(world.unwrapped.state.q)
            touched |= info["collision"]
        world.close()
        episode = policy.run_episode(target, q, scene)
        np.testing.assert_array_equal(episode.q_path, path)
        assert episode.collision == touched
        answer = policy.solve(target, q, scene)
        np.testing.assert_array_equal(answer.q, path[-1])
        assert answer.info["collision"] == touched


def test_it_keeps_the_contract(models):
    for name in ("ppo", "sac"):
        _, env, env_kwargs, _ = MODELS[name]
        policy = load_sb3_policy(models[name][1], env=env, env_kwargs=env_kwargs, episode_steps=4)
        check_policy(policy).raise_if_failed()


def test_loading_draws_no_random_numbers(models):
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    make_policy(str(models["ppo"][1]))
    torch.testing.assert_close(torch.rand(2), expected, rtol=0, atol=0)


def test_any_way_to_name_a_file(models, tmp_path, monkeypatch):
    file = models["ppo"][1]
    bare = tmp_path / "a_model"
    bare.write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    for spec in (str(file), file, str(bare), "a_model"):
        assert make_policy(spec, episode_steps=3).episode_steps == 3
    assert make_policy(file, env_kwargs={"max_episode_steps": 7}).episode_steps == 7
    assert make_policy(file, env_kwargs={"max_episode_steps": -1}).episode_steps is None
    assert make_policy(file, policy_kwargs={"net_arch": (64, 64), "activation_fn": torch.nn.ReLU}).episode_steps == 100


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


def rewritten(file, folder, change, compression=zipfile.ZIP_STORED):
    """A copy of a model file whose members went through ``change``: a function of a dict of bytes."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    copy = folder / "copy.zip"
    with zipfile.ZipFile(copy, "w", compression) as archive:
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


TQC = "<function MultiInputPolicy.__init__ at 0x1>"


def test_other_classes_are_refused(models, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    message = r"asks for the policy class os.system; known are .*my_module:load_my_model"
    change = changed_settings(policy_class={"__module__": "sb3_contrib.tqc.policies", "__init__": TQC})
    with pytest.raises(PolicyError, match="needs sb3-contrib, which is not installed: pip install sb3-contrib"):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, change)))
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


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_flipped_anywhere(models, tmp_path, compression):
    whole = rewritten(models["ppo"][1], tmp_path, lambda members: None, compression)
    assert make_policy(whole).episode_steps == 100
    content, rng = whole.read_bytes(), np.random.default_rng(compression)
    # The names and sizes of the members stand at the end, their flags among them.
    places = [*rng.integers(len(content), size=40), *rng.integers(len(content) - 400, len(content), size=25)]
    refused = 0
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        whole.write_bytes(damaged)
        try:
            make_policy(whole)
        except (FileFormatError, PolicyError):
            refused += 1
    assert refused > 10


def changed_weights(change):
    def of_members(members):
        weights = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
        buffer = io.BytesIO()
        torch.save(change(weights), buffer)
        members["policy.pth"] = buffer.getvalue()

    return of_members


MATRIX = "mlp_extractor.policy_net.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {**w, MATRIX: w[MATRIX] * float("nan")}, f"{MATRIX} holds NaN or infinity"),
        (lambda w: {**w, MATRIX: w[MATRIX].to(torch.complex64)}, "no plain array of real numbers, but torch.complex64"),
        (lambda w: {**w, MATRIX: w[MATRIX].to_sparse()}, "no plain array of real numbers"),
        (lambda w: {**w, MATRIX: w[MATRIX].to("meta")}, "no plain array of real numbers"),
        (lambda w: {**w, MATRIX: torch.zeros(1).expand(1 << 20, 1 << 20)}, "claims more numbers than there are"),
        (lambda w: {**w, 3: w[MATRIX]}, "no mapping of names to tensors"),
        (lambda w: list(w.values()), "no mapping of names to tensors"),
    ],
)
def test_weights_that_are_none(models, tmp_path, change, message):
    with pytest.raises(FileFormatError, match=f"cannot be read as tensors: .*{message}"):
        make_policy(rewritten(models["ppo"][1], tmp_path, changed_weights(change)))


def test_weights_that_would_unpack_to_any_size(models, tmp_path):
    def packed(members):
        buffer = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(members["policy.pth"])) as inner,
            zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as outer,
        ):
            for name in inner.namelist():
                outer.writestr(name, inner.read(name))
        members["policy.pth"] = buffer.getvalue()

    with pytest.raises(FileFormatError, match=r"they are compressed, which torch\.save does not do"):
        make_policy(rewritten(models["ppo"][1], tmp_path, packed))


@pytest.mark.parametrize(
    "settings",
    [
        {"net_arch": [60_000, 60_000]},
        {"net_arch": {"pi": [8], "vf": [8, 10**9]}},
        {"net_arch": [{"pi": [8], "vf": [10**9]}]},
        {"n_critics": 10**9},
        {"lstm_hidden_size": 10**6},
        {"n_quantiles": 10**12},
    ],
)
def test_networks_that_the_file_cannot_fill(models, tmp_path, settings):
    copy = rewritten(models["ppo"][1], tmp_path, changed_settings(policy_kwargs=settings))
    with pytest.raises(FileFormatError, match=r"describe a network of at least .* numbers, for which its weights of"):
        make_policy(copy)


def test_settings_as_old_versions_wrote_them(models, tmp_path):
    old = changed_settings(policy_kwargs={"net_arch": [{"pi": [64, 64], "vf": [64, 64]}]})
    assert make_policy(rewritten(models["ppo"][1], tmp_path, old)).episode_steps == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda members: members.pop("data"), "has no 'data', so it is no model file"),
        (lambda members: members.pop("policy.pth"), "has no 'policy.pth'"),
        (lambda members: members.update(data=b"[" * 100_000), "is no readable model file"),
        (lambda members: members.update(data=b"[]"), "must be a JSON object, got list"),
        (lambda members: members.update(data=b" " * (1 << 24) + b"{}"), "'data' in .* is larger than 16,777,216 bytes"),
        (lambda members: members.update({"policy.pth": b"no tensors"}), "cannot be read as tensors"),
    ],
)
def test_damaged_members(models, tmp_path, change, message):
    with pytest.raises(FileFormatError, match=message):
        make_policy(str(rewritten(models["ppo"][1], tmp_path, change)))


def test_what_is_no_path():
    with pytest.raises(InvalidInputError, match="file must be the path of a model file, got 3"):
        load_sb3_policy(3)


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(FileFormatError, match="There is no model file"):
        make_policy(str(tmp_path / "missing.zip"))


LIMITS = [[-6.2831855, 6.2831855], [-3.1415927, 3.1415927], [-3.1415927, 3.1415927]]
HALF = {"link_lengths": [0.5, 0.5, 0.5], "joint_limits": LIMITS}
STIFF = {"link_lengths": [1.0, 1.0, 1.0], "joint_limits": [[-2.0, 2.0]] * 3}


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        ("sac", {}, PolicyError, r"trained with actions whose lowest values are \[-1.0, -1.0, -1.0\]"),
        ("ppo-relu", {}, PolicyError, "whose 'observation' has 54 numbers, that of planararm/Reach-v0 has 56"),
        ("ppo", {"env_kwargs": {"dt": 0.1}}, PolicyError, "lowest disc velocities are -240, those .* are -120"),
        ("ppo", {"env_kwargs": {"arm": HALF}}, PolicyError, "lowest coming targets are -6, those .* are -3"),
        ("ppo", {"env_kwargs": {"arm": STIFF}}, PolicyError, "lowest joint angles are -6.28319, those .* are -2"),
        ("ppo", {"env_kwargs": {"num_preview": 4, "max_obstacles": 7}}, PolicyError, "trained on observations whose"),
        ("ppo", {"env_kwargs": 5}, InvalidInputError, "env_kwargs must be a mapping of names to values, got 5"),
        ("ppo", {"env_kwargs": {"id": 1}}, InvalidInputError, r"cannot be made with env_kwargs=\{'id': 1\}"),
        ("ppo", {"env_kwargs": {"arms": 1}}, UnknownNameError, "Did you mean 'arm'"),
        ("ppo", {"policy_kwargs": 5}, InvalidInputError, "policy_kwargs must be a mapping of names to values, got 5"),
        ("ppo", {"policy_kwargs": {"net_arch": [-8]}}, PolicyError, "the network cannot be built with .*-8"),
        ("ppo", {"device": "gpu"}, UnknownNameError, "Unknown device 'gpu'"),
        ("ppo", {"env": None}, UnknownNameError, "Unknown environment None"),
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
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(PolicyError, match="is not installed: pip install stable-baselines3"):
        make_policy(str(models["ppo"][1]))


def test_a_model_in_memory_knows_its_episode(models):
    model, _ = models["sac"]
    policy = planararm.make_policy(model)
    assert policy.episode_steps == 50
    assert policy.fixed_interface.control_mode == "delta"
