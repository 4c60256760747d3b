"""What other frameworks really do with a learning rate, and what is wrong with it."""
