"""Masks of eight bits a byte, for a state that is read at every step.

An optimizer's step takes as long as the memory it reads. AdamW reads its mask three times; as bits
that is an eighth of what booleans take.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Integer, UInt8

from dsrl_jax.sparse.leaves import Masks

Packed = Any  # a tree like masks: boolean arrays, and bytes in the place of those that were packed

_BITS = 8


def pack(masks: Masks) -> Packed:
    """Bytes [..., rows / 8, columns] for every mask [..., rows, columns] whose rows divide by 8.

    Bit b of byte r holds row 8 r + b. Other masks stay as they are.
    """
    return jax.tree.map(_pack, masks)


def unpack(packed: Packed) -> Masks:
    """The masks that were packed."""
    return jax.tree.map(_unpack, packed)


def _pack(mask: Bool[Array, "..."]) -> Bool[Array, "..."] | UInt8[Array, "..."]:
    if mask.ndim < 2 or mask.shape[-2] % _BITS:
        return mask
    *stack, rows, columns = mask.shape
    bits = mask.reshape(*stack, rows // _BITS, _BITS, columns).astype(jnp.uint8)
    return jnp.sum(bits << _places(bits), axis=-2, dtype=jnp.uint8)


def _unpack(packed: Bool[Array, "..."] | UInt8[Array, "..."]) -> Bool[Array, "..."]:
    if packed.dtype == bool:
        return packed
    *stack, eighths, columns = packed.shape
    # A bit is moved to where the sign is: what `choose` makes of it is then one more shift.
    bits = packed[..., None, :].astype(jnp.int32)
    signs = bits << (31 - _places(bits))
    return (signs < 0).reshape(*stack, _BITS * eighths, columns)


def _places(bits: Integer[Array, "... rows columns"]) -> Integer[Array, "... 8 1"]:
    """0 to 7 along the rows."""
    return jnp.arange(_BITS, dtype=bits.dtype).reshape(*[1] * (bits.ndim - 2), _BITS, 1)
