"""Asking a source for a token, and sharing what it gives: for a pipeline's step and for a manager alike."""
