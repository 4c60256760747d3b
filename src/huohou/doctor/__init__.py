"""What this machine can do, and what it cannot and why. Needs no torch and asks nothing of the network."""
