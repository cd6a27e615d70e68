"""Rewards: differentiable image scorers behind one small protocol, one file per scorer."""
