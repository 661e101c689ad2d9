"""What each method, evaluator and data set compares; every module here registers itself."""
