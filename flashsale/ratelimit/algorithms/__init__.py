"""The algorithms, in Python; the scripts in ``lua`` decide the same."""
