"""Uncertainty held against accuracy: tau, intervals, leaderboard, audit, decision."""
