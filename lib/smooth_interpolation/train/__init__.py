"""The two families of networks, and how they are trained and evaluated."""
