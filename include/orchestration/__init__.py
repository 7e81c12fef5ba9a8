"""What the DAG files share about Airflow: params, the request of a run, retries, connections and the steps' adapters.

The modules that a DAG file imports at its top import nothing heavy; ``steps`` does, and is imported inside tasks.
"""
