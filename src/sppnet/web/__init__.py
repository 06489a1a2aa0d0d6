"""The pages and services that stand on the library: the studio where a detector is taught, and the service."""
