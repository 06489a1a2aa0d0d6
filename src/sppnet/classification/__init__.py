"""Images -> classes: the whole image through the pyramid, one view or many (paper, Sec. 3)."""
