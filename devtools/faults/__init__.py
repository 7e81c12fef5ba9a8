"""faults: a campaign of faults on the flows, each by name, with a reader that looks at the target meanwhile.

fault       what a fault is, and the list of all
kinds/      the faults, a module per kind
campaign    tries one fault, and judges what came of it
scene       a lake, a database, a publisher and a run of a flow for one fault
flow        runs the steps of a flow, each try in a process of its own, with the retries of its Dag
tasks       what such a process does
points      where a process may stop on its way
targets     what a reader sees of a month in each target
months      the editions that the publisher offers
report      what is printed, and docs/reliability.md
"""
