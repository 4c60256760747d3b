"""huohou's curve inside trainers that the user does not want to leave: one module a framework, imported by its name."""
