"""The command line: what is wrong is said in one line, with what is allowed; nothing is written."""

import dataclasses
import subprocess
import sys

import pytest

from dsrl_jax.agents.config import TD3Config
from dsrl_jax.training.config import LoopConfig
from experiments import flags, run

TOYS = "tests.toy_environments:"

# Arguments, and what the one line has to name: what was given, and what is allowed.
WRONG = [
    (["--env=halfcheeta"], ["'halfcheeta'", "halfcheetah"]),
    (["--env=HalfCheetah-v99"], ["'HalfCheetah-v99'", "HalfCheetah-v5"]),
    (["--env=no_such_module:Id-v0"], ["'no_such_module:Id-v0'"]),
    (["--env=CartPole-v1"], ["'CartPole-v1'", "Discrete"]),
    (["--algo=ds_td4"], ["'ds_td4'", "ds_td3"]),
    (["--preset=offical"], ["'offical'", "official"]),
    (["--step=5"], ["--step", "--steps"]),
    (["--nonsense=5"], ["--nonsense", "--help"]),
    (["stray"], ["'stray'"]),
    (["--lambda1=-3"], ["lambda1", "positive", "-3.0"]),
    (["--lambda2=inf"], ["lambda2", "positive", "inf"]),
    (["--tau=nan"], ["tau", "[0, 1]", "nan"]),
    (["--drop_fraction=1.5"], ["drop_fraction", "[0, 1]", "1.5"]),
    (["--steps=many"], ["--steps", "whole number", "'many'"]),
    (["--steps=1e400"], ["--steps", "whole number", "'1e400'"]),
    (["--steps=2.5"], ["--steps", "whole number", "'2.5'"]),
    (["--batch_size=0"], ["batch_size", "at least 1", "0"]),
    (["--hidden_sizes=256,big"], ["--hidden_sizes", "256,256", "'256,big'"]),
    (["--hidden_sizes=0"], ["hidden_sizes", "positive"]),
    (["--adaptation_period=7"], ["adaptation_period", "policy_delay", "7"]),
    (["--drop_rule=half"], ["drop_rule", "balanced", "'half'"]),
    (["--seeds=a"], ["--seeds", "0:5", "'a'"]),
    (["--seeds=3:3"], ["--seeds", "'3:3'"]),
    (["--seeds=1,1"], ["seeds", "different"]),
    (["--seed=-1"], ["seeds", "-1"]),
    (["--seed=1", "--seeds=0:2"], ["--seed", "--seeds"]),
    (["--threads=0"], ["--threads", "at least 1", "0"]),
    (["--device=abacus"], ["--device", "cpu", "'abacus'"]),
    (["--dry_run=perhaps"], ["dry_run", "perhaps"]),
    (["--run_dir=/proc/none/here"], ["/proc/none/here", "cannot be written"]),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments, named, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    for part in named:
        assert part in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_told_before_jax_is_imported():
    check = (
        "import sys; from experiments import run; "
        "status = run.main(['--algo=ds_td4']); "
        "sys.exit(10 * status + ('jax' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 20, done.stderr


def test_every_setting_is_a_flag_with_default_unit_and_source():
    values = flags.make_flags()
    text = " ".join(flags.help_text(values).split())
    for config in (LoopConfig, TD3Config):
        for field in dataclasses.fields(config):
            if field.name == "topology":  # Chosen by --algo.
                assert field.name not in values
                continue
            assert f"--{field.name} " in text
            assert f"default {flags.format_value(field.default)}" in values[field.name].help
            assert field.metadata["source"] in values[field.name].help
            assert field.metadata["unit"] in values[field.name].help


@pytest.mark.parametrize("config", [LoopConfig, TD3Config])
def test_every_default_reads_back_as_itself(config):
    for field in dataclasses.fields(config):
        written = flags.format_value(field.default)
        assert flags.parse_value(field.name, field.type, written) == field.default


def test_values_read_as_people_write_them():
    assert flags.parse_value("steps", int, "1e6") == 1_000_000
    assert flags.parse_value("steps", int, "1_000") == 1_000
    assert flags.parse_value("last_adaptation", int | None, "None") is None
    assert flags.parse_value("hidden_sizes", tuple[int, ...], "64,32,16") == (64, 32, 16)


@pytest.mark.parametrize(
    ("arguments", "seeds"),
    [
        ([], (0,)),
        (["--seed=7"], (7,)),
        (["--seeds=0:3"], (0, 1, 2)),
        (["--seeds=4,2"], (4, 2)),
    ],
)
def test_seeds(arguments, seeds):
    values = flags.make_flags()
    flags.parse(values, arguments)
    assert flags.parse_seeds(values) == seeds
