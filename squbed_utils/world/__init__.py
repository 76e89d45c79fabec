"""The shapes world: a procedural test bed where both kinds of uncertainty are known.

``scenes`` is the grammar, ``render`` draws, ``tasks`` lays out the factorial task table,
``train`` makes every checkpoint from nothing.
"""
