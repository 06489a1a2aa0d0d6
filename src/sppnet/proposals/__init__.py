"""Image -> regions that may hold an object, always in the same order."""
