"""The coverage page: what is loaded, how good it is, and what it says."""
