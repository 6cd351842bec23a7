"""Pure functions of arrays: the one pass over the rows, in numpy and in numba.

``reference`` is the readable numpy twin and the oracle of the tests; ``cpu`` is the fused
numba kernel. Nothing here imports another part of mixexp.
"""
