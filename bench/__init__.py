"""Every operation, timed against the field; see `make bench`."""
