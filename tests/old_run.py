"""A run of format 1, made by the first version that wrote it.

tests/data/format_1.json has the files that this command left, without pictures, events and lock:
python -m experiments.run --env=tests.toy_environments:PointMass-v0 --algo=ds_td3 --seeds=0:2
--hidden_sizes=8 --batch_size=8 --lambda1=1 --lambda2=2 --adaptation_period=10 --start_steps=20
--steps=60 --eval_period=20 --eval_episodes=2 --log_period=20 --checkpoint_period=60
--learning_rate=0.01 --run_dir=format_1
"""

import atexit
import csv
import json
import shutil
import tempfile
from base64 import b64decode
from pathlib import Path

DATA = Path(__file__).parent / "data"
PACKED = DATA / "format_1.json"
# A run of a later version: the same command but for --learning_rate, --checkpoint_period=20 and
# --steps=40. expected.csv has the evaluations of that version's run with --steps=60.
STOPPED = DATA / "stopped_1.json"
STEPS, SEEDS = 60, (0, 1)


def unpack(packed):
    """Returns a directory with the files of a run; it is removed when the process ends."""
    directory = Path(tempfile.mkdtemp(prefix="dsrl_jax_old_run_"))
    atexit.register(shutil.rmtree, directory)
    for name, file in json.loads(packed.read_text()).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file["text"].encode() if "text" in file else b64decode(file["base64"]))
    return directory


OLD = unpack(PACKED)


def edit(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def evaluations(directory=OLD, name="evaluations.csv"):
    with (directory / name).open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
