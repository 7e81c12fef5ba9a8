"""The coverage page: what is loaded where, its quality, and maps of the trips."""
