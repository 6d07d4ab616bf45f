"""What makes a model smaller: one file for each step."""
