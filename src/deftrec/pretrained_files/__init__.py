"""Files of pre-trained models: where they come from, which weights they hold, and how they are read."""
