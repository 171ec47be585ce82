"""Where data comes from: one file per origin."""
