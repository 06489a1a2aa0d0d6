"""The pages and services that stand on the library: the studio where a detector learns, and the service."""
