"""Scores of a model: perplexity, multiple choice, questions of the embedded corpus, and the lm-eval harness."""
