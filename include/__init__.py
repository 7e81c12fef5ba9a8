"""Everything the DAG files of this bundle import."""
