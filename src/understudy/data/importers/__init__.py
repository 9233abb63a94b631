"""Logs of other systems, by name. Each importer gives a Problem and tables that ``ingest`` checks like any other."""

IMPORTERS = {
    "classification": "understudy.data.importers.classification:classification",
    "open_bandit": "understudy.data.importers.open_bandit:open_bandit",
    "sapr": "understudy.data.importers.sapr:sapr",
    "vw_dsjson": "understudy.data.importers.vw_dsjson:vw_dsjson",
}

# The same for tables of episodes, which ``timeline`` checks: each gives a Problem and a decision table.
TABLES = {
    "coach": "understudy.data.importers.coach:coach",
    "d3rlpy": "understudy.data.importers.hdf5:d3rlpy",
    "minari": "understudy.data.importers.minari:minari",
}
