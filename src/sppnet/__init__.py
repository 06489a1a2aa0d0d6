"""Features of any picture, any region, at any size: spatial pyramid pooling (He et al. 2015) and what stands on it."""
