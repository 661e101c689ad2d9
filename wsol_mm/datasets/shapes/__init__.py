"""The drawn data set of embedded shapes."""
