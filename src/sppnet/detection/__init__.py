"""Images -> objects: the feature map once, then thousands of regions from it (paper, Sec. 4)."""
