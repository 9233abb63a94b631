"""The report of coupon policies: a study's judged episodes, paired by environment, by segment, beside the truth."""
