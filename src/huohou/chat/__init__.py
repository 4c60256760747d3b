"""Talking to a model: in a terminal, through pipes, and from files."""
