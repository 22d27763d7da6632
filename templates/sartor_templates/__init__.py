"""Bot templates as data: see `sartor templates`."""
