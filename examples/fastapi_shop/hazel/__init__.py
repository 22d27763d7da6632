"""Hazel Coffee: a small shop with a chatbot."""
