"""The output of `experiments.costs`, compared with FACTS.md's table and with counts by hand."""

import csv
import io
import json

import pytest

from experiments import costs

# FACTS, Expected sizes: method, environment, weights, connections, sparsity in %, FLOPs of dense.
FACTS = [
    ("ds_td3", "HalfCheetah-v5", 214784, 106169, "50.57", ".4918"),
    ("ds_td3", "Walker2d-v5", 214784, 106169, "50.57", ".4918"),
    ("ds_td3", "Hopper-v5", 207872, 105233, "49.38", ".5050"),
    ("ds_td3", "Ant-v3", 288512, 145544, "49.55", ".5022"),
    ("ds_td3", "Ant-v5", 283904, 144824, "48.99", ".5079"),
    ("ds_td3", "Humanoid-v3", 498944, 220898, "55.73", ".4402"),
    ("ds_td3", "Humanoid-v5", 477440, 215774, "54.81", ".4493"),
    ("ds_sac", "HalfCheetah-v5", 216320, 136436, "36.93", ".6307"),
    ("ds_sac", "Walker2d-v5", 216320, 136436, "36.93", ".6307"),
    ("ds_sac", "Hopper-v5", 208640, 38417, "81.59", ".1841"),
    ("ds_sac", "Ant-v5", 285952, 135882, "52.48", ".4752"),
    ("ds_sac", "Humanoid-v5", 481792, 220126, "54.31", ".4569"),
    ("ds_td3", "ant", 224000, 125696, "43.89", ".5613"),
    ("ds_td3", "humanoid", 397568, 196742, "50.51", ".4917"),
    ("ds_sac", "Ant-v3", 290560, 136422, "53.05", ".4695"),
    ("ds_sac", "Humanoid-v3", 503296, 225250, "55.25", ".4475"),
]


def printed(capsys, *arguments):
    assert costs.main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def table():
    with pytest.MonkeyPatch.context() as patch:
        out = io.StringIO()
        patch.setattr("sys.stdout", out)
        assert costs.main(["--all", "--format=csv"]) == 0
    rows = csv.DictReader(io.StringIO(out.getvalue()))
    return {(row["algo"], row["env"]): row for row in rows}


@pytest.mark.parametrize("algo, env, weights, connections, sparsity, ratio", FACTS)
def test_every_row_of_the_facts_to_the_digit(
    table, algo, env, weights, connections, sparsity, ratio
):
    row = table[algo, env]
    assert int(row["weights"]) == weights
    assert float(row["connections"]) == pytest.approx(connections, abs=1e-6)
    assert f"{100 * float(row['sparsity']):.2f}" == sparsity
    assert f"{float(row['training_flops_of_dense']):.4f}" == "0" + ratio


def test_dense_td3_on_halfcheetah_needs_the_papers_flops(table):
    row = table["td3", "HalfCheetah-v5"]
    assert f"{float(row['training_flops_paper']):.4e}" == "1.0744e+14"
    assert f"{float(row['training_flops']):.4e}" == "1.0476e+14"  # 975,000 updates
    assert row["updates"] == "975000"


def test_sac_trains_on_all_but_its_first_batch(table):
    assert table["ds_sac", "Ant-v5"]["updates"] == str(1_000_000 - 256)


TINY = ("--observation_size=3", "--action_size=2", "--hidden_sizes=4,5", "--batch_size=10")


def test_a_tiny_dense_agent_counted_by_hand(capsys):
    found = json.loads(printed(capsys, "--algo=td3", *TINY, "--steps=25100", "--format=json"))
    actor, critic = 3 * 4 + 4 * 5 + 5 * 2, 5 * 4 + 4 * 5 + 5
    assert found["weights"] == found["connections"] == actor + 2 * critic
    assert found["updates"] == 100
    per_update = 3 * 2 * (2 * critic + actor / 2) * 10
    assert found["training_flops"] == per_update * 100
    assert found["training_flops_paper"] == per_update * 25100
    assert found["inference_flops"] == 2 * actor
    biases = (4 + 5 + 2) + 2 * (4 + 5 + 1)
    assert found["stored_bytes"] == 5 * (actor + 2 * critic + biases)
    assert found["sparse_bytes"] == 4 * (actor + 2 * critic + biases)


def test_compressed_rows_counted_by_hand(capsys):
    """Half of each hidden layer: values and columns, one index a row and one more; biases."""
    found = json.loads(
        printed(
            capsys,
            *TINY,
            "--algo=ds_td3",
            "--sparse_layers=hidden",
            "--actor_sparsity=0",
            f"--lambda2={10 / 9}",
            "--format=json",
        )
    )
    actor, critic = 3 * 4 + 4 * 5 + 5 * 2, 5 * 4 + 4 * 5 + 5
    assert found["connections"] == pytest.approx(actor + 2 * (critic - 10))
    dense = 4 * (actor + 4 + 5 + 2)
    sparse = 4 * (5 * 4 + 5) + 8 * 10 + 4 * (4 + 1) + 4 * (4 + 5 + 1)
    assert found["sparse_bytes"] == pytest.approx(dense + 2 * sparse)


def test_a_dense_actor_beside_sparse_critics_counted_by_hand(capsys):
    """SET, so that no gradient of an absent weight is needed; half of layer 2 of each critic."""
    arguments = ("--algo=ds_td3", "--sparse_layers=hidden", f"--lambda2={10 / 9}")
    topologies = ("--actor_topology=dense", "--critic_topology=set")
    found = json.loads(printed(capsys, *TINY, *arguments, *topologies, "--format=json"))
    actor, critic = 3 * 4 + 4 * 5 + 5 * 2, 5 * 4 + 4 * 5 + 5 - 10
    sparsity = {row["network"]: row["sparsity"] for row in found["layers"] if row["n_out"] == 5}
    assert sparsity["actor"] == 0 and sparsity["critic_2"] == pytest.approx(0.5)
    assert found["connections"] == pytest.approx(actor + 2 * critic)
    assert found["inference_flops"] == 2 * actor
    per_update = 3 * 2 * (2 * critic + actor / 2) * 10
    assert found["training_flops"] == pytest.approx(per_update * found["updates"])


def test_text_and_csv_have_every_layer(capsys):
    arguments = ("--env=ant", "--algo=ds_sac")
    text = printed(capsys, *arguments)
    rows = list(csv.DictReader(io.StringIO(printed(capsys, *arguments, "--format=csv"))))
    assert len(rows) == 4 + 2 * 3 + 1
    for row in rows[:-1]:
        assert f"{row['network']} {row['layer']}" in text
    assert rows[-1]["network"] == "all" and rows[-1]["weights"] == "285952"
    assert "285,952" in text and "135,882" in text and "0.4752 of dense" in text


def test_a_given_sparsity_is_reached(capsys):
    found = json.loads(printed(capsys, "--env=humanoid", "--sparsity=0.8", "--format=json"))
    assert found["sparsity"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--format=xml"], ["format", "json", "'xml'"]),
        (["--observation_size=3"], ["observation_size", "action_size"]),
        (["--observation_size=0", "--action_size=1"], ["observation_size", "at least 1"]),
        (["--sparsity=0.999"], ["sparsity", "at most"]),
        (["--seeds=0:2"], ["--seeds"]),
        (["--all", "--sparsity=0.5"], ["--all", "--sparsity"]),
        (["--all", "--env=ant"], ["--all", "--env"]),
    ],
)
def test_a_wrong_command_line_is_one_line(capsys, arguments, named):
    assert costs.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    for part in named:
        assert part in error
