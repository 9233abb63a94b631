"""Estimators: one formula per file; a name in this table is all that a new one has to register."""

ESTIMATORS = {
    "ips": "understudy.ope.estimators.ips:IPS",
    "clipped_ips": "understudy.ope.estimators.clipped_ips:ClippedIPS",
    "snips": "understudy.ope.estimators.snips:SNIPS",
    "dm": "understudy.ope.estimators.dm:DM",
    "dr": "understudy.ope.estimators.dr:DR",
    "sndr": "understudy.ope.estimators.sndr:SNDR",
    "switch_dr": "understudy.ope.estimators.switch_dr:SwitchDR",
    "switch": "understudy.ope.estimators.switch:Switch",
    "dros": "understudy.ope.estimators.dros:DRos",
    "sg_ips": "understudy.ope.estimators.sg_ips:SubGaussianIPS",
    "sg_dr": "understudy.ope.estimators.sg_dr:SubGaussianDR",
    "tis": "understudy.ope.estimators.tis:TIS",
    "wis": "understudy.ope.estimators.wis:WIS",
    "pdis": "understudy.ope.estimators.pdis:PDIS",
    "cwpdis": "understudy.ope.estimators.cwpdis:CWPDIS",
    "sdr": "understudy.ope.estimators.sdr:SDR",
    "wdr": "understudy.ope.estimators.wdr:WDR",
    "fqe": "understudy.ope.estimators.fqe:FQE",
    "replay": "understudy.ope.estimators.replay:Replay",
}
