"""Policies by name, import path, class, function, and every way in which that can go wrong."""

import subprocess
import sys
from functools import partial
from importlib.metadata import EntryPoint

import numpy as np
import pytest

import planararm.policies
from planararm.errors import InvalidInputError, MissingExtraError, PolicyError, UnknownNameError
from planararm.policies import (
    AgentPolicy,
    DampedLeastSquares,
    FunctionPolicy,
    Hold,
    IKPolicy,
    available_policies,
    make_policy,
    register_policy,
    registry,
)

BUNDLED = [
    "closed-form",
    "convex-ik",
    "cyclic-coordinate-descent",
    "damped-least-squares",
    "hold",
    "jacobian-transpose",
    "numpy-mlp",
    "projected-dls",
    "projected-mlp",
    "pseudo-inverse",
    "torch-mlp",
]


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module that can be imported, and forgets it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


SOURCE = """
from planararm.policies import Hold
class MyPolicy(Hold):
    def __init__(self, *, gain=1.0):
        self.gain = gain
class Space:
    policy = MyPolicy(gain=3.0)
def follow(target_position, q, scene):
    return q
not_a_policy = 3
"""


class TestNames:
    def test_bundled(self):
        assert available_policies() == BUNDLED
        for name in BUNDLED:
            assert isinstance(make_policy(name), IKPolicy)

    def test_options(self):
        assert make_policy("damped-least-squares", damping=0.3).damping == 0.3

    def test_unknown_name(self):
        with pytest.raises(
            UnknownNameError,
            match=r"Unknown policy 'damped-least-square'. Did you mean 'damped-least-squares'",
        ):
            make_policy("damped-least-square")

    def test_unknown_option(self):
        with pytest.raises(
            UnknownNameError,
            match=r"Unknown option of policy 'damped-least-squares': 'dampin'. Did you mean 'damping'",
        ):
            make_policy("damped-least-squares", dampin=0.3)

    def test_no_options_at_all(self):
        with pytest.raises(InvalidInputError, match="Policy 'hold' takes no options, got 'gain'"):
            make_policy("hold", gain=1.0)

    def test_value_out_of_range(self):
        with pytest.raises(InvalidInputError, match="damping must be a number"):
            make_policy("damped-least-squares", damping=-1.0)


class TestRegister:
    def test_by_name(self, module):
        register_policy("mine", f"{module('own_policies', SOURCE)}:MyPolicy")
        assert "mine" in available_policies()
        assert make_policy("mine", gain=2.0).gain == 2.0

    def test_nothing_is_imported_before_use(self, module):
        module("own_policies", SOURCE)
        register_policy("mine", "own_policies:MyPolicy")
        available_policies()
        assert "own_policies" not in sys.modules

    def test_twice_the_same_is_fine_another_target_is_not(self):
        register_policy("mine", "own_policies:MyPolicy")
        register_policy("mine", "own_policies:MyPolicy")
        with pytest.raises(
            InvalidInputError, match="'mine' is registered already, as 'own_policies:MyPolicy', not 'b:c'"
        ):
            register_policy("mine", "b:c")
        with pytest.raises(InvalidInputError, match="'hold' is registered already"):
            register_policy("hold", "b:c")

    @pytest.mark.parametrize("name", ["", "a:b", 3, None])
    def test_bad_name(self, name):
        with pytest.raises(InvalidInputError, match="name must be a string without a colon, got"):
            register_policy(name, "a:b")

    @pytest.mark.parametrize("target", ["module", "module:", ":Class", "a b:C", "a:b:c", "a..b:c", 3])
    def test_bad_target(self, target):
        with pytest.raises(InvalidInputError, match=r'must look like "my_package.my_module:MyPolicy", got'):
            register_policy("mine", target)

    def test_missing_extra(self, module):
        register_policy("deep", f"{module('deep_policies', 'import no_such_library')}:Deep", extra="torch")
        with pytest.raises(
            MissingExtraError, match=r"policy 'deep' needs .* pip install \"planararm\[torch\]\""
        ) as caught:
            make_policy("deep")
        assert "no_such_library" in str(caught.value.__cause__)

    def test_broken_module_is_not_a_missing_extra(self, module):
        module("deep_policies", "from planararm.policies import NoSuchPolicy")
        register_policy("deep", "deep_policies:Deep", extra="torch")
        with pytest.raises(PolicyError, match="cannot import 'deep_policies': cannot import name 'NoSuchPolicy'"):
            make_policy("deep")

    def test_missing_module_of_its_own_is_not_a_missing_extra(self):
        register_policy("deep", "no_such_package.module:Deep", extra="torch")
        with pytest.raises(
            PolicyError, match=r"cannot import 'no_such_package.module': No module named 'no_such_package'"
        ):
            make_policy("deep")


class TestEntryPoints:
    @pytest.fixture(autouse=True)
    def installed(self, module, monkeypatch):
        name = module("own_policies", SOURCE)
        points = [EntryPoint("installed", f"{name}:MyPolicy", "planararm.policies")]
        monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "planararm.policies" else [])

    def test_are_available(self):
        assert "installed" in available_policies()
        assert make_policy("installed", gain=4.0).gain == 4.0


class TestImportPaths:
    def test_class_function_and_object(self, module):
        name = module("own_policies", SOURCE)
        assert make_policy(f"{name}:MyPolicy", gain=2.0).gain == 2.0
        assert make_policy(f"{name}:Space.policy").gain == 3.0
        assert repr(make_policy(f"{name}:follow")) == "FunctionPolicy(follow)"
        assert make_policy(f"{name}:follow", vectorized=True).vectorized

    def test_unknown_attribute(self, module):
        with pytest.raises(
            UnknownNameError, match=r"Unknown attribute of 'own_policies' 'MyPolcy'. Did you mean 'MyPolicy'"
        ):
            make_policy(f"{module('own_policies', SOURCE)}:MyPolcy")

    def test_no_such_module(self):
        with pytest.raises(
            PolicyError, match="cannot import 'no_such_module': No module named 'no_such_module'"
        ) as caught:
            make_policy("no_such_module:MyPolicy")
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)

    def test_module_that_raises(self, module):
        name = module("bad_policies", "x = 1 / 0")
        with pytest.raises(PolicyError, match="importing 'bad_policies' raised ZeroDivisionError: division by zero"):
            make_policy(f"{name}:MyPolicy")

    def test_module_with_a_syntax_error(self, module):
        name = module("bad_policies", "def f(:")
        with pytest.raises(PolicyError, match="importing 'bad_policies' raised SyntaxError"):
            make_policy(f"{name}:MyPolicy")

    def test_what_is_there_is_no_policy(self, module):
        with pytest.raises(
            PolicyError, match=r"'own_policies:not_a_policy' is no policy: got int. A policy is an object"
        ):
            make_policy(f"{module('own_policies', SOURCE)}:not_a_policy")

    def test_malformed(self):
        with pytest.raises(
            InvalidInputError, match=r"must look like \"my_package.my_module:MyPolicy\", got 'a/b.py:C'"
        ):
            make_policy("a/b.py:C")


class TestObjects:
    def test_policy_is_returned(self):
        policy = Hold()
        assert make_policy(policy) is policy
        with pytest.raises(
            InvalidInputError, match=r"Options \['gain'\] cannot be given to the finished policy 'Hold'"
        ):
            make_policy(policy, gain=1.0)

    def test_class(self):
        assert make_policy(DampedLeastSquares, damping=0.5).damping == 0.5

    def test_function_lambda_and_partial(self):
        def f(target_position, q, scene, factor=1.0):
            return factor * q

        for function in (f, lambda t, q, s: q, partial(f, factor=0.5)):
            assert isinstance(make_policy(function), FunctionPolicy)
        with pytest.raises(
            UnknownNameError, match=r"Unknown option of policy 'f': 'vectorised'. Did you mean 'vectorized'"
        ):
            make_policy(f, vectorised=True)

    def test_function_with_other_arguments(self):
        with pytest.raises(PolicyError, match="must take three arguments"):
            make_policy(lambda q: q)

    def test_agent(self):
        class Model:
            def predict(self, observation, state=None, episode_start=None, deterministic=False):
                return np.zeros(3), state

        assert isinstance(make_policy(Model()), AgentPolicy)
        assert isinstance(make_policy(Model), AgentPolicy)

    def test_class_without_solve(self):
        class Half(IKPolicy):
            pass

        with pytest.raises(PolicyError, match="Policy 'Half': the class Half must define solve"):
            make_policy(Half)

    def test_class_that_needs_more(self):
        class Needy(Hold):
            def __init__(self, weights):
                self.weights = weights

        with pytest.raises(
            PolicyError, match="Policy 'Needy': Needy cannot be built: missing a required argument: 'weights'"
        ):
            make_policy(Needy)

    def test_class_not_derived(self):
        class Other:
            def solve(self, target_position, q, scene):
                return q

        with pytest.raises(PolicyError, match=r"'Other' is no policy: got Other. A policy is an object derived from"):
            make_policy(Other)

    @pytest.mark.parametrize("spec", [None, 3, np.zeros(3)])
    def test_nothing_of_the_kind(self, spec):
        with pytest.raises(PolicyError, match="is no policy: got"):
            make_policy(spec)


class TestPackage:
    def test_public_names_resolve(self):
        for name in planararm.policies._WHERE:
            assert getattr(planararm.policies, name) is not None
            assert name in dir(planararm.policies)

    def test_unknown_attribute(self):
        with pytest.raises(AttributeError, match="has no attribute 'NoSuchPolicy'"):
            planararm.policies.NoSuchPolicy  # noqa: B018

    def test_loads_no_solver_before_it_is_asked_for(self):
        code = (
            "import sys, planararm.policies as p; p.available_policies(); p.make_policy('hold');"
            "loaded = [m for m in ('numba', 'torch', 'scipy', 'matplotlib', 'pygame', 'planararm.inverse',"
            "'planararm.policies.jacobian') if m in sys.modules]; assert not loaded, loaded"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_top_level_link_says_what_to_import(self, tmp_path):
        root = planararm.policies.__path__[0]
        (tmp_path / "policies").symlink_to(root)
        done = subprocess.run([sys.executable, "-c", "import policies"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        assert "ImportError: import planararm.policies" in done.stderr


def test_without_cvxpy_the_other_policies_are_left():
    """As after an installation without the extra ``convex``."""
    code = (
        "import sys; sys.modules['cvxpy'] = None\n"
        "from planararm.benchmark.entrants import bundled_entrants\n"
        "entrants, missing = bundled_entrants()\n"
        "print(sorted(one.name for one in entrants), *missing)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "'projected-dls'" in result.stdout
    assert "('convex-ik', 'policy \\'convex-ik\\' needs an optional dependency: pip install" in result.stdout


def test_a_constructor_that_raises():
    class Unlicensed(planararm.policies.IKPolicy):
        def __init__(self):
            raise RuntimeError("no license file")

        def solve(self, target_position, q, scene, *, target_orientation=None):
            raise AssertionError("is never built")

    with pytest.raises(PolicyError, match="Policy 'Unlicensed' cannot be built: RuntimeError: no license file"):
        make_policy(Unlicensed)


def test_a_file_of_code_is_no_policy(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PolicyError, match=r"'mine\.py' is a file of Python code; name what is to be taken .*: mine:NAME"
    ):
        make_policy("mine.py")
