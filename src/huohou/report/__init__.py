"""Run folders as words, figures and pages. Import the module you need: the terminal drawing must not load numpy."""
