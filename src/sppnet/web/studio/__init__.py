"""The studio: one page on this machine where a person teaches a detector on the pictures of a folder."""
