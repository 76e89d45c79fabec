"""The shapes world: a procedural test bed where both kinds of uncertainty are known.

``scenes`` is the grammar and the deal of coverage, ``render`` draws, ``tasks`` lays out the task
table, ``recognise`` names what a video shows. ``training/`` made the models.
"""
