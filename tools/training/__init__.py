"""Helpers shared by the training tools: motion clips, procedural motion, phrases."""
