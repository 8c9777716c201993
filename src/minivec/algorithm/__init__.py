"""The algorithm: two sets of framed rows in, the map between them out."""
