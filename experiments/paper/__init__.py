"""The paper's figures and tables by one command: python -m experiments.paper --list."""
