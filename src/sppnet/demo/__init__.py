"""A first look on photographs that packages bring along."""
