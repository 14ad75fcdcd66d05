"""The model and everything that computes with it: encoders, attention, training, selection, evaluation.

A leaf: torch and numpy only. No database, no tracking server, no environment variables.
"""
