"""demo: load one or more months with the real Dags, show their progress, and report what was loaded.

- choice: what was asked for, checked before anything is made
- published: the files to download: of a folder, of a URL, or generated
- flow: runs a Dag in a process of its own, and shows the lines that matter
- zones: the taxi zones, for the map
- report: what was loaded, and one question to it
"""
