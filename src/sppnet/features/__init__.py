"""Image -> feature maps -> rows of pooled regions."""
