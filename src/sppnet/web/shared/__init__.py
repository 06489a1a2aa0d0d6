"""What the studio and the service share."""
