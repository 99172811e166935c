"""Where an object ends, on the way from slice to slice: rules measured on known truth."""
