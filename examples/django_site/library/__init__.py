"""The site of a public library, with its bot."""
