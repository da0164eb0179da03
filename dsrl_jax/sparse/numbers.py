"""Names that `dsrl_jax.sparse.transform` imports from here, defined in their own modules."""

from dsrl_jax.sparse.arguments import check_choice, is_traced
from dsrl_jax.sparse.distribution import round_share

__all__ = ["check_choice", "is_traced", "round_share"]
