"""The same run in another language: our own run file, or the arguments of another framework."""
