"""The recipe of sartor-mini, the small built-in model: corpus, examples, training, export, evaluation."""
