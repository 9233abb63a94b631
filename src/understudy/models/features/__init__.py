"""What the feature map is made of: kinds and their formulas, the folds that fit them, the reference JSON, drift."""
