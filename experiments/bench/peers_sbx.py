"""SBX's whole loop on HalfCheetah-v5: python peers_sbx.py td3 WARM_UP STEPS.

Runs in an environment that has sbx-rl, and imports nothing of ours. It makes one update a step
with the paper's batch size and 256-256 networks; everything else is SBX's default. Its last line
reports the seconds of STEPS steps after WARM_UP updates.
"""

import json
import sys
import time

RANDOM_STEPS = 1_000  # at the start, on both sides


def main(algo, warm_up, steps):
    """Trains, and prints a line of JSON."""
    import gymnasium
    import numpy as np
    import sbx
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.noise import NormalActionNoise

    class Clock(BaseCallback):
        start = end = 0.0

        def _on_step(self):
            if self.num_timesteps == RANDOM_STEPS + warm_up:
                self.start = time.perf_counter()
            if self.num_timesteps == RANDOM_STEPS + warm_up + steps:
                self.end = time.perf_counter()
            return self.end == 0.0

    environment = gymnasium.make("HalfCheetah-v5")
    zero = np.zeros_like(environment.action_space.sample())
    noise = NormalActionNoise(zero, zero + 0.1)
    own = {
        "td3": {"batch_size": 100, "action_noise": noise, "learning_rate": 1e-3},
        "sac": {"batch_size": 256},
    }
    model = getattr(sbx, algo.upper())(
        "MlpPolicy",
        environment,
        train_freq=1,
        gradient_steps=1,
        learning_starts=RANDOM_STEPS,
        policy_kwargs={"net_arch": [256, 256]},
        seed=0,
        **own[algo],
    )
    clock = Clock()
    model.learn(RANDOM_STEPS + warm_up + steps, callback=clock)
    print(json.dumps({"seconds": clock.end - clock.start}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
