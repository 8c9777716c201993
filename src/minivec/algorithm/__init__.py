"""The algorithm: a ``Problem`` goes in, an ``Outcome`` comes out (``solver.solve``)."""
