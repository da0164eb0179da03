"""What the tests of whole runs share: how rows are compared and stored transitions are read."""

import numpy as np

TOYS = "tests.toy_environments:"
NAMES = ("transitions.f32", "finals.f32")
OBSERVATION = 2  # of every environment in toy_environments.py


def told(rows, *kinds, after=-1):
    """Rows of some kinds, without clock times; as text, so that NaN equals NaN."""
    kinds = kinds or ("training", "evaluation", "topology")
    return [repr(row) for row in rows if row["kind"] in kinds and row["env_step"] > after]


def read_replay(directory, members, steps):
    """The stored observations, actions, rewards, terminated, ended [steps, members, …]; finals."""
    transitions, finals = (np.fromfile(directory / "replay" / name, np.float32) for name in NAMES)
    records = transitions.reshape(steps, members, -1)
    flags = np.moveaxis(records[..., -3:], -1, 0)
    columns = (records[..., :OBSERVATION], records[..., OBSERVATION:-3], *flags)
    return *columns, finals.reshape(-1, OBSERVATION)


def replay_bytes(directory):
    """What the two files hold."""
    return [(directory / "replay" / name).read_bytes() for name in NAMES]
