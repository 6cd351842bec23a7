"""Pure functions of arrays: the one pass over the rows, in numpy and in numba.

``reference`` is the readable numpy twin and the oracle of the tests; ``cpu`` (generalised linear
experts) and ``multinomial`` are the fused numba kernels, made of the steps in ``blocks``;
``small`` and ``m_steps`` are the compiled M-steps. Nothing here imports another part of mixexp.
"""
