"""The benchmark's arithmetic by hand, and its command line; nothing here tells how fast it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from dsrl_jax.agents.types import Spaces
from dsrl_jax.config.agents import SACConfig, TD3Config
from dsrl_jax.config.loop import LoopConfig
from experiments import bench
from experiments.bench import flops, measure

ROOT = Path(__file__).parents[3]

# Two observations, one action, one hidden layer of four units, batches of ten.
SPACES = Spaces(2, (-1.0,), (1.0,))
ACTOR = {"hidden_0": (2, 4), "output": (4, 1)}
CRITIC = {"hidden_0": (3, 4), "output": (4, 1)}


def test_a_products_flops():
    assert flops.product_flops(2, 3, 5) == 2 * 2 * 3 * 5


def test_each_pass_counted_by_hand():
    assert flops.forward_flops(CRITIC, 10) == 2 * 10 * (3 * 4 + 4 * 1)
    assert flops.weight_gradient_flops(CRITIC, 10) == 2 * 10 * (3 * 4 + 4 * 1)
    assert flops.input_gradient_flops(CRITIC, 10) == 2 * 10 * 4 * 1
    assert flops.input_gradient_flops(CRITIC, 10, inputs=1) == 2 * 10 * (4 * 1 + 4 * 1)


def test_an_update_of_td3_counted_by_hand():
    target = (2 * 4 + 4) + 2 * (3 * 4 + 4)
    critic_loss = 2 * (2 * (3 * 4 + 4) + 4)
    actor_loss = 2 * (2 * 4 + 4) + 4 + (3 * 4 + 4) + (4 + 1 * 4)
    config = TD3Config(hidden_sizes=(4,), batch_size=10, policy_delay=2)
    expected = 2 * 10 * (target + critic_loss + actor_loss / 2)
    assert flops.update_flops(SPACES, config) == expected


def test_an_update_of_sac_counted_by_hand():
    """Two heads, both critics in the actor's loss, an actor that learns at every update."""
    actor = 2 * 4 + 2 * 4
    target = actor + 2 * (3 * 4 + 4)
    critic_loss = 2 * (2 * (3 * 4 + 4) + 4)
    actor_loss = 2 * actor + 2 * 4 + 2 * ((3 * 4 + 4) + (4 + 1 * 4))
    config = SACConfig(hidden_sizes=(4,), batch_size=10)
    expected = 2 * 10 * (target + critic_loss + actor_loss)
    assert flops.update_flops(SPACES, config) == expected


def test_sides_are_measured_in_turn():
    order = []

    def side(name, seconds):
        return lambda: order.append(name) or seconds

    found = measure.in_turn({"a": side("a", 1.0), "b": side("b", 2.0)}, 3)
    assert order == ["a", "b"] * 3
    assert found == {"a": [1.0] * 3, "b": [2.0] * 3}


def test_a_timed_side_counts_its_call():
    clock = iter([3.0, 7.5])
    assert measure.timed(lambda: None, lambda: next(clock))() == 4.5


def test_medians_and_their_ratio():
    fast, slow = measure.rates([1.0, 2.0, 100.0], 10), measure.rates([4.0, 5.0, 4.0], 10)
    assert fast == [10, 5, 0.1]
    assert measure.median(fast) == 5
    assert measure.ratio(slow, fast) == 0.5
    assert measure.spread([1234.4, 0.123456, 123.4]) == ["123", "0.123", "1,234"]


def test_a_table_is_aligned():
    assert measure.table(["name", "rate"], [["a", "1"], ["longer", "1,000"]]).splitlines() == [
        "name     rate",
        "a           1",
        "longer  1,000",
    ]


def test_the_share_of_evaluations():
    """Eleven of two seconds in a run of 1,000 steps at 10 a second."""
    from experiments.bench.evaluation import evaluation_share

    loop = LoopConfig(steps=1000, eval_period=100)
    assert evaluation_share(2.0, 10.0, loop) == pytest.approx(22 / 122)


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], ["update", "peers"]),
        (["updat"], ["'updat'", "did you mean update"]),
        (["update", "loop"], ["'loop'"]),
        (["update", "--update=3"], ["--update", "--updates"]),
        (["update", "--updates=0"], ["updates", "0"]),
        (["update", "--hidden_sizes=8,x"], ["hidden_sizes", "'8,x'"]),
        (["members", "--members=1,0"], ["members", "at least 1"]),
        (["loop", "--algos=ds_td3,ds_tdd3"], ["'ds_tdd3'", "ds_td3"]),
        (["evaluation", "--envs=halfcheeta"], ["'halfcheeta'", "halfcheetah"]),
        (["scale", "--sparsities=0.5,1"], ["sparsities", "below 1", "1.0"]),
        (["scale", "--sparsities=0.995"], ["--widths=256: sparsity must be at most", "0.995"]),
        (["members", "--adaptation_period=251"], ["multiple of policy_delay", "251"]),
        (["parts", "--algos=td3,td3"], ["--algos", "td3 twice"]),
        (["members", "--members=2,1,2"], ["--members", "2 twice"]),
        (["scale", "--algo=td3"], ["--algo", "static_td3", "got td3"]),
        (["selection", "--size=1"], ["--size", "at least 2"]),
        (["loop", "--env=CartPole-v1"], ["CartPole-v1", "Box"]),
        (["update", "update"], ["'update'"]),
        (["peers", "--device=gpu"], ["--device", "cpu for peers", "got gpu"]),
        (["scale", "--sparsities=half"], ["sparsities", "numbers: 0.5,0.9", "'half'"]),
        (["document", "--path=README.md"], ["--path", "measured: begin"]),
        (["document", "--path=none.md"], ["none.md", "cannot be read"]),
        (["peers"], ["--python", "pip install sbx-rl"]),
        (["peers", "--python=/none"], ["--python=/none", "cannot be run"]),
        (["peers", f"--python={sys.executable}"], ["lacks sbx-rl", "pip install sbx-rl"]),
    ],
)
def test_refuses_in_one_line(capsys, arguments, named):
    assert bench.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    for part in named:
        assert part in error


@pytest.mark.parametrize("name", ["", *bench.BENCHMARKS])
def test_help_tells_of_every_benchmark(capsys, name):
    assert bench.main([*([name] if name else []), "--help"]) == 0
    out = capsys.readouterr().out
    assert "--threads" in out if name else all(known in out for known in bench.BENCHMARKS)


PER_SECOND = {
    "td3": [50.0, 100.0, 200.0],
    "static_td3": [80.0],
    "ds_td3": [60.0],
    "sac": [40.0],
    "static_sac": [20.0],
    "ds_sac": [10.0],
}


def test_what_is_told_of_updates():
    """Made-up rates: of dense, of the best product, and of the one of the batch's size."""
    from experiments.bench import document, update

    td3, sac = TD3Config(hidden_sizes=(4,), batch_size=10), SACConfig(hidden_sizes=(4,))
    configs = {name: td3 if "td3" in name else sac for name in PER_SECOND}
    gflops = {(10, 23, 4): [0.5], (256, 23, 4): [1.0, 3.0, 2.0], (16, 16, 16): [4.0]}
    found = update.tell(configs, PER_SECOND, gflops).results
    assert found["td3_per_second"] == 100
    assert found["static_td3_over_td3"] == 0.8 and found["ds_td3_over_td3"] == 0.6
    assert found["static_sac_over_sac"] == 0.5 and found["ds_sac_over_sac"] == 0.25
    assert found["best_product_gflops"] == 4
    assert found["product_256x23x4_gflops"] == 2
    assert all(aim.key in found for aim in document.AIMS if aim.benchmark == "update")
    reached = 100 * flops.update_flops(update.SPACES, td3) / 1e9
    assert found["td3_gflops"] == pytest.approx(reached)
    assert found["td3_over_best_product"] == pytest.approx(reached / 4)
    assert found["td3_over_own_product"] == pytest.approx(reached / 0.5)
    assert found["sac_over_own_product"] == pytest.approx(found["sac_gflops"] / 2)


PROGRAM = """
  %dot.1 = f32[2,2] dot(%a, %b), metadata={op_name="jit(scan)/while/body/critic_loss/dot_general"}
  %fusion.2 = f32[2] fusion(%a), metadata={op_name="jit(scan)/transpose(jvp(critic_loss))/mul"}
  fusion.3 = f32[2]{0} fusion(%c), metadata={op_name="jit(scan)/gradient_step/while/adapt_net/add"}
  %fusion.6 = (f32[2]{0}, (f32[3]{0}, f32[])) fusion(%a), metadata={op_name="scan/td_target/tanh"}
  %while.4 = (f32[2], f32[3]) while(%t), metadata={op_name="jit(scan)/average_target/while"}
  %copy.5 = f32[2] copy(%a)
"""


def test_the_product_of_an_updates_largest_layer():
    from experiments.bench.update import own_product

    assert own_product(TD3Config(hidden_sizes=(64, 512, 256))) == (100, 512, 256)
    assert own_product(SACConfig(hidden_sizes=(8,))) == (256, 23, 8)  # the critics' first layer


def test_time_is_counted_for_the_innermost_part():
    from experiments.bench import parts

    scopes = parts.read_scopes(PROGRAM)
    assert scopes == {
        **{"dot.1": "critic_loss", "fusion.2": "critic_loss"},
        **{"fusion.3": "adapt_net", "copy.5": "other", "fusion.6": "td_target"},
    }
    events = [("dot.1", 2000), ("fusion.2", 500), ("dot.1", 1000), ("while.4", 1e6), ("host", 1e6)]
    found = parts.sum_parts(events, scopes)
    assert found["critic_loss"] == 3.5 and sum(found.values()) == 3.5


def test_what_is_told_of_members():
    """Made-up rates and bytes; memory is told for each member."""
    from experiments.bench import members
    from experiments.bench.workload import Memory

    rates = {("td3", 1): [100.0], ("ds_td3", 1): [80.0]}
    rates |= {("td3", 4): [200.0], ("ds_td3", 4): [120.0]}
    memories = {place: Memory(3000 * place[1], 1000 * place[1]) for place in rates}
    report = members.tell(rates, memories)
    assert report.results["ds_td3_over_td3_members_4"] == 0.6
    assert report.results["ds_td3_members_4_state_bytes"] == 3000
    assert report.results["td3_members_4_scratch_bytes"] == 1000
    assert "of 1 member" in report.tables[0] and "1.50" in report.tables[0]


def test_what_is_told_of_adaptations():
    from experiments.bench import members

    seconds = {1000: [0.0021, 0.0021], members.NEVER: [0.002, 0.002]}
    report = members.tell_periods(seconds, 2)
    assert report.results["period_1000_over_never"] == pytest.approx(1.05)
    assert "1.050" in report.tables[0] and "2 members" in report.tables[0]


@pytest.fixture
def timed_members(monkeypatch):
    """`members.run` of 1,000 updates, which take 2.1 seconds with an adaptation among them, else 2.

    It takes how many members fit into the memory.
    """
    from experiments.bench import members
    from experiments.bench.workload import Memory, Scan

    taken = {1000: 2.1, members.NEVER: 2.0}

    def run(fitting):
        def compile_scan(config, updates, size):
            if size > fitting:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
            return Scan(None, None, config.sparse.adaptation_period, updates, Memory(1, 1), "")

        monkeypatch.setattr(members, "compile_scan", compile_scan)
        return members.run(1, 100, 1000, (1, 2), (8,))

    monkeypatch.setattr(members, "scan_side", lambda scan: lambda: taken[scan.first])
    return run


def test_an_adaptation_costs_what_was_timed(timed_members):
    report = timed_members(2)
    assert report.results["period_1000_over_never"] == pytest.approx(1.05)
    assert report.samples["period_1000_seconds"] == pytest.approx([0.0021])


def test_members_that_do_not_fit_are_left_out(timed_members):
    found = timed_members(1).results
    assert found["period_1000_over_never"] == pytest.approx(1.05)
    assert "ds_td3_over_td3_members_1" in found and "ds_td3_over_td3_members_2" not in found
    told = "^--members=1 does not fit .* smaller --hidden_sizes"
    with pytest.raises(measure.MeasurementError, match=told):
        timed_members(0)


def test_what_was_reached_stands_beside_its_aim():
    from experiments.bench import document

    update = {"ds_td3_over_td3": 0.9, "ds_sac_over_sac": 0.5}
    update |= {"td3_over_own_product": 0.8, "sac_over_own_product": 0.8}
    table = document.aims_table({"update": update, "startup": {"second_start_seconds": 10}})
    assert "| at least 0.9 | 0.9 | yes |" in table and "| 0.5 | **no** |" in table
    assert "| below 10 | 10 | **no** |" in table and table.count("not measured") == 6


def test_a_scan_counts_its_memory():
    from experiments.bench import workload

    scan = workload.compile_scan(TD3Config(hidden_sizes=(4,), batch_size=2), 3)
    dense = 4 * ((17 * 4 + 4 + 4 * 6 + 6) + 2 * (23 * 4 + 4 + 4 + 1))
    # Networks, targets, two moments; masks of bytes.
    assert 4 * dense < scan.memory.state < 5 * dense
    two = workload.compile_scan(TD3Config(hidden_sizes=(4,), batch_size=2), 3, members=2)
    assert two.memory.state == 2 * scan.memory.state
    workload.scan_side(two)


def test_a_scan_goes_on_from_its_last_update():
    from experiments.bench import workload

    started = []

    def run(state, first):
        started.append((state, int(first)))
        return state + 1

    scan = workload.Scan(run, 0, 1000, 50, workload.Memory(1, 1), "")
    side = workload.scan_side(scan)
    assert side() > 0 and side() > 0
    assert started == [(0, 1000), (1, 1050), (2, 1100)]


def test_the_command_ends_with_one_object():
    """Compiled in a hurry, as nothing here asks for speed; SAC is left out for the same reason."""
    tiny = ["--updates=2", "--repetitions=1", "--hidden_sizes=8", "--products=16"]
    hurry = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    answer = subprocess.run(
        [sys.executable, "-m", "experiments.bench", "update", *tiny, "--algos=ds_td3", "--json"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": hurry},
        capture_output=True,
        text=True,
        check=True,
    )
    for part in ("ds_td3", "lowest", "highest", "16x16 @ 16x16", "100x23 @ 23x8"):
        assert part in answer.stdout
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found["td3_over_best_product"] > 0
    assert found["ds_td3_over_td3"] == pytest.approx(
        found["ds_td3_per_second"] / found["td3_per_second"]
    )
    assert found["benchmark"] == "update" and found["machine"]["versions"]["jax"]
    assert all(len(values) == 1 for values in found["samples"].values())


def test_a_checkpoints_bytes_are_its_own_and_the_replays_since_the_last():
    from dsrl_jax.config.presets import resolve
    from experiments.bench import checkpoint

    toy = resolve("tests.toy_environments:PointMass-v0", "td3", settings={"hidden_sizes": (8,)})
    with jax.numpy_rank_promotion("allow"):
        costs = checkpoint.measure(toy, repetitions=2, stored=30, period=10)
    row = 4 * (2 + 1 + 3)
    assert costs.held == (30 + 10) * row  # the first of the two is at 30
    assert len(costs.seconds) == 2 and costs.written > 10 * row + 1000


def test_a_checkpoints_share_of_a_run_is_exact_at_the_bound():
    from experiments.bench.checkpoint import checkpoint_share

    # 5,000 steps at 500 a second take 10 seconds.
    assert checkpoint_share(10, 5000, 500) == pytest.approx(0.5)
    assert checkpoint_share(10 / 19, 5000, 500) == pytest.approx(0.05)
