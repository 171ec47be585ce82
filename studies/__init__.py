"""Studies that reproduce the findings of this project; run from a clone, not part of the installed package."""
