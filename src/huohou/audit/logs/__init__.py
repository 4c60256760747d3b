"""What a training's log says about its learning rate: which curve explains it, and whether a configuration agrees."""
