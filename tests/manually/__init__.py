"""Measurements to run by hand on a quiet machine; pytest collects none of them."""
