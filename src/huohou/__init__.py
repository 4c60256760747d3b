"""huohou."""
