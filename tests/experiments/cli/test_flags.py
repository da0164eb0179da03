"""The command line: a mistake is one line with what is allowed, and nothing is written."""

import re
import subprocess
import sys

import pytest

from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import BraxConfig, LoopConfig
from dsrl_jax.config.settings import flatten, settings_of
from dsrl_jax.config.sparsity import Topology
from experiments import costs, plot, run
from experiments.cli import command, flags
from experiments.cli.values import UsageError, format_value, parse_list, parse_seeds, parse_value
from experiments.paper import command as paper
from experiments.report import command as report

TOYS = "tests.toy_environments:"
CONFIGS = (LoopConfig, BraxConfig, TD3Config, SACConfig)

# Arguments, and what the line names: what was given, and what is allowed.
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
    (["--critic_topology=rigal"], ["critic_topology", "snfs, or none", "'rigal'", "mean rigl?"]),
    (["--actr_topology=dense"], ["--actr_topology", "mean --actor_topology"]),
    (["--algo=sac", "--actor_topology=set"], ["actor_topology", "sparse methods", "sac is dense"]),
    (["--actor_topology=snfs"], ["actor_topology", "moments to dense", "'sparse'"]),
    (
        ["--actor_topology=dense", "--sparsity=0.8"],
        ["sparsity", "at most 0.66", "a dense actor", "0.8"],
    ),
    (["--seeds=a"], ["--seeds", "0:5", "'a'"]),
    (["--seeds="], ["--seeds", "0:5", "''"]),
    (["--seeds=3:3"], ["--seeds", "'3:3'"]),
    (["--seeds=1,1"], ["seeds", "different"]),
    (["--seed=-1"], ["seeds", "-1"]),
    (["--seed=1", "--seeds=0:2"], ["--seed", "--seeds"]),
    (["--threads=0"], ["--threads", "at least 1", "0"]),
    (["--devices=two"], ["--devices", "whole number", "'two'"]),
    (["--device=abacus"], ["--device", "cpu", "'abacus'"]),
    (["--dry_run=perhaps"], ["dry_run", "perhaps"]),
    (["--algo=ds_sac", "--policy_delay=3"], ["setting of ds_sac", "'policy_delay'"]),
    (["--preset=figure1"], ["figure1", "ds_sac", "'ds_td3'"]),
    (["--algo=sac", "--learn_temperature=1"], ["--learn_temperature", "true or false", "'1'"]),
    (
        ["--algo=sac", "--learn_temperature=true", "--target_entropy=nan"],
        ["target_entropy", "finite, or none", "nan"],
    ),
    (["--sparsity=0.995"], ["sparsity", "at most 0.990", "0.995"]),
    (["--sparsity=1"], ["sparsity", "below 1", "1.0"]),
    (["--sparsity=0.5", "--lambda1=7"], ["lambda1", "sparsity", "give one"]),
    (["--sparsity=0.5", "--actor_sparsity=.2"], ["actor_sparsity", "sparsity", "give one"]),
    (["--distribution=uniform"], ["distribution", "sparsity"]),
    (["--sparse_layers=input,outer"], ["sparse_layers", "input, hidden, output", "'outer'"]),
    (["--env_preset=v2"], ["env_preset", "v3", "'v2'"]),
    (["--env_preset=v3", "--env=HalfCheetah-v4"], ["v3", "halfcheetah", "'HalfCheetah-v4'"]),
    (["--backend=envpoll"], ["backend", "envpool", "'envpoll'"]),
    ([f"--run_dir={'x' * 300}"], ["run_dir", "too long"]),
    (["--algo=td3", "--lambda1=3"], ["lambda1", "sparse methods", "td3 is dense"]),
    (["--algo=static_sac", "--drop_fraction=.1"], ["drop_fraction", "adaptations", "static_sac"]),
    (["--algo=sac", "--target_entropy=1"], ["target_entropy", "learn_temperature"]),
    (["--algo=sac", "--batch_size=-5"], ["batch_size", "at least 1", "-5"]),
    (["--hidden_sizes=256", "--sparse_layers=hidden"], ["sparse_layers", "hidden_sizes 256"]),
    (["--run_dir=/proc/none/here"], ["/proc/none/here", "cannot be written"]),
]


@pytest.mark.parametrize(("arguments", "named"), WRONG, ids=lambda value: str(value)[:40])
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments, named, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "carry_out", lambda *_: pytest.fail("was accepted"))
    assert run.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("error: ")
    for part in named:
        assert part in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_reported_before_jax_is_imported():
    check = (
        "import sys; from experiments import run; from experiments.sweep import command as sweep\n"
        "assert run.main(['--algo=ds_td4']) == run.main(['--tau=x']) == 2\n"
        "assert sweep.main(['--tau=0.1,0.2,x', '--algo=ds_td3']) == 2\n"
        "assert 'jax' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_setting_is_a_flag_with_default_unit_and_source():
    values = flags.make_flags()
    text = " ".join(flags.help_text(values).split())
    for config in CONFIGS:
        for field in settings_of(config):
            if field.name == "topology":  # Chosen by --algo.
                assert field.name not in values
                continue
            written = values[field.name].help
            assert f"--{field.name} " in text
            assert re.search(r"\((paper|TD3|SAC|authors|Brax|this project).*\)$", written)
            assert field.metadata["unit"] in written


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("discount", "default 0.99 (TD3, Fujimoto et al. 2018)"),
        ("batch_size", "default TD3 100 (paper, Section 4.4), SAC 256 (paper, Appendix A)"),
        ("target_period", "default 1000 (paper, Appendix A)"),
        ("lambda2", "default by task and agent, 64.0 for TD3 on HalfCheetah"),
        ("start_steps", "default 25000 for TD3, 10000 for SAC (paper, Section 4.4;"),
        ("eval_period", "default 5000 (paper, Section 4.4)"),
        ("learn_temperature", "default false (SAC, Haarnoja et al. 2018)"),
    ],
)
def test_help_shows_a_default_with_its_source_and_by_agent_if_they_differ(name, expected):
    assert expected in flags.make_flags()[name].help


@pytest.mark.parametrize("config", CONFIGS)
def test_every_default_reads_back_as_itself(config):
    defaults = flatten(config())
    for field in settings_of(config):
        written = format_value(defaults[field.name])
        assert parse_value(field.name, field.type, written) == defaults[field.name]


def test_values_can_be_written_in_several_ways():
    assert parse_value("steps", int, "1e6") == 1_000_000
    assert parse_value("steps", int, "1_000") == 1_000
    assert parse_value("last_adaptation", int | None, "None") is None
    assert parse_value("critic_topology", Topology | None, "none") is None
    assert parse_value("critic_topology", Topology | None, "rigl") == "rigl"
    assert parse_value("hidden_sizes", tuple[int, ...], "64,32,16") == (64, 32, 16)


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
    assert parse_seeds(values) == seeds


@pytest.mark.parametrize(
    ("name", "kind", "text", "expected"),
    [
        ("tau", float, "0.1,0.2", (0.1, 0.2)),
        ("hidden_sizes", tuple[int, ...], "64,64;32", ((64, 64), (32,))),
        ("sparsity", float | None, "none,0.5", (None, 0.5)),
        ("learn_temperature", bool, "true,false", (True, False)),
        ("steps", int, "1e6", (1_000_000,)),
    ],
)
def test_a_list_of_values(name, kind, text, expected):
    assert parse_list(name, kind, text) == expected
    values = flags.make_flags(lists=True)
    flags.parse(values, [f"--{name}={text}"])
    assert flags.given_settings(values) == {name: expected}


def test_a_list_with_a_value_twice_is_an_error():
    with pytest.raises(UsageError, match="--tau names 0.1 twice"):
        flags.parse(flags.make_flags(lists=True), ["--tau=0.1,0.2,0.10"])


@pytest.mark.parametrize("buffering", [[], ["-u"]])
def test_a_closed_pipe_causes_no_traceback(buffering, monkeypatch):
    """As in `--help | head`: the pipe is closed before anything is written."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    with subprocess.Popen(
        [sys.executable, *buffering, "-m", "experiments.costs", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("main", [costs.main, plot.main, paper.main, report.main])
def test_a_command_leaves_a_closed_pipe_to_start(main, monkeypatch):
    """`start` turns it into status 141; a command must not return a status of its own for it."""

    def close(*_):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", close)
    with pytest.raises(BrokenPipeError):
        main(["--help"])


def test_ctrl_c_ends_a_command_in_one_line(capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit, match="130"):
        command.start(interrupted)
    assert capsys.readouterr().err == "interrupted\n"
