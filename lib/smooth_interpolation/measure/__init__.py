"""How sharp a network is around points: it serves any `torch.nn.Module` and knows nothing of this project."""
