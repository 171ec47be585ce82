"""Tools of the Model Context Protocol for assistants: the routes of the service under names that an assistant picks.

Order of reading: `answers` (what tools return), `tools`, `server` (errors in words, and the two transports).
"""
