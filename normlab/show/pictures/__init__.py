"""What `normlab plot` draws: a file a picture, its chart and its sketch of characters together."""
