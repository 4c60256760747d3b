"""The forms in which trainings write their logs, one file each."""
