"""Formats in which a command prints its answer: for a terminal, for programs, for documents."""
