"""Off-policy evaluation: estimators, intervals or the reason why there is none, diagnostics, audit."""
